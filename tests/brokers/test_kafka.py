"""Kafka: the contract of all brokers, and what its records and topics have of their own."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from actors import Message, Origin, PublishError
from engine import broker
from engine.kafka import client as kafka_client
from engine.kafka.broker import KAFKA, Kafka, KafkaTopic
from engine.kafka.wire import Fetched
from tests.brokers.contract import BrokerContract, fetched, message, numbers, opened, ready
from tests.brokers.kafkas import administration, eventually, fresh, make, near, raw_producer, there
from tests.servers.kafka import Kafka as KafkaServer

pytestmark = pytest.mark.anyio


class TestKafkaContract(BrokerContract):
    capabilities = KAFKA
    moment = 2.0

    @pytest.fixture
    async def endpoint(self, kafka_server: KafkaServer) -> KafkaTopic:
        return near(kafka_server).topic(fresh())

    async def quiet(self) -> None:
        await asyncio.sleep(0.05)


# -- records -----------------------------------------------------------------------------------------------------


async def test_a_tombstone_is_not_an_empty_body(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        run = [Message(raw=None, key="a"), Message(raw=b"", key="b"), Message(raw=b"x", key="c")]
        for each in run:
            each.destination = topic.name
        await sink.publish(run)
        assert [each.raw for each in await fetched(source, 3)] == [None, b"", b"x"]


async def test_what_no_record_could_be_is_refused_and_the_rest_published(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        run = [
            message(0, topic.name),
            message(b"x" * 1_100_000, topic.name),
            Message(raw=None),
            message(1, topic.name, headers={"a": 1}),
            message(2, topic.name, headers={3: "x"}),
            message(3, topic.name, key=4),
            message(4, topic.name, key="\ud800"),
            message(5, topic.name),
        ]
        run[2].destination = topic.name
        run[3].raw, run[4].raw = "no bytes", b"4"  # type: ignore[assignment]
        with pytest.raises(PublishError) as refused:
            await sink.publish(run)
        assert set(refused.value.failures) == {1, 2, 3, 4, 5, 6}
        assert "max_request_size" in str(refused.value.failures[1])
        assert "tombstone" in str(refused.value.failures[2])
        assert numbers(await fetched(source, 2)) == [0, 5]


async def test_header_values_may_be_null_or_no_text_and_names_may_repeat(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source = topic.source("readers")
    async with opened(source), raw_producer(kafka_server) as producer:
        headers = [("null", None), ("bytes", b"\xff"), ("twice", b"1"), ("twice", b"2"), ("headrace-reply-to", b"\xff")]
        await producer.send_and_wait(topic.name, b"1", headers=headers)
        await producer.send_and_wait(topic.name, b"2", headers=[("headrace-id", None)])
        first, second = await fetched(source, 2)
    assert first.headers == {"null": "", "bytes": b"\xff", "twice": "2"}
    assert (first.reply_to, first.id) == (None, None)
    assert (second.headers, second.id) == ({}, None)


async def test_a_message_tells_its_place_and_has_the_clients_own_record(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(number, topic.name) for number in range(3)])
        run = await fetched(source, 3)
        assert [(each.source, each.partition, each.offset) for each in run] == [(topic.name, 0, at) for at in range(3)]
        assert run[0].record.value == b"0"
        assert run[0].timestamp == run[0].record.timestamp / 1000


async def test_what_is_read_ahead_comes_in_order_and_is_nobodys_until_it_is_handed_out(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(number, topic.name, headers={"h": "1"}) for number in range(3000)])
        first = await source.fetch(10)
        second = await source.fetch(10)
        assert numbers([*first, *second]) == list(range(20))
        assert source.pending() == 2980
        await source.settle(second, first)
        assert numbers(await source.fetch(100)) == list(range(10)), "what was given back comes before what is ahead"
        assert numbers(await source.fetch(5)) == list(range(20, 25))
    async with opened(source):
        assert numbers(await fetched(source, 2990)) == [*range(10), *range(20, 3000)]


async def test_the_clients_own_record_is_made_only_for_who_asks(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=3)
    source, sink = await ready(topic)
    async with opened(source, sink):
        run = [message(number, topic.name, key="k", headers={"h": "1"}) for number in range(100)]
        await sink.publish(run)
        found = await fetched(source, 1) + await fetched(source, 99)
    assert isinstance(found[-1].origin, Fetched)
    assert not isinstance(found[-1].origin.read, ConsumerRecord), "aiokafka is made otherwise now: see client.lean"
    for number, each in enumerate(found):
        record = each.record
        assert isinstance(record, ConsumerRecord)
        assert (record.topic, record.partition, record.offset) == (each.source, each.partition, number)
        assert (record.key, record.value, dict(record.headers)["h"]) == (b"k", str(number).encode(), b"1")
        assert (record.serialized_key_size, record.serialized_value_size) == (1, len(str(number)))
        assert record.timestamp / 1000 == each.timestamp


async def test_a_client_that_is_made_otherwise_goes_on_making_its_records(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_client, "lean", lambda consumer: False)
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(number, topic.name) for number in range(100)])
        found = await fetched(source, 1) + await fetched(source, 99)
    assert numbers(found) == list(range(100))
    assert all(isinstance(each.origin, Fetched) and each.origin.read is each.record for each in found)


def test_a_client_without_what_lean_looks_for_is_left_alone() -> None:
    class Bare:
        _fetcher = object()

    class Other(Bare):
        _fetcher: Any = SimpleNamespace(_records={"place": object()})

    assert not kafka_client.lean(Bare())
    assert kafka_client.lean(Other())


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_batches_are_compressed(kafka_server: KafkaServer, compression: str) -> None:
    topic = near(kafka_server, compression=compression).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(b"x" * 1000, topic.name, headers={"h": str(at)}) for at in range(100)])
        run = await fetched(source, 100)
    assert [(each.raw, each.headers) for each in run] == [(b"x" * 1000, {"h": str(at)}) for at in range(100)]


# -- batches and partitions ----------------------------------------------------------------------------------------


async def test_a_run_longer_than_a_batch_is_cut_and_stays_in_order(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, max_batch_size=2000).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(f"{number:0500}", topic.name) for number in range(200)])
        assert numbers(await fetched(source, 200)) == list(range(200))


async def test_what_lingers_shares_a_batch_and_stays_in_order(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, linger=0.05).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await asyncio.gather(*(sink.publish([message(number, topic.name)]) for number in range(20)))
        await sink.publish([message(number, topic.name) for number in range(20, 40)])
        run = numbers(await fetched(source, 40))
        assert (sorted(run[:20]), run[20:]) == (list(range(20)), list(range(20, 40)))


async def test_a_missing_topic_is_made_as_told(kafka_server: KafkaServer) -> None:
    kafka = near(kafka_server)
    source, sink = kafka.topic(fresh(), partitions=3).source("g"), kafka.topic(fresh(), partitions=5).sink()
    async with opened(source, sink), administration(kafka_server) as client:
        described = await client.describe_topics([source._place.name, sink.destination])  # type: ignore[attr-defined]
    assert [len(each["partitions"]) for each in described] == [3, 5]


async def test_the_same_key_is_the_same_partition_as_for_any_client(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=7)
    sink = topic.sink()
    keys = [f"customer-{number % 20}" for number in range(100)]
    async with opened(sink), raw_producer(kafka_server) as producer:
        await sink.publish([message(at, topic.name, key=key) for at, key in enumerate(keys)])
        for key in keys[:20]:
            await producer.send_and_wait(topic.name, b"-1", key=key.encode())
    by_key: dict[bytes, list[Any]] = {}
    for record in await there(kafka_server, topic.name):
        by_key.setdefault(record.key, []).append(record)
    assert len(by_key) == 20
    assert len({record.partition for records in by_key.values() for record in records}) == 7
    for records in by_key.values():
        assert len({record.partition for record in records}) == 1
        values = [int(record.value) for record in records]
        assert values == [*sorted(values[:-1]), -1]


async def test_a_run_without_keys_stays_together_and_runs_spread(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=4)
    sink = topic.sink()
    async with opened(sink):
        for start in range(0, 400, 10):
            await sink.publish([message(number, topic.name) for number in range(start, start + 10)])
    runs: dict[int, set[int]] = {}
    for record in await there(kafka_server, topic.name):
        runs.setdefault(int(record.value) // 10, set()).add(record.partition)
    assert all(len(partitions) == 1 for partitions in runs.values())
    assert len(set.union(*runs.values())) == 4


async def test_a_sink_publishes_to_any_topic_that_a_template_names(kafka_server: KafkaServer) -> None:
    stem = fresh()
    sink = near(kafka_server).topic(f"{stem}.{{tenant}}").sink()
    async with opened(sink):
        run = [message(at, f"{stem}.{tenant}") for at, tenant in enumerate(["a", "b", "a", "no name!", "c"])]
        with pytest.raises(PublishError) as refused:
            await sink.publish(run)
    assert set(refused.value.failures) == {3}
    assert "249" in str(refused.value.failures[3])
    assert [record.value for record in await there(kafka_server, f"{stem}.a")] == [b"0", b"2"]
    assert [record.value for record in await there(kafka_server, f"{stem}.c")] == [b"4"]


# -- what the server refuses, and producers that break ---------------------------------------------------------------


async def test_a_refused_message_is_told_and_the_others_of_its_batch_are_published(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    await make(kafka_server, topic.name, max_message_bytes="5000")
    source, sink = await ready(topic)
    async with opened(source, sink):
        run = [message(f"{number:0{6000 if number == 4 else 10}}", topic.name) for number in range(8)]
        with pytest.raises(PublishError) as refused:
            await sink.publish(run)
        assert set(refused.value.failures) == {4}
        assert "MessageSizeTooLarge" in str(refused.value.failures[4])
        # An idempotent producer of aiokafka's would be out of order from here on.
        await sink.publish([message(8, topic.name)])
        assert numbers(await fetched(source, 8)) == [0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize("linger", [0.0, 0.01])
async def test_a_compacted_topic_refuses_what_has_no_key(kafka_server: KafkaServer, linger: float) -> None:
    topic = near(kafka_server, linger=linger).topic(fresh())
    await make(kafka_server, topic.name, cleanup_policy="compact")
    source, sink = await ready(topic)
    async with opened(source, sink):
        with pytest.raises(PublishError) as refused:
            await sink.publish(
                [message(0, topic.name, key="k"), message(1, topic.name), message(2, topic.name, key="k")]
            )
        assert set(refused.value.failures) == {1}
        assert numbers(await fetched(source, 2)) == [0, 2]


async def test_a_producer_that_failed_is_made_anew(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(0, topic.name)])
        broken = sink._producer  # type: ignore[attr-defined]
        broken._sender.sender_task.cancel()
        await asyncio.wait([broken._sender.sender_task])
        broken._message_accumulator.fail_all(RuntimeError("the sender is gone"))
        with pytest.raises(Exception, match="the sender is gone"):
            await sink.publish([message(1, topic.name)])
        await sink.publish([message(1, topic.name)])
        assert numbers(await fetched(source, 2)) == [0, 1]


async def test_what_an_aborted_transaction_published_is_not_read(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source = topic.source("readers")
    async with opened(source), raw_producer(kafka_server, transactional_id=fresh()) as producer:
        for number, commit in enumerate([True, False, True]):
            await producer.begin_transaction()
            await producer.send_and_wait(topic.name, str(number).encode())
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        run = await fetched(source, 2)
        assert (numbers(run), [each.offset for each in run]) == ([0, 2], [0, 4])
        await source.settle(run, [])
        # The end of a transaction takes an offset too, at which nothing will ever come.
        poll = asyncio.ensure_future(source.fetch(1))
        await eventually(lambda: source.pending() == 0)
        poll.cancel()


# -- replies -------------------------------------------------------------------------------------------------------


async def test_an_inbox_goes_with_whoever_asked_and_late_replies_do_not_bring_it_back(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        async with topic.broker:
            with pytest.raises(TimeoutError):
                await topic.request("?", timeout=1.0)
            (asked,) = await source.fetch(1)
            assert asked.reply_to is not None
            assert await there(kafka_server, asked.reply_to) == []
        await sink.publish([message("late", asked.reply_to), message("on time", topic.name)])
        (other,) = await source.fetch(1)
        assert other.raw == b"on time"
    async with administration(kafka_server) as client:
        assert asked.reply_to not in await client.list_topics()


async def test_replies_may_come_by_a_topic_that_others_use_too(kafka_server: KafkaServer) -> None:
    replies = fresh()
    await make(kafka_server, replies, partitions=3)
    kafka = near(kafka_server, reply_topic=replies)
    topic = kafka.topic(fresh())
    source, sink = await ready(topic)

    async def answer() -> None:
        for number in range(4):
            (asked,) = await source.fetch(1)
            assert asked.reply_to == replies
            origin = Origin(correlation_id="another's" if number == 0 else asked.correlation_id)
            await sink.publish([message(number, asked.reply_to, origin=origin, key=str(number))])
            if number == 0:
                await sink.publish([message(0, replies, origin=Origin(correlation_id=asked.correlation_id))])

    async with opened(source, sink), kafka:
        answering = asyncio.ensure_future(answer())
        assert [(await topic.request({}, timeout=10)).body for _ in range(4)] == [0, 1, 2, 3]
        await answering
    assert len(await there(kafka_server, replies)) == 5


# -- ways to connect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("tls_url", ""),
        ("tls_url", "certfile={client}&keyfile={client_key}"),
        ("login_url", ""),
        ("login_url", "sasl_mechanism=SCRAM-SHA-256"),
        ("login_url", "sasl_mechanism=SCRAM-SHA-512"),
        ("tls_login_url", "sasl_mechanism=SCRAM-SHA-512"),
    ],
)
async def test_tls_and_logins(kafka_server: KafkaServer, url: str, options: str) -> None:
    certificates = kafka_server.certificates
    options = options.format(client=certificates.client, client_key=certificates.client_key)
    authority = f"cafile={certificates.authority}" if "tls" in url else ""
    kafka = broker(f"{getattr(kafka_server, url)}?{'&'.join(filter(None, [options, authority]))}".rstrip("?"))
    assert isinstance(kafka, Kafka)
    topic = kafka.topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(1, topic.name)])
        assert numbers(await source.fetch(1)) == [1]


async def test_a_context_for_tls_may_be_given(kafka_server: KafkaServer) -> None:
    host = kafka_server.tls_url.removeprefix("kafka://")
    topic = Kafka(host, ssl=kafka_server.certificates.context()).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(1, topic.name)])
        assert numbers(await source.fetch(1)) == [1]
