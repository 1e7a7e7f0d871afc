"""How many messages a Kafka source says are left: `run --burst` ends when there are none."""

import asyncio

import pytest

from engine.kafka.source import KafkaSource
from tests.brokers.contract import message, opened, ready
from tests.brokers.kafkas import eventually, fresh, near
from tests.servers.kafka import Kafka as KafkaServer

pytestmark = pytest.mark.anyio


async def test_what_is_read_ahead_is_left_while_partitions_are_given_away(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        assert isinstance(source, KafkaSource)
        await sink.publish([message(at, topic.name) for at in range(20)])
        assert len([*await source.fetch(5), *await source.fetch(5)]) == 10
        assert source._assignment is not None
        assert sum(len(records) for _, records in source._assignment._ahead) == source.pending() == 10
        source._assignment.leaving = True  # as the group's next balance begins
        going_on = asyncio.ensure_future(source.fetch(1))
        await eventually(lambda: bool(source._at))  # nothing came, and it has looked why
        assert source.pending() == 10
        source._assignment.leaving = False
        (taken,) = await going_on
        assert taken.offset == 10
        assert source.pending() == 9


async def test_a_partition_of_which_nothing_was_asked_has_left_what_was_read_of_it(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        assert isinstance(source, KafkaSource)
        waiting = asyncio.ensure_future(source.fetch(1))
        await sink.publish([message(at, topic.name) for at in range(5)])
        await waiting
        assignment = source._assignment
        assert assignment is not None
        ((place, share),) = assignment.shares.items()
        records = [each.origin.read for each in await source.fetch(4)]  # type: ignore[attr-defined]
        assert source.pending() == 0
        share.known, share.seen_to = False, 1
        assignment.read({place: records})
        assert source.pending() == 4
