"""A run's places on Kafka, by aiokafka: topics of several partitions, read from their beginning without a group."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.faults.oracle import Arrival
from tests.faults.places import quietly
from tests.servers.kafka import Kafka as Server

PARTITIONS = 4


class AtKafka:
    """Topics of one Kafka."""

    kind: ClassVar[type[Any]] = Server
    across: ClassVar[bool] = True

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.source, self.destination = name, f"{name}.out"
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._read: dict[TopicPartition, int] = {}

    async def prepare(self) -> None:
        """Make the topics; that of the dead letters too, as it is to be read."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.bootstrap)
        await admin.start()
        try:
            names = (self.source, self.destination, f"{self.source}.dead")
            await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        finally:
            await admin.close()

    async def publish(self, run: Sequence[tuple[str, bytes]]) -> None:
        """Hand them to an idempotent producer in order, and await every confirm."""
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.server.bootstrap, enable_idempotence=True, request_timeout_ms=5_000, linger_ms=0
            )
            try:
                await producer.start()
            except BaseException:
                await quietly(producer.stop())
                raise
            self._producer = producer
        try:
            async with asyncio.timeout(20):
                confirms = [await self._producer.send(self.source, body, key.encode()) for key, body in run]
                await asyncio.gather(*confirms)
        except BaseException:
            producer, self._producer = self._producer, None
            await quietly(producer.stop())
            raise

    async def count(self) -> int:
        """How many are at the destination."""
        ends = await self._ends(self.destination)
        return sum(ends.values())

    async def arrived(self) -> list[Arrival]:
        """What is new at the destination; messages of one key are in their order."""
        return await self._new(self.destination)

    async def dead(self) -> list[Arrival]:
        """The new dead letters."""
        return await self._new(f"{self.source}.dead")

    async def _ends(self, topic: str) -> dict[TopicPartition, int]:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.server.bootstrap, enable_auto_commit=False, request_timeout_ms=5_000
            )
            try:
                await consumer.start()
            except BaseException:
                await quietly(consumer.stop())
                raise
            self._consumer = consumer
        try:
            found: dict[TopicPartition, int] = await self._consumer.end_offsets(
                [TopicPartition(topic, number) for number in range(PARTITIONS)]
            )
        except BaseException:
            consumer, self._consumer = self._consumer, None
            await quietly(consumer.stop())
            raise
        return found

    async def _new(self, topic: str) -> list[Arrival]:
        ends = await self._ends(topic)
        left = {partition for partition, end in ends.items() if self._read.get(partition, 0) < end}
        if not left:
            return []
        assert self._consumer is not None
        self._consumer.assign(sorted(left))
        for partition in left:
            self._consumer.seek(partition, self._read.get(partition, 0))
        found: list[Arrival] = []
        while left:
            async with asyncio.timeout(20):
                fetched = await self._consumer.getmany(timeout_ms=1_000)
            for partition, records in fetched.items():
                self._read[partition] = records[-1].offset + 1
                found += [Arrival(record.key.decode() if record.key else None, record.value) for record in records]
            left = {partition for partition in left if self._read.get(partition, 0) < ends[partition]}
        return found

    async def forget(self) -> None:
        """It is on disk, and may stay there."""

    async def refuse(self) -> None:
        """Take no message of more than a byte: every publish is answered with MESSAGE_TOO_LARGE.

        NOT_ENOUGH_REPLICAS cannot be had of one node: Kafka 4 never asks for more replicas than a topic has.
        """
        await self._largest("1")

    async def accept(self) -> None:
        """Take what Kafka takes unless it is told otherwise."""
        await self._largest("1048588")

    async def _largest(self, size: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.bootstrap)
        await admin.start()
        try:
            setting = ConfigResource(ConfigResourceType.TOPIC, self.destination, {"max.message.bytes": size})
            await admin.alter_configs([setting])
        finally:
            await admin.close()

    async def close(self) -> None:
        """Let go of the connections."""
        for client in (self._producer, self._consumer):
            if client is not None:
                await quietly(client.stop())
