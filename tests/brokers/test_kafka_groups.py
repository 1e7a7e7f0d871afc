"""Kafka's groups: where they begin, what is committed and when, and what happens when partitions change hands."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.errors import KafkaError, OffsetMetadataTooLargeError

from actors import Message, Source
from engine.kafka import client as kafka_client
from engine.kafka.broker import Kafka
from engine.kafka.commits import Commits
from engine.kafka.offsets import Offsets
from engine.kafka.share import Share
from engine.kafka.source import KafkaSource
from tests.brokers.contract import fetched, message, numbers, opened, ready
from tests.brokers.kafkas import (
    PATIENCE,
    administration,
    committed,
    eventually,
    fresh,
    make,
    near,
    position,
    raw_producer,
)
from tests.servers.kafka import Kafka as KafkaServer

pytestmark = pytest.mark.anyio


async def published(topic: Any, bodies: Any, **more: Any) -> None:
    """Publish to a topic from outside."""
    sink = topic.sink()
    async with opened(sink):
        await sink.publish([message(body, topic.name, **more) for body in bodies])


async def nothing(source: Source) -> None:
    """Fail if something comes within a moment."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.8):
            raise AssertionError(f"{numbers(await source.fetch(10))} came")


async def grown(server: KafkaServer, name: str, bodies: Iterable[int]) -> None:
    """Give a topic a second partition, and publish to that."""
    async with administration(server) as client:
        await client.create_partitions({name: NewPartitions(2)})
    async with asyncio.timeout(PATIENCE), raw_producer(server) as producer:
        while 1 not in await producer.partitions_for(name):
            await producer.client.force_metadata_update()
        for body in bodies:
            await producer.send_and_wait(name, str(body).encode(), partition=1)


async def noticed(source: Source) -> None:
    """Have a source look which topics and partitions there are, which it does every so often."""
    assert isinstance(source, KafkaSource)
    assert source._assignment is not None
    await source._assignment.consumer._client.force_metadata_update()


# -- where a group begins ------------------------------------------------------------------------------------------


async def test_latest_begins_with_what_comes_after_the_opening(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), start="latest")
    await published(topic, [1, 2])
    source = topic.source("readers")
    async with opened(source):
        await published(topic, [3])
        assert numbers(await fetched(source, 1)) == [3]


async def test_latest_does_not_jump_ahead_after_a_crash_before_anything_was_done(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), start="latest")
    await published(topic, [1, 2])
    source = topic.source("readers")
    async with opened(source):
        await position(kafka_server, "readers", topic.name, 2)
    await published(topic, [3])
    async with opened(source):
        assert numbers(await fetched(source, 1)) == [3]


async def test_latest_reads_all_of_a_partition_that_is_added_while_it_runs(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), start="latest")
    await published(topic, [1, 2])
    source = topic.source("readers")
    async with opened(source):
        await published(topic, [3])
        await source.settle(await fetched(source, 1), [])
        await grown(kafka_server, topic.name, range(4, 9))
        await noticed(source)
        assert numbers(await fetched(source, 5)) == [4, 5, 6, 7, 8]
        await nothing(source)
    async with opened(source):
        assert numbers(await fetched(source, 5)) == [4, 5, 6, 7, 8]  # where it began is committed


async def test_latest_reads_all_of_a_partition_that_is_added_while_its_consumer_is_made_anew(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server).topic(fresh(), start="latest")
    source = topic.source("readers")
    async with opened(source):
        assert isinstance(source, KafkaSource)
        assert source._assignment is not None
        await source._abandon(source._assignment)
        await grown(kafka_server, topic.name, range(5))
        assert numbers(await fetched(source, 5)) == [0, 1, 2, 3, 4]


async def test_latest_reads_all_of_a_topic_that_comes_to_match_later(kafka_server: KafkaServer) -> None:
    stem = fresh()
    kafka = near(kafka_server, client={"metadata_max_age_ms": 300_000})
    everything = kafka.topic(pattern=f"{stem}\\..*", start="latest")
    await published(kafka.topic(f"{stem}.a"), [1])
    source = everything.source("readers")
    async with opened(source):
        await published(kafka.topic(f"{stem}.later"), [2, 3])
        await noticed(source)
        assert numbers(await fetched(source, 2)) == [2, 3]
        await nothing(source)


