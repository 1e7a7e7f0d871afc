"""RabbitMQ by hand: on aio-pika's ordinary API, and one layer lower, on a socket."""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import aio_pika
from aiormq import spec
from aiormq.abc import DeliveredMessage

from benchmarks.amqp import Socket
from benchmarks.hands import READ, Taken

AHEAD = 4 * READ
"""Messages that the server sends before the first of them is acknowledged."""


class Hands:
    """aiormq's own channel, where aio-pika wraps it: no message object of aio-pika's is made.

    Two connections: one reads while the other writes.
    """

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source
        self._arrived: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        self._done = Done()

    async def __aenter__(self) -> Self:
        self._connections = [await aio_pika.connect(self._url), await aio_pika.connect(self._url)]
        reading, writing = [await (await each.channel()).get_underlay_channel() for each in self._connections]
        self._reader = reading
        self._writer: Any = writing  # aiormq's own: its abstract class does not know `wait`
        await reading.basic_qos(prefetch_count=AHEAD)
        await reading.basic_consume(self._source, self._arrived.put)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            await connection.close()

    async def take(self, most: int) -> Taken:
        first = await self._arrived.get()
        run: Taken = [(first.delivery_tag, first.body)]
        while len(run) < most and not self._arrived.empty():
            message = self._arrived.get_nowait()
            run.append((message.delivery_tag, message.body))
        return run

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        await asyncio.gather(*(self._give(to, body) for to in targets for body in bodies))

    async def _give(self, to: str, body: bytes) -> None:
        properties = spec.Basic.Properties(delivery_mode=2)
        await self._writer.basic_publish(body, routing_key=to, properties=properties, mandatory=True, wait=False)

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        if tag := tokens[-1] if ordered else self._done.add(tokens):
            await self._reader.basic_ack(tag, multiple=True)

    async def flush(self) -> None:
        """Nothing to wait for: acknowledgements have no answer."""


class Lower:
    """The codec of `benchmarks.amqp` in the place of aio-pika and aiormq; else the same."""

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source
        self._done = Done()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await Socket.open(self._url), await Socket.open(self._url)
        await self._writer.confirm()
        await self._reader.consume(self._source, AHEAD)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.close()
        await self._writer.close()

    async def take(self, most: int) -> Taken:
        return await self._reader.take(most)

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        await self._writer.publish(targets, bodies)

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        if tag := tokens[-1] if ordered else self._done.add(tokens):
            self._reader.acknowledge(tag)

    async def flush(self) -> None:
        """Nothing to wait for: acknowledgements have no answer."""


class Done:
    """Deliveries that are done in any order: one acknowledgement stands for all up to the first that is not."""

    def __init__(self) -> None:
        self._up_to = 0
        self._ahead: set[int] = set()

    def add(self, tags: Iterable[int]) -> int:
        """These are done; the tag to acknowledge all up to, nought where that is none more than before."""
        self._ahead.update(tags)
        before = self._up_to
        while self._up_to + 1 in self._ahead:
            self._up_to += 1
            self._ahead.remove(self._up_to)
        return self._up_to if self._up_to > before else 0
