"""`Wire`: one connection to RabbitMQ. aiormq logs in, keeps it alive and declares; messages go past it.

aiormq lets its user make the transport. The one made here reads ahead of it and takes out the frames with deliveries,
confirms and returned messages; all others go on to aiormq.
"""

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import aiormq
from aiormq.abc import AbstractChannel

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.brokers import rabbitmq_frames as frames
from engine.brokers.rabbitmq_options import RabbitMQOptions
from engine.brokers.rabbitmq_refusals import channel_closed, login_refused, tls_refused

T = TypeVar("T")
CLOSING = 2.0
"""Seconds that saying goodbye may take."""
_UNTIL_BEAT = 1.0
"""Seconds of frames taken out after which aiormq is told that the server is still alive."""


class Listener(Protocol):
    """What the frames of one channel go to, as they come."""

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message from a queue."""
        ...

    def returned(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message that was published and went nowhere."""
        ...

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The server has, or has not, taken over what was published."""
        ...

    def lost(self, error: BrokerError) -> None:
        """The channel is gone, and everything with it. Called at most once."""
        ...


class Wire(asyncio.StreamReader, aiormq.TransportFactory):
    """A connection, from its opening to its end: a lost one is not mended, a new one takes its place."""

    def __init__(self, options: RabbitMQOptions, context: ssl.SSLContext | None, purpose: str) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        self.options = options
        self.lost: asyncio.Future[BrokerError] = loop.create_future()
        """Done when the connection is gone, with the reason."""
        self.blocked: str | None = None
        """Why the server takes no messages for now: it is short of memory or disk."""
        self._loop_time = loop.time
        self._context = context
        self._listeners: dict[int, Listener] = {}
        self._parts: dict[int, _Content] = {}
        self._rest = b""
        self._beat = 0.0
        self._said = ""
        properties = {"connection_name": f"{options.name} {purpose}"}
        self._connection = aiormq.Connection(
            options.url, context=context, transport_factory=self, client_properties=properties, **options.client
        )
        self.writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, options: RabbitMQOptions, context: ssl.SSLContext | None, purpose: str) -> "Wire":
        """Connect and log in; raises `BrokerUnavailable` or `BrokerRefused`."""
        wire = cls(options, context, purpose)
        try:
            await wire.ask(wire._connection.connect())
        except BaseException:
            wire.abort()
            raise
        return wire

    # -- asking --------------------------------------------------------------------------------------------------

    async def ask(self, question: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Await something of aiormq's, at most so long (else as connecting may take), and make its errors ours.

        It runs as a task of its own: aiormq cancels whoever waits for it when the connection goes.
        """
        task = asyncio.ensure_future(question)
        try:
            await asyncio.wait((task, self.lost), timeout=timeout or self.options.connect_timeout, return_when="FIRST_COMPLETED")
            if not task.done():
                await asyncio.wait((task,), timeout=0.1 if self.lost.done() else 0)  # it may know more of the reason
        finally:
            unfinished = not task.done()
            task.cancel()
        if unfinished:
            self._lose(f"no answer within {timeout or self.options.connect_timeout:g} s")
        elif not task.cancelled() and (error := task.exception()) is None:
            return task.result()
        raise self._reason(None if unfinished or task.cancelled() else error)

    def _reason(self, error: BaseException | None) -> BrokerError:
        where = self.options.where
        if isinstance(error, aiormq.ChannelClosed):
            ...
        return BrokerUnavailable(where)
