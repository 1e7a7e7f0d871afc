"""Kafka's topics as the harness fills, reads and removes them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from benchmarks.hands import PREFIX

# It warns of every topic that it meets for the first time, across the progress bar.
logging.getLogger("aiokafka").setLevel(logging.ERROR)


def servers_of(url: str) -> str:
    """What aiokafka calls `bootstrap_servers`."""
    return url.removeprefix("kafka://")


def producer(url: str) -> Any:
    """An idempotent producer that waits for all replicas, with room for a run in a batch."""
    return AIOKafkaProducer(
        bootstrap_servers=servers_of(url), acks="all", enable_idempotence=True, max_batch_size=256 * 1024
    )


class Places:
    """Topics of one partition."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=servers_of(self._url))
        await self._admin.start()
        self._producer = producer(self._url)
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()
        await self._admin.close()

    async def make(self, source: str, targets: Sequence[str]) -> None:
        await self._admin.create_topics([NewTopic(name, 1, 1) for name in (source, *targets)])

    async def put(self, place: str, bodies: Iterable[bytes]) -> None:
        waiting = iter(bodies)
        while run := list(islice(waiting, 10_000)):
            sends, batch = [], self._producer.create_batch()
            for raw in run:
                if batch.append(key=None, value=raw, timestamp=None) is None:
                    sends.append(await self._producer.send_batch(batch, place, partition=0))
                    batch = self._producer.create_batch()
                    batch.append(key=None, value=raw, timestamp=None)
            sends.append(await self._producer.send_batch(batch, place, partition=0))
            await asyncio.gather(*sends)

    async def read(self, place: str) -> list[bytes]:
        found: list[bytes] = []
        async with self._consumer() as consumer:
            partition = await self._begin(consumer, place)
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += [record.value for record in records]
        return found

    async def follow(self, place: str) -> AsyncIterator[list[bytes]]:
        async with self._consumer() as consumer:
            await self._begin(consumer, place)
            while True:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    yield [record.value for record in records]

    async def left(self) -> list[str]:
        return sorted(name for name in await self._admin.list_topics() if name.startswith(PREFIX))

    async def remove(self, places: Sequence[str]) -> None:
        for name in places:
            with suppress(UnknownTopicOrPartitionError):
                await self._admin.delete_topics([name])

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(bootstrap_servers=servers_of(self._url), auto_offset_reset="earliest")

    async def _begin(self, consumer: Any, place: str) -> TopicPartition:
        partition = TopicPartition(place, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return partition