async def test_latest_skips_what_was_there_though_somebody_has_committed_for_another_partition(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server).topic(fresh(), start="latest", partitions=2)
    await published(topic, range(10), key="a")
    await published(topic, range(10, 20), key="d")  # which is another partition
    group, place = fresh(), TopicPartition(topic.name, 0)
    member = AIOKafkaConsumer(bootstrap_servers=kafka_server.bootstrap, group_id=group, enable_auto_commit=False)
    await member.start()
    member.assign([place])
    await member.commit({place: 8})
    await member.stop()
    source = topic.source(group)
    async with opened(source):
        assert numbers(await fetched(source, 2)) == [8, 9]
        await nothing(source)


async def test_a_position_that_the_log_has_lost_goes_on_at_the_oldest_message_and_says_so(
    kafka_server: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    topic = near(kafka_server).topic(fresh(), start="latest")
    source = topic.source("readers")
    async with opened(source):
        await published(topic, range(3))
        await source.settle(await fetched(source, 3), [])
    await published(topic, range(3, 9))
    async with administration(kafka_server) as client:
        await client.delete_records({TopicPartition(topic.name, 0): RecordsToDelete(5)})
    async with opened(source):
        assert numbers(await fetched(source, 4)) == [5, 6, 7, 8]
    assert "2 messages, from 3 on, were removed from the topic before they were read" in caplog.text


@pytest.mark.parametrize(
    ("at", "metadata", "comes", "said"),
    [
        (2, "\x00\x01\x02 random", range(2, 9), "was not written here"),
        (2, '{"tool": "another", "lag": 3}', range(2, 9), "was not written here"),
        (2, "h2r:7:AQE=", range(2, 9), "was not written here, or for another position"),
        (2, "h2r:2:AQH///////8P", range(2, 9), "was not written here"),
        (2, "x" * 4096, range(2, 9), "was not written here"),
        (5, "", range(5, 9), None),
        (1000, "", range(9), "its group's position is 1000, and it has 0 to 9"),
        (-7, "", range(9), None),
    ],
    ids=["random", "another tool", "another position", "beyond the end", "overlong", "forward", "future", "negative"],
)
async def test_whatever_a_stranger_commits_skips_nothing_in_silence(
    kafka_server: KafkaServer, at: int, metadata: str, comes: range, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    topic = near(kafka_server).topic(fresh())
    await published(topic, range(9))
    place, group = TopicPartition(topic.name, 0), fresh()
    stranger = AIOKafkaConsumer(bootstrap_servers=kafka_server.bootstrap, group_id=group, enable_auto_commit=False)
    await stranger.start()
    stranger.assign([place])
    try:
        await stranger.commit({place: OffsetAndMetadata(at, metadata)})
    except (ValueError, KafkaError):
        assert at < 0, "what cannot even be committed does no harm"
    finally:
        await stranger.stop()
    source = topic.source(group)
    async with opened(source):
        run = await fetched(source, len(comes))
        assert numbers(run) == list(comes)
        await source.settle(run, [])
        await position(kafka_server, group, topic.name, 9)
        await nothing(source)
    assert said is None or said in caplog.text


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source = topic.source("readers")
    async with opened(source):
        await published(topic, range(5))
        old = await fetched(source, 5)
        await source.settle([], old[3:])
        async with administration(kafka_server) as client:
            await client.delete_topics([topic.name])
        await make(kafka_server, topic.name)
        await published(topic, [10, 11])
        run: list[Message] = []
        async with asyncio.timeout(20):
            while numbers(run[-2:]) != [10, 11]:
                run += await fetched(source, 2)
        # A group that is balanced while there is no topic takes what was given back with it, for it is nobody's now.
        assert numbers(run[:-2]) in ([3, 4], [])
        new = run[-2:]
        assert [each.offset for each in new] == [0, 1]
        await source.settle([], run[:-2])
        await source.settle(old, [])
        await source.settle(new, [])
        await position(kafka_server, "readers", topic.name, 2)


# -- what is committed ---------------------------------------------------------------------------------------------


async def test_the_lowest_that_is_not_done_is_committed_with_a_map_of_what_is(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source = topic.source("readers")
    async with opened(source):
        await published(topic, range(10))
        run = await fetched(source, 10)
        await source.settle([run[at] for at in (0, 1, 3, 4, 7)], [])
        await position(kafka_server, "readers", topic.name, 2)
        told = await committed(kafka_server, "readers", topic.name)
        assert list(Offsets(*told).fetched(range(2, 12))) == [2, 5, 6, 8, 9, 10, 11]
        await source.settle(run, [])
        await position(kafka_server, "readers", topic.name, 10)
        assert (await committed(kafka_server, "readers", topic.name)).metadata == ""


async def test_a_commit_is_due_by_count_before_its_time(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, commit_interval=1000, commit_every=5).topic(fresh())
    source = topic.source("readers")
    async with opened(source):
        await published(topic, range(10))
        run = await fetched(source, 10)
        await source.settle(run[:4], [])
        assert (await committed(kafka_server, "readers", topic.name)).offset == -1
        await source.settle(run[4:6], [])
        await position(kafka_server, "readers", topic.name, 6)


async def test_a_server_that_takes_no_map_gets_the_position_alone() -> None:
    told: list[Any] = []

    class Strict:
        """As a server whose offset.metadata.max.bytes is 4."""

        async def ensure_coordinator_known(self) -> None:
            """There is one."""

        async def _do_commit_offsets(self, _: object, offsets: Any) -> None:
            told.append({place.topic: tuple(each) for place, each in offsets.items()})
            if any(len(each.metadata) > 4 for each in offsets.values()):
                raise OffsetMetadataTooLargeError

    share = Share(TopicPartition("t", 0), 0)
    share.offsets.fetched([0, 1, 2])
    share.offsets.complete(1)
    share.touched = True
    consumer: Any = SimpleNamespace(_coordinator=Strict())
    commits = Commits(consumer, Kafka().options, "topic t", {share.place: share})
    await commits.commit()
    assert told[-1] == {"t": (0, "")}
    share.offsets.complete(0)
    share.touched = True
    await commits.commit()
    assert [each["t"][0] for each in told] == [0, 0, 2]


async def test_a_partition_whose_map_grows_too_long_rests_and_the_others_go_on(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    source, sink = await ready(topic)
    count = 24_000
    async with opened(source, sink):
        assert isinstance(source, KafkaSource)
        for start in range(0, count, 4000):
            await sink.publish([message(number, topic.name, key="a") for number in range(start, start + 4000)])
        held: list[Message] = []
        assignment = source._assignment
        assert assignment is not None
        while not assignment.paused:
            run = await source.fetch(1000)
            held += run[::3]
            await source.settle([each for at, each in enumerate(run) if at % 3], [])
        (resting,) = assignment.paused
        taken = held[-1].offset
        other = _key_of_another_partition(sink)
        await sink.publish([message(1, topic.name, key=other)])
        assert [each.key for each in await source.fetch(1000)] == [other]
        told = assignment.shares[resting].told()
        assert 2000 < len(told[1]) <= 4096
        await source.settle(held, [])
        assert not assignment.paused
        rest = 0
        while rest < count - int(str(taken)) - 1000:
            run = await source.fetch(1000)
            rest += len(run)
            await source.settle(run, [])


def _key_of_another_partition(sink: Any) -> str:
    (spread,) = sink._spreads._known.values()
    return next(key for key in "bcdefgh" if spread.of(key.encode()) != spread.of(b"a"))


# -- partitions that change hands ----------------------------------------------------------------------------------


async def test_what_is_in_hand_is_finished_before_partitions_are_given_away(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, revoke_drain=20).topic(fresh())
    one, other = topic.source("readers"), topic.source("readers")
    await published(topic, range(10))
    async with opened(one):
        run = await fetched(one, 10)
        joining = asyncio.ensure_future(other.open())
        polling = asyncio.ensure_future(one.fetch(1))
        assert isinstance(one, KafkaSource)
        assert one._assignment is not None
        await eventually(lambda: one._assignment.leaving)  # type: ignore[union-attr]
        assert not joining.done()
        await one.settle(run, [])
        await joining
        assert (await committed(kafka_server, "readers", topic.name)).offset == 10
        polling.cancel()
        await other.close()


async def test_what_is_not_finished_in_time_comes_again_and_its_late_settling_is_forgotten(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server, revoke_drain=0.1).topic(fresh())
    one, other = topic.source("readers"), topic.source("readers")
    await published(topic, range(10))
    async with opened(one):
        run = await fetched(one, 10)
        await one.settle(run[3:5], [])
        polls = [asyncio.ensure_future(one.fetch(10))]
        async with opened(other):
            polls.append(asyncio.ensure_future(other.fetch(10)))
            await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            owner, again = next(
                (owner, poll.result()) for owner, poll in zip((one, other), polls, strict=True) if poll.done()
            )
            assert numbers(again) == [0, 1, 2, 5, 6, 7, 8, 9]
            assert {each.attempt for each in again} == {2}
            await one.settle(run, [])
            await one.settle([], run)
            await owner.settle(again[:2], [])
            await position(kafka_server, "readers", topic.name, 2)
            for poll in polls:
                poll.cancel()


async def test_many_sources_come_and_go_and_nothing_is_lost(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, revoke_drain=1.0).topic(fresh(), partitions=6)
    seen: dict[int, int] = {}
    count, stop = 3000, asyncio.Event()

    async def read(source: Source, at_most: int) -> None:
        async with opened(source):
            while at_most > 0 and not stop.is_set():
                run = await source.fetch(50)
                await asyncio.sleep(0)
                for number in numbers(run):
                    seen[number] = seen.get(number, 0) + 1
                await source.settle(run, [])
                at_most -= len(run)
                if len(seen) == count:
                    stop.set()

    readers: list[asyncio.Task[None]] = []
    sink = topic.sink()
    async with opened(sink), asyncio.timeout(40):
        for start in range(0, count, 500):
            readers.append(asyncio.ensure_future(read(topic.source("readers"), 400 if start < 2000 else count)))
            await sink.publish([message(at, topic.name, key=str(at)) for at in range(start, start + 500)])
            await asyncio.sleep(0.1)
        await stop.wait()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert sorted(seen) == list(range(count))
    assert sum(seen.values()) < count * 1.5


async def test_a_source_that_fetches_nothing_stays_in_its_group(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, session_timeout=0.6).topic(fresh())
    source = topic.source("readers")
    async with opened(source):
        assert isinstance(source, KafkaSource)
        await published(topic, range(3))
        held = await fetched(source, 2)
        epoch = source._assignment and list(source._assignment.shares.values())
        await asyncio.sleep(1.5)  # more than twice the session's timeout, with no room for messages
        assert source._assignment is not None
        assert list(source._assignment.shares.values()) == epoch
        await source.settle(held, [])
        assert numbers(await fetched(source, 1)) == [2]


async def test_a_static_member_takes_its_partitions_up_again_at_once(kafka_server: KafkaServer) -> None:
    group = fresh()
    topic = near(kafka_server, session_timeout=25, heartbeat_interval=5, group_instance_id="pod-1").topic(
        fresh(), group
    )
    await published(topic, range(4))
    killed, after = topic.source("readers"), topic.source("readers")
    await killed.open()
    await killed.settle((await fetched(killed, 2))[:1], [])
    await position(kafka_server, group, topic.name, 1)
    assert isinstance(killed, KafkaSource)
    assert killed._assignment is not None
    kafka_client.cut_off(killed._assignment.consumer)
    async with asyncio.timeout(5), opened(after):
        assert numbers(await fetched(after, 3)) == [1, 2, 3]
    await killed.close()


# -- patterns ------------------------------------------------------------------------------------------------------


async def test_a_pattern_reads_all_that_match_and_what_comes_later(kafka_server: KafkaServer) -> None:
    stem = fresh()
    kafka = near(kafka_server, client={"metadata_max_age_ms": 300})
    everything = kafka.topic(pattern=f"{stem}\\..*")
    await published(kafka.topic(f"{stem}.a"), [1])
    await published(kafka.topic(f"{stem}.b"), [2])
    await published(kafka.topic(f"x{stem}.c"), [99])
    await published(everything.dead_letter(), [98])
    source = everything.source("readers")
    async with opened(source):
        run = await fetched(source, 2)
        assert {(each.source, each.raw) for each in run} == {(f"{stem}.a", b"1"), (f"{stem}.b", b"2")}
        await source.settle(run, [])
        await published(kafka.topic(f"{stem}.later"), [3])
        (later,) = await fetched(source, 1)
        assert (later.source, later.raw) == (f"{stem}.later", b"3")
        await source.settle([later], [])
        await nothing(source)


async def test_a_pattern_that_matches_nothing_yet_waits(kafka_server: KafkaServer) -> None:
    stem = fresh()
    kafka = near(kafka_server, client={"metadata_max_age_ms": 300})
    source = kafka.topic(pattern=f"{stem}.*").source("readers")
    async with opened(source):
        await nothing(source)
        async with raw_producer(kafka_server) as producer:
            await make(kafka_server, f"{stem}.a")
            await producer.send_and_wait(f"{stem}.a", b"1")
        assert numbers(await fetched(source, 1)) == [1]
