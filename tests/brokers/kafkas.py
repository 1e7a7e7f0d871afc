"""For the tests of Kafka: clients for a server of the suite, Headrace's own and the library's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from engine.kafka.broker import Kafka
from tests.servers.kafka import Kafka as KafkaServer

PATIENCE = 20.0
"""Seconds that a test may wait for something that has to come."""


async def eventually(happened: Callable[[], bool]) -> None:
    """Wait until it has happened; `TimeoutError` where it does not."""
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.01)


def hear_late_errors() -> None:
    """Take note, for the rest of this loop, of what aiokafka goes on with in the background after it was cancelled.

    It shields a commit from being cancelled. Where the server is killed meanwhile nobody is left to hear how that
    commit ended, which asyncio reports as an error that was never retrieved; in a test that would be a failure.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        late = isinstance(context.get("exception"), KafkaError) and "never retrieved" in context["message"]
        if not late and before is not None:
            before(loop, context)
        elif not late:
            loop.default_exception_handler(context)

    loop.set_exception_handler(heard)


def near(server: KafkaServer, **options: Any) -> Kafka:
    """A client that hears of rebalances at once, and gives partitions away without waiting for long."""
    quick = {"heartbeat_interval": 0.1, "session_timeout": 2.0, "revoke_drain": 0.2, "commit_interval": 0.1}
    return Kafka(options.pop("servers", server.bootstrap), **quick | options)


def fresh() -> str:
    """A name that no other test uses."""
    return f"t-{uuid4().hex}"


@asynccontextmanager
async def raw_producer(server: KafkaServer, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """The client library's own producer, for what Headrace would not publish."""
    producer = AIOKafkaProducer(bootstrap_servers=server.bootstrap, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def administration(server: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    """The client library's own admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make(server: KafkaServer, name: str, partitions: int = 1, **config: str) -> None:
    """Make a topic."""
    async with administration(server) as client:
        settings = {key.replace("_", "."): value for key, value in config.items()}
        await client.create_topics([NewTopic(name, partitions, 1, None, settings)])


async def there(server: KafkaServer, name: str) -> list[Any]:
    """All records of a topic, read by the client library."""
    consumer = AIOKafkaConsumer(bootstrap_servers=server.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(name, part) for part in await consumer._client._wait_on_metadata(name)])
        ends = await consumer.end_offsets(list(consumer.assignment()))
        found: list[Any] = []
        for place, end in ends.items():
            while await consumer.position(place) < end:
                found += [each for run in (await consumer.getmany(place, timeout_ms=200)).values() for each in run]
        return found
    finally:
        await consumer.stop()


async def committed(server: KafkaServer, group: str, topic: str, partition: int = 0) -> OffsetAndMetadata:
    """Position and metadata that a group has committed; -1 for none."""
    place = TopicPartition(topic, partition)
    async with asyncio.timeout(PATIENCE), administration(server) as client:
        while True:
            try:
                found = await client.list_consumer_group_offsets(group, partitions=[place])
                return found.get(place, OffsetAndMetadata(-1, ""))
            except GroupCoordinatorNotAvailableError:  # a server that is new makes its topic for this first
                await asyncio.sleep(0.1)


async def position(server: KafkaServer, group: str, topic: str, expected: int) -> None:
    """Wait until a group has committed that position."""
    async with asyncio.timeout(PATIENCE):
        while (await committed(server, group, topic)).offset != expected:
            await asyncio.sleep(0.02)
