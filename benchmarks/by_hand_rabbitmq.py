"""RabbitMQ by hand, on aio-pika: a prefetch, windows of confirms, one acknowledgement for many."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.at_rabbitmq import publish
from benchmarks.hands import READ, Taken


class Hands:
    """Two connections: one reads while the other writes."""

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._connections = [await aio_pika.connect(self._url), await aio_pika.connect(self._url)]
        reading, writing = self._connections
        self._reader = await reading.channel()
        await self._reader.set_qos(prefetch_count=4 * READ)
        queue = await self._reader.get_queue(self._source)
        self._writer = await writing.channel()
        await queue.consume(self._arrived.put)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            await connection.close()

    async def take(self, most: int) -> Taken:
        first = await self._arrived.get()
        run: Taken = [(first, first.body)]
        while len(run) < most and not self._arrived.empty():
            message = self._arrived.get_nowait()
            run.append((message, message.body))
        return run

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        await publish(self._writer, targets, bodies)

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        if ordered:
            await tokens[-1].ack(multiple=True)
        else:
            for message in tokens:
                await message.ack()

    async def flush(self) -> None:
        """Nothing to wait for: acknowledgements have no answer."""
