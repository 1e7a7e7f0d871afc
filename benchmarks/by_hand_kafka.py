"""Kafka by hand, on aiokafka: many records at once, their sends side by side, commits beside them."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.at_kafka import producer, servers_of
from benchmarks.hands import GROUP, READ, Taken


class Hands:
    """One partition; one commit at a time is on its way while the loop goes on."""

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._partition = TopicPartition(source, 0)
        self._producer = producer(url)
        self._consumer = AIOKafkaConsumer(
            source,
            bootstrap_servers=servers_of(url),
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._position = self._committed = 0
        self._done: set[int] = set()
        self._committing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    async def take(self, most: int) -> Taken:
        most = most if most == 1 else 4 * READ
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1000, max_records=most)).values():
                return [(record.offset, record.value) for record in records]

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        send = self._producer.send
        sends = [await send(target, raw) for target in targets for raw in bodies]
        await asyncio.gather(*sends)

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        if ordered:
            self._position = tokens[-1] + 1
        else:  # out of order: what may be committed is what has nothing open before it
            self._done.update(tokens)
            while self._position in self._done:
                self._done.remove(self._position)
                self._position += 1
        if self._committing is None or self._committing.done():
            await self._result()
            self._committing = asyncio.create_task(self._commit())

    async def flush(self) -> None:
        await self._result()
        await self._commit()

    async def _result(self) -> None:
        if self._committing is not None:
            await self._committing

    async def _commit(self) -> None:
        if (position := self._position) > self._committed:
            await self._consumer.commit({self._partition: position})
            self._committed = position
