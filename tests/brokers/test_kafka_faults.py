"""Kafka that is killed, cut off or silent, consumers that get stuck, and an engine that is killed: nothing is lost."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors import BrokerUnavailable, Sink, Source
from engine.kafka.offsets import Offsets
from engine.kafka.sink import KafkaSink
from engine.kafka.source import KafkaSource
from tests.brokers.contract import fetched, message, numbers, opened, ready
from tests.brokers.kafkas import committed, eventually, fresh, hear_late_errors, make, near, there
from tests.servers.kafka import Kafka as KafkaServer
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.anyio


async def insist(attempt: Any) -> Any:
    """As the engine does: again, while the broker is out of reach."""
    while True:
        try:
            return await attempt()
        except BrokerUnavailable:
            await asyncio.sleep(0.05)


async def publish_all(sink: Sink, count: int, step: int = 500) -> None:
    """Publish numbers, run by run, whatever happens."""
    for start in range(0, count, step):
        run = [message(number, sink.destination) for number in range(start, start + step)]
        await insist(lambda run=run: sink.publish(run))


async def read_all(source: Source, count: int, at: dict[int, Any]) -> dict[int, int]:
    """Read until every number has come, settling every run; at some of them something is done to the server."""
    seen: dict[int, int] = {}
    while len(seen) < count:
        run = await insist(lambda: source.fetch(256))
        for number in numbers(run):
            seen[number] = seen.get(number, 0) + 1
        await source.settle(run, [])
        for after in [after for after in at if len(seen) >= after]:
            await at.pop(after)()
    return seen


@pytest.mark.timeout(180)
async def test_ten_thousand_survive_two_restarts_of_the_server(kafka_server: KafkaServer) -> None:
    hear_late_errors()
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    count = 10_000
    faults = []

    async def kill() -> None:
        await kafka_server.async_restart(kill=True)
        faults.append("kill")

    async with asyncio.timeout(170), opened(source, sink):
        publishing = asyncio.ensure_future(publish_all(sink, count))
        seen = await read_all(source, count, {count // 3: kill, count * 2 // 3: kill})
        await publishing
    assert faults == ["kill", "kill"]
    assert sorted(seen) == list(range(count))


async def test_broken_and_silent_connections_lose_nothing(kafka_server: KafkaServer) -> None:
    count = 6000
    async with Proxy(kafka_server) as proxy, asyncio.timeout(50):
        kafka = near(kafka_server, servers=f"{proxy.host}:{proxy.port}", publish_timeout=2.0, request_timeout=3.0)
        topic = kafka.topic(fresh())
        source, sink = await ready(topic)

        async def reset() -> None:
            proxy.reset()

        async def lose_answers() -> None:
            proxy.stall("answers")
            await asyncio.sleep(0.3)
            proxy.reset()
            proxy.mend()

        async def silence() -> None:
            proxy.stall()
            asyncio.get_running_loop().call_later(4.0, proxy.mend)

        async with opened(source, sink):
            publishing = asyncio.ensure_future(publish_all(sink, count, 200))
            seen = await read_all(source, count, {1000: reset, 2000: lose_answers, 3000: silence, 5000: reset})
            await publishing
        assert proxy.resets > 2
    assert sorted(seen) == list(range(count))


async def test_a_server_that_does_not_answer_is_told_and_found_again(kafka_server: KafkaServer) -> None:
    async with Proxy(kafka_server) as proxy, asyncio.timeout(50):
        options = {
            "servers": f"{proxy.host}:{proxy.port}",
            "publish_timeout": 1.0,
            "request_timeout": 3.0,
            "stall": 1.0,
        }
        topic = near(kafka_server, **options).topic(fresh())
        source, sink = await ready(topic)
        async with opened(source, sink):
            await sink.publish([message(1, topic.name)])
            assert numbers(await source.fetch(10)) == [1]
            proxy.stall()
            with pytest.raises(BrokerUnavailable, match=f":{proxy.port}.*no answer in time"):
                await sink.publish([message(2, topic.name)])
            with pytest.raises(BrokerUnavailable, match=f":{proxy.port}.*no answer in time"):
                await source.fetch(10)
            proxy.mend()
            await insist(lambda: sink.publish([message(3, topic.name)]))
            seen: list[int] = []
            while 3 not in seen:
                seen += numbers(await insist(lambda: source.fetch(10)))


async def test_closing_does_not_wait_for_a_server_that_is_gone(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    await sink.publish([message(1, topic.name)])
    await source.settle(await fetched(source, 1), [])
    kafka_server.kill()
    before = asyncio.all_tasks()
    async with asyncio.timeout(8):
        await asyncio.gather(source.close(), sink.close())
    await eventually(lambda: not {task for task in asyncio.all_tasks() - before if not task.done()})
    await kafka_server.async_start()


async def test_a_consumer_that_is_stuck_is_made_anew(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, stall=0.5).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        assert isinstance(source, KafkaSource)
        assert source._assignment is not None
        stuck = source._assignment.consumer
        stuck._fetcher._fetch_task.cancel()
        await asyncio.wait(stuck._fetcher._pending_tasks)
        await sink.publish([message(1, topic.name)])
        with pytest.raises(BrokerUnavailable, match=r"1 messages wait and none came for 0\.5 s"):
            await source.fetch(1)
        assert numbers(await source.fetch(1)) == [1]
        assert source._assignment.consumer is not stuck


async def test_a_consumer_whose_group_is_never_balanced_is_made_anew(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, stall=0.5).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        assert isinstance(source, KafkaSource)
        assert source._assignment is not None
        await sink.publish([message(1, topic.name)])
        source._assignment.consumer._subscription.begin_reassignment()  # and nothing follows
        with pytest.raises(BrokerUnavailable, match="not balanced"):
            await source.fetch(1)
        assert numbers(await source.fetch(1)) == [1]


async def test_a_consumer_whose_tasks_died_is_made_anew(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        assert isinstance(source, KafkaSource)
        assert source._assignment is not None
        source._assignment.consumer._coordinator._pending_exception = RuntimeError("something unexpected")
        with pytest.raises(BrokerUnavailable, match="something unexpected"):
            await source.fetch(1)
        await sink.publish([message(1, topic.name)])
        assert numbers(await source.fetch(1)) == [1]


async def test_a_fenced_producer_is_made_anew(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with opened(source, sink):
        assert isinstance(sink, KafkaSink)
        await sink.publish([message(1, topic.name)])
        assert sink._producer is not None
        sink._producer._txn_manager._sequence_numbers.clear()  # as after a fault of the server's (aiokafka #1017)
        sink._producer._txn_manager._pid_and_epoch = type(sink._producer._txn_manager._pid_and_epoch)(987_654_321, 0)
        run = [message(2, topic.name)]
        await insist(lambda: sink.publish(run))
        assert numbers(await fetched(source, 2)) == [1, 2]


ENGINE = Path(__file__).with_name("kafka_engine.py")


async def test_a_killed_engine_loses_nothing_and_repeats_only_what_was_not_done(kafka_server: KafkaServer) -> None:
    name, count = fresh(), 3000
    topic = near(kafka_server).topic(name)
    sink = topic.sink()
    async with opened(sink):
        await sink.publish([message(json.dumps({"id": number}), name) for number in range(count)])
    await make(kafka_server, f"{name}.out")

    @asynccontextmanager
    async def engine(manner: str) -> AsyncIterator[asyncio.subprocess.Process]:
        arguments = (sys.executable, str(ENGINE), kafka_server.bootstrap, name, manner)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        started = await asyncio.create_subprocess_exec(*arguments, env=environment, stdout=asyncio.subprocess.PIPE)
        try:
            yield started
        finally:
            if started.returncode is None:
                started.kill()
            await started.communicate()

    async def published() -> list[int]:
        return [json.loads(record.value)["id"] for record in await there(kafka_server, f"{name}.out")]

    # Three of sixteen workers hold on to a message each, the very first among them; the others finish all the rest.
    async with engine("stuck") as first, asyncio.timeout(40):
        while True:
            await asyncio.sleep(0.3)
            left = set(range(count)) - set(await published())
            told = await committed(kafka_server, "killed.handle", name)
            if len(left) < 1000 and set(Offsets(*told).fetched(range(count))) == left:
                break
        first.send_signal(signal.SIGKILL)
        assert await first.wait() == -signal.SIGKILL
    assert told.offset == 0
    assert {0, 700, 1500} <= left

    async with engine("free") as second, asyncio.timeout(15):
        output, _ = await second.communicate()
        assert second.returncode == 0
    assert sorted(json.loads(line) for line in output.splitlines()) == [[number, 2] for number in sorted(left)]
    assert sorted(await published()) == list(range(count))
    assert (await committed(kafka_server, "killed.handle", name)).offset == count


async def test_confirms_that_are_lost_make_no_second_record(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh())
    source, sink = await ready(topic)
    async with Proxy(kafka_server) as proxy, asyncio.timeout(50), opened(source, sink):
        cut = near(kafka_server, servers=f"{proxy.host}:{proxy.port}").topic(topic.name).sink()
        async with opened(cut):
            await cut.publish([message(0, topic.name)])
            proxy.stall("answers")
            publishing = asyncio.ensure_future(cut.publish([message(at, topic.name) for at in range(1, 100)]))
            taken = await fetched(source, 100)  # the server has them all, and has told nobody
            assert not publishing.done()
            proxy.reset()
            proxy.mend()
            await publishing
            assert proxy.resets > 0
        await sink.publish([message(100, topic.name)])
        assert numbers([*taken, *await fetched(source, 1)]) == list(range(101))
