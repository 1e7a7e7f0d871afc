"""Runs that a Kafka sink has on their way at once: whatever becomes of one, none is lost, doubled or overtaken."""

import asyncio
import gc
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from logging import getLogger
from time import monotonic
from typing import Any

import pytest

from actors import BrokerUnavailable, Clock, Counts, Link, Mailbox, Message, PublishError, PublishWorker, Retries
from engine.kafka.broker import KafkaTopic
from engine.kafka.sink import KafkaSink
from tests.actors.fakes import Completed, running
from tests.actors.fakes import message as asked
from tests.brokers.contract import message, opened
from tests.brokers.kafkas import eventually, fresh, make, near, there
from tests.servers.kafka import Kafka as KafkaServer
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.anyio
KEYS = "abcdefgh"
"""On two partitions these are three and five."""


class Outlet:
    """A publisher of runs of `take`, as the engine has it, on a real sink."""

    def __init__(self, sink: KafkaSink, take: int) -> None:
        self.sink, self.owner, self.clock, counts = sink, Completed(), Clock(), Counts()
        self.mailbox: Mailbox[Message] = Mailbox(100_000, "outlet")
        logger = getLogger("headrace.tests")
        self.link = Link(self.clock, logger, "kafka")
        self.worker = PublishWorker(
            "to:kafka",
            self.mailbox,
            sink,
            encoder_of=lambda kind: lambda body: str(body).encode(),
            unpublishable=lambda body, error: TypeError(f"{body!r}: {error}"),
            retries=Retries("to:kafka", self.mailbox, self.clock, counts, logger),
            link=self.link,
            counts=counts,
            destination=sink.destination,
            take=take,
        )

    def put(self, bodies: Iterable[Any]) -> None:
        """A message each, whose key its number tells."""
        self.mailbox.put_nowait([asked(body, self.owner, key=key_of(body)) for body in bodies])

    @property
    def on_their_way(self) -> int:
        return sum(flight.sent is not None for flight in self.worker._flights)

    async def finished(self, count: int) -> None:
        """Wait until so many are published or refused."""
        await eventually(lambda: len(self.owner) >= count)


def key_of(body: Any) -> str:
    return KEYS[int(str(body)[:6]) % len(KEYS)]


@asynccontextmanager
async def outlet(sink: KafkaSink, take: int = 10) -> AsyncIterator[Outlet]:
    """A publisher that runs as long as the block."""
    async with opened(sink):
        made = Outlet(sink, take)
        async with running(made.clock.run, made.worker.run):
            yield made


@asynccontextmanager
async def nothing_unheard() -> AsyncIterator[None]:
    """Fail where a future ends with an error that nobody has asked for."""
    unheard: list[Any] = []
    tasks = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: unheard.append(context))
    try:
        yield
        await eventually(lambda: asyncio.all_tasks() <= tasks)
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    assert unheard == []


async def arrived(server: KafkaServer, name: str) -> dict[bytes | None, list[int]]:
    """What is in a topic, by key, in order."""
    found: dict[bytes | None, list[int]] = defaultdict(list)
    for record in await there(server, name):
        found[record.key].append(int(record.value[:6]))
    return found


def firsts(numbers: Sequence[int]) -> list[int]:
    """Each number where it came first."""
    return list(dict.fromkeys(numbers))


def in_order(found: dict[bytes | None, list[int]], wanted: Iterable[int]) -> None:
    """All of these came, in order by key."""
    by_key = defaultdict(list)
    for number in wanted:
        by_key[key_of(number).encode()].append(number)
    assert {key: firsts(numbers) for key, numbers in found.items()} == by_key


def sink_of(topic: KafkaTopic) -> KafkaSink:
    sink = topic.sink()
    assert isinstance(sink, KafkaSink)
    return sink


def run_of(numbers: Iterable[int], to: str) -> list[Message]:
    return [message(number, to, key=key_of(number)) for number in numbers]


async def warm(sink: KafkaSink, first: int = 0) -> None:
    """Have a message of each key confirmed."""
    await sink.publish(run_of(range(first, first + len(KEYS)), sink.destination))


# -- all is well -----------------------------------------------------------------------------------------------------


