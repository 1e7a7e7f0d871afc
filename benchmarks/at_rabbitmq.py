"""Queues of RabbitMQ as the harness fills, reads and removes them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self

import aio_pika
from aiormq.abc import FieldTable

from benchmarks.amqp import Socket

ARGUMENTS: FieldTable = {"x-queue-type": "quorum"}


class Places:
    """Quorum queues, filled and read on a bare socket: on aio-pika that would take longer than what is measured."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: Socket | None = None

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect(self._url)
        self._channel = await self._connection.channel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self._connection.close()

    async def make(self, source: str, targets: Sequence[str]) -> None:
        for name in (source, *targets):
            await self._channel.declare_queue(name, durable=True, arguments=ARGUMENTS)

    async def put(self, place: str, bodies: Iterable[bytes]) -> None:
        waiting = iter(bodies)
        while run := list(islice(waiting, 500)):
            if self._socket is None:
                self._socket = await Socket.open(self._url)
                await self._socket.confirm()
            await self._socket.publish([place], run)

    async def read(self, place: str) -> list[bytes]:
        there = await self._held(place)
        found: list[bytes] = []
        if there:
            reader = await Socket.open(self._url)
            await reader.consume(place, prefetch=1000)
            while len(found) < there:
                run = await reader.take(1000)
                found += [raw for _, raw in run]
                reader.acknowledge(run[-1][0])
            await reader.close()
        return found

    async def _held(self, place: str) -> int:
        declared = await self._channel.declare_queue(place, passive=True)
        return declared.declaration_result.message_count or 0

    async def follow(self, place: str) -> AsyncIterator[list[bytes]]:
        channel = await self._connection.channel()
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        queue = await channel.get_queue(place)

        async def note(message: Any) -> None:
            arrived.put_nowait(message.body)

        await queue.consume(note, no_ack=True)
        try:
            while True:
                run = [await arrived.get()]
                while not arrived.empty():
                    run.append(arrived.get_nowait())
                yield run
        finally:
            await channel.close()

    async def left(self) -> list[str]:
        return []  # AMQP has no list of queues

    async def remove(self, places: Sequence[str]) -> None:
        for name in places:
            await self._channel.queue_delete(name)
