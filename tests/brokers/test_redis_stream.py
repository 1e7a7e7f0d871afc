"""Redis streams beyond the contract: what other consumers left, faults on the way, and what others do to a stream."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis as Client

from actors import BrokerRefused, BrokerUnavailable, Message, PublishError
from engine.redis.broker import Redis
from engine.redis.endpoints import RedisStream
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.surviving import eventually, insist
from tests.servers.proxy import Proxy
from tests.servers.redis import Redis as Server

pytestmark = pytest.mark.anyio

QUICK = 0.4
"""Seconds without renewal after which a message goes to another consumer, in these tests."""

CRASH = """
import asyncio, sys
from engine.redis.broker import Redis

async def main():
    source = Redis(sys.argv[1]).stream(sys.argv[2]).source("readers")
    await source.open()
    print(len(await source.fetch(3)), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def stream(redis_server: Server) -> RedisStream:
    return Redis(redis_server.url, min_idle=QUICK).stream(f"s-{uuid4().hex}")


@pytest.fixture
async def client(redis_server: Server) -> AsyncIterator[Any]:
    async with Client.from_url(redis_server.url, protocol=2) as client:
        yield client


async def publish(stream: RedisStream, *bodies: Any) -> None:
    sink = stream.sink()
    async with opened(sink):
        await sink.publish([message(body, stream.name) for body in bodies])


async def pending(client: Any, stream: RedisStream, consumer: str | None = None) -> int:
    return len(await client.xpending_range(stream.name, "readers", "-", "+", 1000, consumer))


# -- what others left --------------------------------------------------------------------------------------------


async def test_what_a_killed_process_had_comes_to_the_next_at_once(redis_server: Server) -> None:
    stream = Redis(redis_server.url, min_idle=3600).stream(f"s-{uuid4().hex}")
    await publish(stream, *range(5))
    command = [sys.executable, "-c", CRASH, f"{redis_server.url}?min_idle=3600", stream.name]
    async with await anyio.open_process(command) as other:
        assert other.stdout is not None
        assert (await other.stdout.receive()).startswith(b"3")
        other.kill()
    source = stream.source("readers")
    async with opened(source):
        run = await fetched(source, 5)
        assert numbers(run) == [0, 1, 2, 3, 4]
        assert [each.attempt for each in run] == [2, 2, 2, 1, 1]


async def test_what_dead_consumers_left_is_taken_over_all_of_it(stream: RedisStream, client: Any) -> None:
    await publish(stream, *range(700))
    source = stream.source("readers")
    async with opened(source):
        await source.settle([], await fetched(source, 1))
    await client.xreadgroup("readers", "dead", {stream.name: ">"}, count=400)
    await client.xreadgroup("readers", "dead-too", {stream.name: ">"}, count=100)
    async with opened(source):
        run = await fetched(source, 700, limit=20)
        assert sorted(numbers(run)) == list(range(700))
        assert {each.attempt for each in run if int(each.raw or 0) <= 500} == {2}
        assert {each.attempt for each in run if int(each.raw or 0) > 500} == {1}
        await source.settle(run, [])
        assert await pending(client, stream) == 0


async def test_a_source_that_waits_takes_over_what_another_left(stream: RedisStream) -> None:
    one, other = stream.source("readers"), stream.source("readers")
    async with opened(other):
        async with opened(one):
            await publish(stream, 1)
            assert numbers(await one.fetch(1)) == [1]
        (got,) = await other.fetch(1)
        assert (got.raw, got.attempt) == (b"1", 2)


async def test_what_is_held_is_renewed_and_nobody_else_gets_it(stream: RedisStream, client: Any) -> None:
    one, other = stream.source("readers"), stream.source("readers")
    async with opened(one, other):
        await publish(stream, 1)
        run = await one.fetch(1)
        with anyio.move_on_after(QUICK * 4):
            pytest.fail(f"{await other.fetch(1)} was taken over")
        (row,) = await client.xpending_range(stream.name, "readers", "-", "+", 1)
        assert row["times_delivered"] == 1
        assert row["time_since_delivered"] < QUICK * 1000
        await one.settle(run, [])
        assert await pending(client, stream) == 0


async def test_where_runs_come_full_the_next_is_read_while_one_is_handled(stream: RedisStream, client: Any) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, *range(12))
        assert numbers(await source.fetch(3)) == [0, 1, 2]
        assert numbers(await source.fetch(3)) == [3, 4, 5]

        async def read_ahead() -> bool:
            return await pending(client, stream) == 9

        await eventually(read_ahead)
        assert numbers(await source.fetch(2)) == [6, 7]
        assert numbers(await source.fetch(2)) == [8]
        assert numbers(await source.fetch(9)) == [9, 10, 11]