async def test_two_runs_handed_over_before_either_is_confirmed_arrive_in_order(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    sink = sink_of(topic)
    async with nothing_unheard(), opened(sink):
        await warm(sink)
        kafka_server.pause()
        first = await sink.send(run_of(range(8, 500), topic.name))
        second = await sink.send(run_of(range(500, 1000), topic.name))
        assert first is not None
        assert second is not None
        told: list[str] = []
        second.then(lambda: told.append("second"))
        first.then(lambda: told.append("first"))
        assert told == []
        kafka_server.resume()
        assert await first.confirmed()
        assert await second.confirmed()
        await eventually(lambda: told == ["first", "second"])
    found = await arrived(kafka_server, topic.name)
    in_order(found, range(1000))
    assert sum(map(len, found.values())) == 1000


async def test_a_publisher_has_two_runs_on_their_way(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    async with nothing_unheard(), outlet(sink_of(topic), take=100) as publisher:
        publisher.put(range(100))
        await publisher.finished(100)
        kafka_server.pause()
        publisher.put(range(100, 1000))
        await eventually(lambda: publisher.on_their_way == 2)
        kafka_server.resume()
        await publisher.finished(1000)
    found = await arrived(kafka_server, topic.name)
    in_order(found, range(1000))
    assert sum(map(len, found.values())) == 1000


def test_without_idempotence_there_is_one_at_a_time(kafka_server: KafkaServer) -> None:
    assert sink_of(near(kafka_server).topic(fresh())).in_flight == 2
    assert sink_of(near(kafka_server, idempotent=False).topic(fresh())).in_flight == 1


async def test_a_topic_that_nobody_has_asked_for_is_left_to_publish(kafka_server: KafkaServer) -> None:
    stem = fresh()
    sink = sink_of(near(kafka_server).topic(f"{stem}.{{tenant}}"))
    async with opened(sink):
        run = run_of(range(8), f"{stem}.a")
        assert await sink.send(run) is None
        await sink.publish(run)
        sent = await sink.send(run_of(range(8, 16), f"{stem}.a"))
        assert sent is not None
        assert await sent.confirmed()
        both = [*run_of(range(16, 24), f"{stem}.a"), *run_of(range(8), f"{stem}.b")]
        assert await sink.send(both) is None
        await sink.publish(both)
    in_order(await arrived(kafka_server, f"{stem}.a"), range(24))
    in_order(await arrived(kafka_server, f"{stem}.b"), range(8))


async def test_what_no_record_could_be_is_left_to_publish(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    sink = sink_of(topic)
    async with opened(sink):
        await warm(sink)
        assert await sink.send([message(8, topic.name, key="a"), message(9, topic.name, headers={"a": 1})]) is None
        assert len(await there(kafka_server, topic.name)) == 8


# -- a message that is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [False, True], ids=["new producer", "used producer"])
@pytest.mark.parametrize("place", [0, 13, 25, 39])
async def test_only_what_is_refused_is_missing_and_nothing_comes_twice(
    kafka_server: KafkaServer, used: bool, place: int
) -> None:
    topic = near(kafka_server).topic(fresh())
    await make(kafka_server, topic.name, 2, max_message_bytes="5000")
    bodies: list[Any] = [f"{number:06}" for number in range(60)]
    bodies[place] += " " * 6000
    async with nothing_unheard(), outlet(sink_of(topic), take=10) as publisher:
        if used:
            await warm(publisher.sink, 900)
        kafka_server.pause()
        publisher.put(bodies)
        kafka_server.resume()
        await publisher.finished(60)
        assert not publisher.sink._published
    assert len(publisher.owner.reasons) == 1
    assert "MessageSizeTooLarge" in publisher.owner.reasons[0]
    assert publisher.link.error is None
    assert publisher.link.failures == 0
    found = await arrived(kafka_server, topic.name)
    found = {key: [number for number in numbers if number < 900] for key, numbers in found.items()}
    assert [number for numbers in found.values() for number, times in Counter(numbers).items() if times > 1] == []
    in_order(found, [number for number in range(60) if number != place])


async def test_a_refusal_is_none_of_the_brokers(kafka_server: KafkaServer, caplog: pytest.LogCaptureFixture) -> None:
    topic = near(kafka_server, max_batch_size=2000).topic(fresh())
    await make(kafka_server, topic.name, max_message_bytes="5000")
    bodies: list[Any] = [f"{number:06}" for number in range(1000)]
    bodies[300] += " " * 6000
    async with nothing_unheard(), outlet(sink_of(topic), take=500) as publisher:
        await warm(publisher.sink)
        publisher.put(bodies)
        await publisher.finished(1000)
    assert "next try" not in caplog.text  # behind the one that is refused there are more of the same run
    found = await arrived(kafka_server, topic.name)
    assert sorted(number for numbers in found.values() for number in set(numbers)) == [*range(300), *range(301, 1000)]


@pytest.mark.parametrize("used", [False, True], ids=["new producer", "used producer"])
@pytest.mark.parametrize("linger", [0.0, 0.01], ids=["at once", "lingering"])
async def test_a_message_that_is_refused_costs_nothing_that_others_have_on_their_way(
    kafka_server: KafkaServer, used: bool, linger: float
) -> None:
    topic = near(kafka_server, linger=linger).topic(fresh())
    await make(kafka_server, topic.name, 2, max_message_bytes="1000")
    sink = sink_of(topic)
    async with nothing_unheard(), opened(sink):
        if used:
            await warm(sink, 900)
        kafka_server.pause()
        large = message(f"{1:06}" + " " * 2000, topic.name, key="a")
        first = asyncio.ensure_future(sink.publish([message(0, topic.name, key="a"), large, *run_of([8], topic.name)]))
        others = [asyncio.ensure_future(sink.publish(run_of(range(at, at + 3), topic.name))) for at in range(10, 70, 3)]
        if used:
            await eventually(lambda: sink._turn.locked() or len(sink._handed) > 2)
        kafka_server.resume()
        with pytest.raises(PublishError) as refused:
            await first
        await asyncio.gather(*others)
    assert [*refused.value.failures] == [1]
    found = await arrived(kafka_server, topic.name)
    numbers = sorted(number for each in found.values() for number in each if number < 900)
    assert numbers == [0, 8, *range(10, 70)]


async def test_followers_of_what_is_refused_stay_in_order_behind_it_whoever_else_publishes(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server, max_batch_size=600).topic(fresh())
    await make(kafka_server, topic.name, 2, max_message_bytes="1000")
    sink = sink_of(topic)

    async def one(number: int) -> list[int]:
        """Publish some runs of one key, of each of which one message is too long; returns which were refused."""
        refused: list[int] = []
        for start in range(0, 60, 20):
            bodies: list[Any] = [f"{at:06}" for at in range(start, start + 20)]
            bodies[number] += " " * 2000
            try:
                await sink.publish([message(body, topic.name, key=f"key {number}") for body in bodies])
            except PublishError as error:
                refused += error.failures
        return refused

    async with nothing_unheard(), opened(sink):
        await warm(sink, 900)
        refused = await asyncio.gather(*[one(number) for number in range(6)])
    assert refused == [[number] * 3 for number in range(6)]
    found = await arrived(kafka_server, topic.name)
    for number in range(6):
        wanted = [at for at in range(60) if at % 20 != number]
        assert found[f"key {number}".encode()] == wanted


async def test_whoever_gives_up_waiting_takes_nothing_away_from_others(kafka_server: KafkaServer) -> None:
    name = fresh()
    async with Proxy(kafka_server) as proxy, asyncio.timeout(40), nothing_unheard():
        topic = near(kafka_server, servers=f"{proxy.host}:{proxy.port}").topic(name, partitions=2)
        sink = sink_of(topic)
        async with opened(sink):
            await warm(sink)
            proxy.stall("answers")
            given_up = asyncio.ensure_future(sink.publish(run_of(range(10, 20), name)))
            other = asyncio.ensure_future(sink.publish(run_of(range(20, 30), name)))
            await eventually(lambda: len(sink._handed) == 4)
            given_up.cancel()
            await asyncio.wait((given_up,))
            proxy.reset()  # so that what is on its way is sent again
            proxy.mend()
            await other
            assert proxy.resets
    found = await arrived(kafka_server, name)
    assert sorted(number for each in found.values() for number in each) == [*range(8), *range(10, 30)]


# -- a server that is away -------------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_with_two_on_their_way_loses_nothing(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    async with nothing_unheard(), outlet(sink_of(topic), take=100) as publisher:
        publisher.put(range(100))
        await publisher.finished(100)
        kafka_server.pause()
        publisher.put(range(100, 1000))
        await eventually(lambda: publisher.on_their_way == 2)
        await kafka_server.async_restart(kill=True)
        await publisher.finished(1000)
    in_order(await arrived(kafka_server, topic.name), range(1000))


@pytest.mark.parametrize("timeout", [30.0, 1.0], ids=["patient", "hasty"])
async def test_a_connection_that_is_cut_with_two_on_their_way_loses_nothing(
    kafka_server: KafkaServer, timeout: float
) -> None:
    name, cuts = fresh(), 5
    async with Proxy(kafka_server) as proxy, asyncio.timeout(40), nothing_unheard():
        kafka = near(kafka_server, servers=f"{proxy.host}:{proxy.port}", publish_timeout=timeout)
        async with outlet(sink_of(kafka.topic(name, partitions=2)), take=100) as publisher:
            publisher.put(range(100))
            await publisher.finished(100)
            for cut in range(1, 1 + cuts):
                proxy.stall("answers" if cut % 2 else "requests")
                publisher.put(range(cut * 1000, cut * 1000 + 900))
                await eventually(lambda: publisher.on_their_way == 2)
                if timeout < 5:
                    await eventually(lambda: publisher.link.failures > 0)
                proxy.reset()
                proxy.mend()
                await publisher.finished(100 + 900 * cut)
            assert proxy.resets >= cuts
    wanted = [*range(100), *(cut * 1000 + at for cut in range(1, 1 + cuts) for at in range(900))]
    in_order(await arrived(kafka_server, name), wanted)


async def test_whoever_asks_is_told_in_time_that_nothing_is_known(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, publish_timeout=1.0).topic(fresh(), partitions=2)
    sink = sink_of(topic)
    async with nothing_unheard(), opened(sink):
        await warm(sink)
        kafka_server.pause()
        runs = [run_of(range(start, start + 100), topic.name) for start in (100, 200)]
        first, second = [await sink.send(run) for run in runs]
        assert first is not None
        assert second is not None
        began = monotonic()
        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await first.confirmed()
        assert not await second.confirmed()
        assert monotonic() - began < 4
        kafka_server.resume()
        for run in runs:
            await sink.publish(run)
    in_order(await arrived(kafka_server, topic.name), [*range(8), *range(100, 300)])


async def test_a_run_that_is_given_up_leaves_no_error_that_nobody_hears(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, publish_timeout=0.5).topic(fresh(), partitions=2)
    sink = sink_of(topic)
    async with opened(sink):
        await warm(sink)
        assert sink._producer is not None
        pending = sink._producer._message_accumulator._pending_batches
        kafka_server.pause()
        run = run_of(range(100, 200), topic.name)
        publishing = asyncio.ensure_future(sink.publish(run))
        await eventually(lambda: len(pending) > 0)
        futures = [batch.future for batch in pending]
        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await publishing
        kafka_server.resume()
        await sink.publish(run)
        await eventually(lambda: all(future.done() for future in futures))
        await asyncio.sleep(0)
        assert not any(future._log_traceback for future in futures)
    in_order(await arrived(kafka_server, topic.name), [*range(8), *range(100, 200)])


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_closing_waits_for_what_is_on_its_way(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    sink = sink_of(topic)
    async with nothing_unheard(), opened(sink):
        await warm(sink)
        sents = [await sink.send(run_of(range(start, start + 100), topic.name)) for start in (100, 200)]
        await sink.close()
        assert [await sent.confirmed() for sent in sents if sent is not None] == [True, True]
    in_order(await arrived(kafka_server, topic.name), [*range(8), *range(100, 300)])


async def test_closing_without_an_answer_leaves_nobody_waiting(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    sink = sink_of(topic)
    async with nothing_unheard(), opened(sink):
        await warm(sink)
        kafka_server.pause()
        runs = [run_of(range(start, start + 100), topic.name) for start in (100, 200, 300)]
        sents = [await sink.send(run) for run in runs[:2]]
        third = asyncio.ensure_future(sink.send(runs[2]))  # waits for room
        async with asyncio.timeout(8):
            await sink.close()
            assert [await sent.confirmed() for sent in sents if sent is not None] == [False, False]
            late = await third
            assert late is None or not await late.confirmed()
        kafka_server.resume()
        for run in runs:
            await sink.publish(run)
    in_order(await arrived(kafka_server, topic.name), [*range(8), *range(100, 400)])


async def test_a_publisher_that_ends_in_the_middle_gives_back_what_comes_again_in_order(
    kafka_server: KafkaServer,
) -> None:
    topic = near(kafka_server).topic(fresh(), partitions=2)
    sink = sink_of(topic)
    async with nothing_unheard(), opened(sink):
        await warm(sink)
        publisher = Outlet(sink, 100)
        async with running(publisher.worker.run):
            await eventually(lambda: publisher.link.connected)
            kafka_server.pause()
            publisher.put(range(100, 1000))
            await eventually(lambda: publisher.on_their_way == 2)
        assert publisher.on_their_way == 0
        async with running(publisher.worker.run):
            kafka_server.resume()
            await publisher.finished(900)
    in_order(await arrived(kafka_server, topic.name), [*range(8), *range(100, 1000)])
