"""`Line`: the bytes of one connection to RabbitMQ: in through a `Tap`, out as they are, until it is lost."""

import asyncio
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any

import aiormq

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.rabbitmq import frames, refusals
from engine.rabbitmq.options import RabbitMQOptions
from engine.rabbitmq.tap import Tap


class Line(aiormq.TransportFactory):
    """Where it ends, whoever listens to the `tap` is told, once, and nothing comes after it. aiormq shares it."""

    def __init__(self, options: RabbitMQOptions) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[BrokerError] = loop.create_future()
        """Done with the reason when the connection is gone."""
        self.tap = Tap(loop, self._ended)
        self.writer: asyncio.StreamWriter
        self._options = options
        self._protocol = asyncio.StreamReaderProtocol(self.tap, loop=loop)
        self._transport: asyncio.Transport | None = None

    async def connect(self, context: SSLContext | None, rest: Mapping[str, Any]) -> None:
        """Connect, with the `rest` for asyncio; raises `BrokerUnavailable` or `BrokerRefused`."""
        options, where = self._options, self._options.where
        try:
            async with asyncio.timeout(options.connect_timeout):
                await self._connect(context, rest)
        except TimeoutError:
            raise BrokerUnavailable(f"RabbitMQ at {where}: not reached within {options.connect_timeout:g} s") from None
        except OSError as error:
            raise refusals.not_reached(where, error) from None
        except TypeError as error:
            raise BrokerRefused(f"RabbitMQ at {where}: client={{...}}: {error}") from None

    async def _connect(self, context: SSLContext | None, rest: Mapping[str, Any]) -> None:
        loop, options = asyncio.get_running_loop(), self._options
        self._transport, _ = await loop.create_connection(
            lambda: self._protocol, options.host, options.port, ssl=context, **rest
        )
        self.writer = asyncio.StreamWriter(self._transport, self._protocol, self.tap, loop)

    async def create(self, url: Any, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What aiormq asks for: it is there already."""
        return self.tap, self.writer

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self.writer.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send that; on a connection that is lost already it goes nowhere, which is told elsewhere."""
        if not self.writer.is_closing():  # asyncio's own loop would let it pass, uvloop raises RuntimeError
            self.writer.write(data)

    async def drain(self) -> None:
        """Wait until little of it is left."""
        try:
            await self.writer.drain()
        except OSError:
            pass  # the connection is lost, which is told elsewhere

    def lose(self, why: str) -> None:
        """Give it up, for what the server has said of it, or else for that reason."""
        where, said = self._options.where, self.tap.said
        self._end(refusals.not_let_in(where, said) if said else BrokerUnavailable(f"RabbitMQ at {where}: {why}"))

    def _ended(self, error: Exception | None, garbage: bytes) -> None:
        if garbage:
            self._end(refusals.not_amqp(self._options.where, garbage))
        else:
            self.lose(f"the connection was lost{f': {error}' if error else ''}")

    def _end(self, reason: BrokerError) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        listeners = list(self.tap.listeners.values())
        self.tap.listeners.clear()
        for listener in listeners:
            listener.lost(refusals.again(reason))
        if self._transport is None:
            return
        if self.tap.said and not self._transport.is_closing():
            self._transport.write(frames.CONNECTION_CLOSED)
            self._transport.close()
        else:
            self._transport.abort()