async def test_what_was_read_ahead_and_not_handed_out_goes_to_the_next_consumer_untried(
    stream: RedisStream, client: Any
) -> None:
    one, other = stream.source("readers"), stream.source("readers")

    async def read_ahead() -> bool:
        return await pending(client, stream) == 9

    async with opened(one):
        await publish(stream, *range(9))
        await fetched(one, 6, limit=3)
        await eventually(read_ahead)
    async with opened(other):
        again = await fetched(other, 9)
    assert numbers(again) == list(range(9))
    assert [each.attempt for each in again] == [2] * 6 + [1] * 3


async def test_reads_no_more_ahead_than_was_ever_asked_for_at_once(stream: RedisStream, client: Any) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, *range(20))
        await fetched(source, 4, limit=2)
        for limit, held in ((1, 6), (1, 6), (5, 8), (1, 13)):

            async def read_ahead(held: int = held) -> bool:
                return await pending(client, stream) == held

            await eventually(read_ahead)
            await source.fetch(limit)


async def test_where_runs_are_not_full_nothing_is_read_ahead_of_other_consumers(stream: RedisStream) -> None:
    one, other = stream.source("readers"), stream.source("readers")
    async with opened(one, other):
        for start in (0, 2, 4):
            await publish(stream, start, start + 1)
            assert numbers(await one.fetch(3)) == [start, start + 1]
        await publish(stream, 6, 7)
        assert numbers(await fetched(other, 2)) == [6, 7]


@pytest.mark.parametrize("trouble", ["cancelled", "failed"])
@pytest.mark.parametrize("then", ["close", "release", "fetch"])
async def test_what_a_release_that_does_not_get_through_would_have_given_away_stays_untried(
    redis_server: Server, client: Any, monkeypatch: pytest.MonkeyPatch, trouble: str, then: str
) -> None:
    async with Proxy(redis_server) as proxy:
        stream = Redis(proxy.url, consumer="me", min_idle=3600).stream(f"s-{uuid4().hex}")
        await publish(stream, *range(4))
        await client.xgroup_create(stream.name, "readers", "0")
        await client.xreadgroup("readers", "me:0", {stream.name: ">"})  # of a former process: there may be more
        source: Any = stream.source("readers")
        other = stream.source("readers")
        async with opened(source):
            proxy.stall("answers")
            with anyio.move_on_after(0.05):
                await source.fetch(2)
            proxy.mend()

            async def read() -> bool:
                return " 2 held" in repr(source)

            await eventually(read)
            assert numbers(await source.fetch(1)) == [0]
            if trouble == "cancelled":
                proxy.stall("answers")
                with anyio.move_on_after(0.1) as given_up:
                    await source.release()
                assert given_up.cancelled_caught
                proxy.mend()
            else:
                await fail_to_park(source, monkeypatch)
            if then == "fetch":
                assert [(each.raw, each.attempt) for each in await source.fetch(1)] == [(b"1", 2)]
                return
            if then == "release":
                await source.release()
                async with opened(other):
                    assert [each.attempt for each in await fetched(other, 3)] == [2, 2, 2]
        if then == "close":
            async with opened(other):
                again = await fetched(other, 4)
                assert {int(each.raw or b""): each.attempt for each in again} == {0: 3, 1: 2, 2: 2, 3: 2}


