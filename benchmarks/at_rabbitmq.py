"""Queues of RabbitMQ as the harness fills, reads and removes them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self

import aio_pika
from aio_pika import DeliveryMode, Message

ARGUMENTS = {"x-queue-type": "quorum"}


async def publish(channel: Any, queues: Sequence[str], run: Iterable[bytes]) -> None:
    """Publish persistent messages side by side, and wait for all confirms."""
    exchange = channel.default_exchange
    messages = [Message(raw, delivery_mode=DeliveryMode.PERSISTENT) for raw in run]
    await asyncio.gather(
        *(exchange.publish(message, queue, mandatory=True) for queue in queues for message in messages)
    )


MANY = 1000
"""Messages from which on they are put without waiting for each."""


class Places:
    """Quorum queues."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect(self._url)
        self._channel = await self._connection.channel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def make(self, source: str, targets: Sequence[str]) -> None:
        for name in (source, *targets):
            await self._channel.declare_queue(name, durable=True, arguments=ARGUMENTS)

    async def put(self, place: str, bodies: Iterable[bytes]) -> None:
        waiting = iter(bodies)
        while run := list(islice(waiting, MANY)):
            if len(run) < MANY:
                await publish(self._channel, [place], run)
                continue
            # Many: without a confirm each, which would take longer than what is measured; the queue counts them.
            there = await self._held(place)
            channel = await self._connection.channel(publisher_confirms=False)
            await publish(channel, [place], run)
            while await self._held(place) < there + len(run):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await channel.close()

    async def read(self, place: str) -> list[bytes]:
        there = await self._held(place)
        found: list[bytes] = []
        if there:
            async for run in self.follow(place):
                found += run
                if len(found) >= there:
                    break
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