async def fail_to_park(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a release break down when all that it has still to do is to tell others what they may have."""
    exchange = source._teller.exchange

    async def broken(commands: Any, wait: float = 0.0) -> Any:
        if commands[0][0] == "XCLAIM":
            raise BrokerUnavailable("broken")
        return await exchange(commands, wait)

    with monkeypatch.context() as patched:
        patched.setattr(source._teller, "exchange", broken)
        with pytest.raises(BrokerUnavailable, match="broken"):
            await source.release()


async def test_a_process_that_stood_still_does_not_take_back_what_others_have_now(
    stream: RedisStream, client: Any
) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1, 2)
        run = await source.fetch(2)
        await client.xclaim(stream.name, "readers", "other", 0, [run[0].offset])
        time.sleep(QUICK * 1.5)  # noqa: ASYNC251 - nothing here moves, as if the process were stopped
        name = stream.name

        async def renewed() -> bool:
            rows = await client.xpending_range(name, "readers", run[1].offset, run[1].offset, 1)
            return bool(rows[0]["time_since_delivered"] < QUICK * 1000 / 2)

        await eventually(renewed)
        assert await pending(client, stream, "other") == 1
        await source.settle([], run)
        assert numbers(await source.fetch(5)) == [2]


async def test_a_closed_source_leaves_no_consumer_behind(stream: RedisStream, client: Any) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1, 2)
        await source.settle((await fetched(source, 2))[:1], [])
        assert len(await client.xinfo_consumers(stream.name, "readers")) == 1
    (left,) = await client.xinfo_consumers(stream.name, "readers")
    assert (left["name"], left["pending"]) == (b"returned", 1)


async def test_deliveries_are_counted_through_returns_and_closing(stream: RedisStream) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1, 2)
        one, two = await fetched(source, 2)
        await source.settle([], [one, two])
        again = await source.fetch(1)
        assert [each.attempt for each in again] == [2]
    async with opened(source):
        assert {each.raw: each.attempt for each in await fetched(source, 2)} == {b"1": 3, b"2": 2}


async def test_sources_of_one_process_have_names_of_their_own(stream: RedisStream, client: Any) -> None:
    sources = [stream.source("readers") for _ in range(3)]
    async with opened(*sources):
        await publish(stream, *range(3))
        for source in sources:
            await source.fetch(1)
        assert len(await client.xinfo_consumers(stream.name, "readers")) == 3


# -- faults on the way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": on}) for on in (False, True)], ids=("asyncio", "uvloop")
)
async def test_an_answer_that_is_lost_on_its_way_comes_again(redis_server: Server) -> None:
    name = f"s-{uuid4().hex}"
    direct = Redis(redis_server.url).stream(name)
    async with Proxy(redis_server) as proxy:
        source = Redis(proxy.url).stream(name).source("readers")
        async with opened(source):
            await publish(direct, 1)
            held = await source.fetch(5)
            proxy.stall("answers")
            await publish(direct, 2, 3)
            async with anyio.create_task_group() as tasks:

                async def lose() -> None:
                    with pytest.raises(BrokerUnavailable):
                        await source.fetch(5)

                tasks.start_soon(lose)
                async with Client.from_url(redis_server.url) as client:

                    async def delivered() -> bool:
                        return await pending(client, direct) == 3

                    await eventually(delivered)
                proxy.reset()
                proxy.mend()
            run = await fetched(source, 2)
            assert [(each.raw, each.attempt) for each in run] == [(b"2", 2), (b"3", 2)]
            assert await insist(lambda: source.settle([*held, *run], [])) <= 1
        assert proxy.resets > 0


async def test_what_was_confirmed_before_the_connection_broke_is_not_published_again(
    redis_server: Server, client: Any
) -> None:
    name = f"s-{uuid4().hex}"
    bodies = [b"%05d" % number + b"x" * 3000 for number in range(1000)]
    async with Proxy(redis_server) as proxy:
        sink = Redis(proxy.url).stream(name).sink()
        async with opened(sink):
            run = [message(body, name) for body in bodies]
            proxy.slow(4_000_000)
            async with anyio.create_task_group() as tasks:

                async def break_it() -> None:
                    async def half() -> bool:
                        return bool(await client.xlen(name) > 500)

                    await eventually(half)
                    proxy.reset()
                    proxy.mend()

                tasks.start_soon(break_it)
                with pytest.raises(BrokerUnavailable):
                    await sink.publish(run)
            await sink.publish(run)
            found = [fields[b"body"] for _, fields in await client.xrange(name)]
            assert list(dict.fromkeys(found)) == bodies
            assert len(found) < 1000 + 200
            await sink.publish(run[:1])
            assert await client.xlen(name) == len(found) + 1


async def test_a_slow_connection_still_makes_progress(redis_server: Server) -> None:
    name = f"s-{uuid4().hex}"
    await publish(Redis(redis_server.url).stream(name), *(b"%03d" % number + b"x" * 4_000 for number in range(40)))
    async with Proxy(redis_server) as proxy:
        source = Redis(proxy.url, timeout=0.5, min_idle=1).stream(name).source("readers")
        async with opened(source):
            proxy.slow(100_000)
            seen: set[bytes] = set()
            failures = 0
            with anyio.fail_after(30):
                while len(seen) < 40:
                    try:
                        run = await source.fetch(40)
                    except BrokerUnavailable:
                        failures += 1
                        continue
                    seen.update((each.raw or b"")[:3] for each in run)
                    await source.settle(run, [])
            assert failures > 0
            proxy.mend()


async def test_a_server_that_hangs_is_unavailable_after_a_while(redis_server: Server) -> None:
    name = f"s-{uuid4().hex}"
    async with Proxy(redis_server) as proxy:
        sink = Redis(proxy.url, timeout=0.2).stream(name).sink()
        async with opened(sink):
            proxy.stall()
            with pytest.raises(BrokerUnavailable, match="no answer in time"):
                await sink.publish([message(1, name)])
            proxy.mend()
            await sink.publish([message(1, name)])


# -- what others do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delete", "flush", "destroy"])
async def test_a_stream_or_group_that_somebody_deletes_is_made_again(
    stream: RedisStream, client: Any, how: str
) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1)
        old = await source.fetch(1)
        got: list[Message] = []

        async def wait() -> None:
            while not got or got[-1].raw != b"2":
                got.extend(await source.fetch(5))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            if how == "destroy":
                await client.xgroup_destroy(stream.name, "readers")
            else:
                await client.delete(stream.name)
            await source.settle(old, [])
            await publish(stream, 2)
        assert got[-1].attempt == 1


@pytest.mark.parametrize("how", ["delete", "destroy"])
@pytest.mark.parametrize("before", [0, 2])
async def test_a_group_that_began_at_the_latest_loses_nothing_when_somebody_deletes_it(
    redis_server: Server, client: Any, how: str, before: int
) -> None:
    stream = Redis(redis_server.url, min_idle=QUICK).stream(f"s-{uuid4().hex}", start="latest")
    await publish(stream, 99)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, *range(before))
        held = await fetched(source, before) if before else []
        await source.settle(held[:1], [])
        async with client.pipeline(transaction=True) as together:  # before the source can have noticed
            together.xgroup_destroy(stream.name, "readers") if how == "destroy" else together.delete(stream.name)
            together.xadd(stream.name, {"data": "7"})
            await together.execute()
        await publish(stream, 8)
        with anyio.fail_after(10):
            assert numbers(await fetched(source, 2)) == [7, 8]
        assert await pending(client, stream) == (3 if before and how == "destroy" else 2)


async def test_entries_deleted_while_they_were_pending_are_left_out(stream: RedisStream, client: Any) -> None:
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1, 2, 3)
        run = await fetched(source, 3)
    await client.xdel(stream.name, run[1].offset)
    async with opened(source):
        assert numbers(await fetched(source, 2)) == [1, 3]


async def test_what_others_write_is_read_too(stream: RedisStream, client: Any) -> None:
    source = stream.source("readers")
    async with opened(source):
        await client.xadd(stream.name, {"data": '{"id": 1}'})
        await client.xadd(stream.name, {"id": 1, "customer": "a"})
        one, two = await fetched(source, 2)
        assert (one.raw, two.raw) == (b'{"id": 1}', b'{"id": "1", "customer": "a"}')
        assert one.id == one.offset


async def test_a_stream_is_trimmed_to_about_its_length(redis_server: Server, client: Any) -> None:
    stream = Redis(redis_server.url).stream(f"s-{uuid4().hex}", maxlen=100)
    await publish(stream, *range(1000))
    assert 100 <= await client.xlen(stream.name) < 300


async def test_a_new_group_may_begin_at_the_latest(redis_server: Server) -> None:
    stream = Redis(redis_server.url).stream(f"s-{uuid4().hex}", start="latest")
    await publish(stream, 1)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 2)
        assert numbers(await source.fetch(5)) == [2]


async def test_a_sink_fills_streams_of_many_names(redis_server: Server, client: Any) -> None:
    unique = uuid4().hex
    sink = Redis(redis_server.url).stream(unique + ".{tenant}").sink()
    async with opened(sink):
        await sink.publish([message(number, f"{unique}.{number % 3}") for number in range(30)])
    for tenant in range(3):
        entries = await client.xrange(f"{unique}.{tenant}")
        assert [int(fields[b"body"]) for _, fields in entries] == list(range(tenant, 30, 3))


async def test_a_bad_message_is_refused_and_the_others_are_published(stream: RedisStream, client: Any) -> None:
    sink = stream.sink()
    await client.lpush(stream.name + ".list", 1)
    run = [message(number, stream.name) for number in range(4)]
    run[1].headers = {"a": 5}  # type: ignore[dict-item]
    run[2].destination = stream.name + ".list"
    async with opened(sink):
        with pytest.raises(PublishError) as refused:
            await sink.publish(run)
    assert list(refused.value.failures) == [1, 2]
    assert isinstance(refused.value.failures[2], BrokerRefused)
    assert "WRONGTYPE" in str(refused.value.failures[2])
    assert [int(fields[b"body"]) for _, fields in await client.xrange(stream.name)] == [0, 3]


@asynccontextmanager
async def setting(client: Any, name: str, value: Any) -> AsyncIterator[None]:
    """A setting of the server's, for a while."""
    before = (await client.config_get(name))[name]
    await client.config_set(name, value)
    try:
        yield
    finally:
        await client.config_set(name, before)


async def test_a_server_without_memory_refuses_until_it_has_some(stream: RedisStream, client: Any) -> None:
    sink = stream.sink()
    async with opened(sink):
        run = [message(number, stream.name) for number in range(10)]
        async with setting(client, "maxmemory", 1):
            with pytest.raises(BrokerRefused, match=r"OOM[^$]*raise maxmemory"):
                await sink.publish(run)
        await sink.publish(run)
    assert await client.xlen(stream.name) == 10


async def test_a_message_with_half_of_its_answers_is_not_confirmed(redis_server: Server) -> None:
    """An answer to a question takes two commands: as many answers as messages are half of what is awaited."""

    class Breaking:
        async def send(self, commands: bytes, count: int, replies: list[Any]) -> None:
            assert count == 4
            replies += [1, 1]
            raise BrokerUnavailable("gone")

    sink = Redis(redis_server.url).stream("questions").reply_to("somebody").sink()
    run, sent = [message(1, "somebody"), message(2, "somebody")], list[Message]()
    parts, _ = sink._parts(run)
    with pytest.raises(BrokerUnavailable):
        await sink._send(Breaking(), parts, sent)  # type: ignore[arg-type]
    assert sent == run[:1]
