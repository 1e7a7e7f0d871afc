"""Redis lists, inboxes and pub/sub beyond the contract."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import ResponseError

from actors import BrokerRefused, BrokerUnavailable
from engine.redis.broker import Redis
from engine.redis.endpoints import RedisList
from engine.redis.errors import answer
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.surviving import eventually, insist, survives
from tests.servers.proxy import Proxy
from tests.servers.redis import Redis as Server
from tests.servers.site import Site

pytestmark = pytest.mark.anyio

QUICK = 0.4
"""Seconds after which a silent consumer counts as dead, in these tests."""


@pytest.fixture
def queue(redis_server: Server) -> RedisList:
    return Redis(redis_server.url, min_idle=QUICK).list(f"l-{uuid4().hex}")


@pytest.fixture
async def client(redis_server: Server) -> AsyncIterator[Any]:
    async with Client.from_url(redis_server.url, protocol=2) as client:
        yield client


async def keys_of(client: Any, queue: RedisList) -> set[str]:
    return {key.decode() for key in await client.keys(f"*{queue.name}*")}


# -- lists -------------------------------------------------------------------------------------------------------


async def test_what_is_read_lies_in_a_list_of_its_own_until_it_is_settled(queue: RedisList, client: Any) -> None:
    source = queue.source("readers")
    async with opened(source):
        await client.rpush(queue.name, "1", "2", "1")
        run = await fetched(source, 3)
        (processing,) = await client.smembers(f"{{{queue.name}}}.processing")
        assert await client.lrange(processing, 0, -1) == [b"1", b"2", b"1"]
        await source.settle([run[2]], [])
        assert sorted(await client.lrange(processing, 0, -1)) == [b"1", b"2"]
        await source.settle(run[:2], [])
        assert await client.exists(processing) == 0
    assert await keys_of(client, queue) == set()


async def test_what_a_dead_consumer_left_comes_back_in_order_and_counted(queue: RedisList, client: Any) -> None:
    await client.rpush(queue.name, "4", "5")
    dead = f"{{{queue.name}}}.processing.dead"
    await client.rpush(dead, "1", 'headrace1 {"attempt": 3, "key": "k"}\n2', "3")
    await client.sadd(f"{{{queue.name}}}.processing", dead)
    source = queue.source("readers")
    async with opened(source):
        run = await fetched(source, 5)
        assert numbers(run) == [1, 2, 3, 4, 5]
        assert [each.attempt for each in run] == [2, 4, 2, 1, 1]
        assert run[1].key == "k"
        await source.settle(run, [])
    assert await keys_of(client, queue) == set()


async def test_a_source_that_waits_gets_what_one_that_died_had(queue: RedisList, client: Any) -> None:
    source = queue.source("readers")
    async with opened(source):
        dead = f"{{{queue.name}}}.processing.dead"
        await client.set(f"{dead}.alive", 1, px=int(QUICK * 1000))
        await client.rpush(dead, "1")
        await client.sadd(f"{{{queue.name}}}.processing", dead)
        (got,) = await source.fetch(1)
        assert (got.raw, got.attempt) == (b"1", 2)
        assert await client.exists(f"{dead}.alive") == 0


async def test_what_is_held_stays_with_whoever_is_alive(queue: RedisList) -> None:
    one, other = queue.source("readers"), queue.source("readers")
    sink = queue.sink()
    async with opened(one, other, sink):
        await sink.publish([message(1, queue.name)])
        await one.fetch(1)
        with anyio.move_on_after(QUICK * 4):
            pytest.fail(f"{await other.fetch(1)} was taken over")


async def test_an_answer_that_is_lost_on_its_way_comes_again(redis_server: Server, client: Any) -> None:
    name = f"l-{uuid4().hex}"
    async with Proxy(redis_server) as proxy:
        source = Redis(proxy.url).list(name).source("readers")
        async with opened(source):
            await client.rpush(name, "1", "1")
            held = await fetched(source, 2)
            proxy.stall("answers")
            async with anyio.create_task_group() as tasks:

                async def lose() -> None:
                    with pytest.raises(BrokerUnavailable):
                        await source.fetch(5)

                tasks.start_soon(lose)
                await client.rpush(name, "1", "2")

                async def moved() -> bool:
                    return bool(await client.llen(name) < 2)

                await eventually(moved)
                proxy.reset()
                proxy.mend()
            run = await fetched(source, 2)
            assert numbers(run) == [1, 2]
            await insist(lambda: source.settle([*held, *run], []))
    assert await client.keys(f"*{name}*") == []


async def test_what_is_settled_again_as_no_answer_came_is_removed_once(redis_server: Server, client: Any) -> None:
    name = f"l-{uuid4().hex}"
    async with Proxy(redis_server) as proxy:
        queue = Redis(proxy.url).list(name)
        source = queue.source("readers")
        async with opened(source):
            await client.rpush(name, *["the same"] * 3)
            first, *_ = await fetched(source, 3)
            (processing,) = await client.smembers(f"{{{name}}}.processing")
            proxy.stall("answers")
            async with anyio.create_task_group() as tasks:

                async def lose() -> None:
                    with pytest.raises(BrokerUnavailable):
                        await source.settle([first], [])

                tasks.start_soon(lose)

                async def removed() -> bool:
                    return bool(await client.llen(processing) == 2)

                await eventually(removed)
                proxy.reset()
                proxy.mend()
            await insist(lambda: source.settle([first], []))
            assert await client.llen(processing) == 2
        async with opened(source):
            run = await fetched(source, 2)
            await source.settle(run, [])
    assert await client.keys(f"*{name}*") == []


async def test_an_answer_lost_with_that_of_a_settling_comes_again(redis_server: Server, client: Any) -> None:
    name = f"l-{uuid4().hex}"
    async with Proxy(redis_server) as proxy:
        source = Redis(proxy.url).list(name).source("readers")
        async with opened(source):
            await client.rpush(name, "the same", "the same")
            first, second = await fetched(source, 2)
            (processing,) = await client.smembers(f"{{{name}}}.processing")
            proxy.stall("answers")
            async with anyio.create_task_group() as tasks:

                async def lose(attempt: Any) -> None:
                    with pytest.raises(BrokerUnavailable):
                        await attempt

                tasks.start_soon(lose, source.settle([first], []))
                tasks.start_soon(lose, source.fetch(5))

                async def removed() -> bool:
                    return bool(await client.llen(processing) == 1)

                async def moved() -> bool:
                    return bool(await client.llen(name) == 0)

                await eventually(removed)
                await client.rpush(name, "the same")
                await eventually(moved)
                proxy.reset()
                proxy.mend()
            (third,) = await fetched(source, 1)
            await insist(lambda: source.settle([first, second, third], []))
            assert await client.exists(processing) == 0


async def test_what_was_told_long_ago_and_arrives_late_removes_nothing(queue: RedisList, client: Any) -> None:
    source: Any = queue.source("readers")
    async with opened(source):
        await client.rpush(queue.name, *["the same"] * 4)
        await fetched(source, 4)
        (mine,) = await client.smembers(f"{{{queue.name}}}.processing")
        one, another = (source._processing.settling([b"the same"]) for _ in range(2))
        for commands in (one, one, another, one, another):
            await source._processing.exchange(source._teller, commands)
        assert await client.llen(mine) == 2


async def test_without_memory_the_server_is_told_all_the_same_of_what_it_can_forget(servers: Site) -> None:
    server = servers.get(Server, required=True)
    queue = Redis(server.url).list(f"l-{uuid4().hex}")
    source = queue.source("readers")
    async with Client.from_url(server.url, protocol=2) as client, opened(source):
        await client.rpush(queue.name, "1", "2")
        run = await fetched(source, 2)
        (mine,) = await client.smembers(f"{{{queue.name}}}.processing")
        await client.config_set("maxmemory", 1)
        try:
            await source.settle(run[:1], [])
        finally:
            await client.config_set("maxmemory", 0)
        assert await client.lrange(mine, 0, -1) == [b"2"]


def test_what_redis_6_answers_a_script_is_known_for_what_it_is() -> None:
    told = "Error running script (call to f_ab12): @user_script:3: @user_script: 3: -READONLY You can't write against a"
    assert isinstance(answer(ResponseError(f"{told} read only replica. "), "there"), BrokerUnavailable)
    assert isinstance(answer(ResponseError("Error running script: no such thing"), "there"), BrokerRefused)


async def test_whoever_may_not_settle_is_refused_before_anything_is_read(redis_server: Server, client: Any) -> None:
    await client.execute_command("ACL", "SETUSER", "bare", "on", "nopass", "~*", "&*", "+@all", "-@scripting")
    try:
        queue = Redis(redis_server.url, user="bare", password="any").list(f"l-{uuid4().hex}")
        with pytest.raises(BrokerRefused, match=r"NOPERM .*eval"):
            await queue.source("readers").open()
    finally:
        await client.execute_command("ACL", "DELUSER", "bare")


async def test_what_was_read_and_not_fetched_goes_back_untried_and_what_was_fetched_does_not(
    queue: RedisList, client: Any
) -> None:
    source = queue.source("readers")
    async with opened(source):
        await client.rpush(queue.name, "1")
        await source.fetch(1)
        with anyio.move_on_after(0.01):
            await source.fetch(1)
        await client.rpush(queue.name, "2")

        async def read_ahead() -> bool:
            return " 2 held" in repr(source)

        await eventually(read_ahead)
    async with opened(source):
        assert [(each.raw, each.attempt) for each in await fetched(source, 2)] == [(b"1", 2), (b"2", 1)]


async def test_all_goes_back_where_a_watch_was_left_behind(queue: RedisList, client: Any) -> None:
    source: Any = queue.source("readers")
    async with opened(source):
        await client.rpush(queue.name, "1", "2")
        run = await fetched(source, 2)
        (processing,) = await client.smembers(f"{{{queue.name}}}.processing")
        await source._teller.exchange((("WATCH", processing),))  # as a release does that is cancelled half-way
        await source.settle(run[:1], [])
    assert await keys_of(client, queue) == {queue.name}
    assert await client.llen(queue.name) == 1


async def test_what_cannot_be_put_back_as_somebody_always_comes_between_is_found_by_others(
    queue: RedisList, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = queue.source("readers")
    await source.open()
    await client.rpush(queue.name, "1")
    await source.fetch(1)
    processing = f"{{{queue.name}}}.processing"
    (mine,) = await client.smembers(processing)
    exchange = source._teller.exchange

    async def come_between(commands: Any, wait: float = 0.0) -> Any:
        if commands[0] == ("MULTI",):
            await client.rpush(mine, "2")
            await client.rpop(mine)
        return await exchange(commands, wait)

    monkeypatch.setattr(source._teller, "exchange", come_between)
    await source.close()
    assert await client.smembers(processing) == {mine}
    other = queue.source("readers")
    await client.rename(mine, dead := f"{processing}.dead")  # another process's, which has not the same name
    await client.sadd(processing, dead)
    async with opened(other):
        assert [(each.raw, each.attempt) for each in await other.fetch(1)] == [(b"1", 2)]


async def test_a_release_that_was_given_up_forgets_no_try(redis_server: Server, client: Any) -> None:
    async with Proxy(redis_server) as proxy:
        queue = Redis(proxy.url).list(f"l-{uuid4().hex}")
        source: Any = queue.source("readers")
        await client.rpush(queue.name, "1")
        for attempt, then in enumerate(("fetch", "release", "close"), 1):
            if attempt == 1:
                await source.open()
            (got,) = await source.fetch(1)
            assert got.attempt == attempt
            await source.settle([], [got])
            proxy.stall("answers")
            with anyio.move_on_after(0.1) as given_up:
                await source.release()
            assert given_up.cancelled_caught
            proxy.mend()
            if then != "fetch":
                await getattr(source, then)()
        assert await keys_of(client, queue) == {queue.name}
        async with opened(source):
            assert [each.attempt for each in await source.fetch(1)] == [4]


async def test_ten_thousand_survive_two_kills_of_the_server(redis_server: Server) -> None:
    queue = Redis(redis_server.url).list(f"l-{uuid4().hex}")
    await survives(queue, lambda: redis_server.async_restart(kill=True))


async def test_what_is_returned_often_stays_in_order(queue: RedisList) -> None:
    source, sink = queue.source("readers"), queue.sink()
    async with opened(source, sink):
        await sink.publish([message(number, queue.name) for number in range(4)])
        zero, one, two, three = await fetched(source, 4)
        await source.settle([], [two])
        await source.settle([], [zero])
        (zero,) = await source.fetch(1)
        await source.settle([], [three, zero, one])
        run = await source.fetch(10)
        assert [(int(each.raw or b""), each.attempt) for each in run] == [(0, 3), (1, 2), (2, 2), (3, 2)]
    async with opened(source):
        run = await fetched(source, 4)
        assert [(int(each.raw or b""), each.attempt) for each in run] == [(0, 4), (1, 3), (2, 3), (3, 3)]


async def test_a_list_may_be_filled_from_the_left(redis_server: Server, client: Any) -> None:
    queue = Redis(redis_server.url).list(f"l-{uuid4().hex}", push="left")
    await client.lpush(queue.name, "1", "2")
    source, sink = queue.source("readers"), queue.sink()
    async with opened(source, sink):
        await sink.publish([message(3, queue.name)])
        run = await fetched(source, 3)
        assert numbers(run) == [1, 2, 3]
        await source.settle(run[:1], [])
    assert len(await client.lrange(queue.name, 0, -1)) == 2
    async with opened(source):
        assert numbers(await fetched(source, 2)) == [2, 3]


async def test_a_plain_list_has_bodies_and_nothing_else(redis_server: Server, client: Any) -> None:
    queue = Redis(redis_server.url).list(f"l-{uuid4().hex}", plain=True)
    source, sink = queue.source("readers"), queue.sink()
    async with opened(source, sink):
        await sink.publish([message(b"a body", queue.name, key="k", headers={"a": "b"}, id="i")])
        assert await client.lrange(queue.name, 0, -1) == [b"a body"]
        await source.fetch(1)
    assert await client.lrange(queue.name, 0, -1) == [b"a body"]


async def test_a_key_that_is_no_list_is_refused_with_what_it_is(queue: RedisList, client: Any) -> None:
    await client.set(queue.name, "text")
    for port in (queue.source("readers"), queue.sink()):
        with pytest.raises(BrokerRefused, match=r"WRONGTYPE it is a string, not a list\n  .*choose another name"):
            await port.open()
    assert await keys_of(client, queue) == {queue.name}


# -- inboxes -----------------------------------------------------------------------------------------------------


async def test_an_answer_that_nobody_fetches_expires(redis_server: Server, client: Any) -> None:
    redis = Redis(redis_server.url, reply_expiry=30)
    inbox = redis.inbox()
    sink = inbox.sink()
    async with opened(sink):
        await sink.publish([message(1, inbox.name)])
    assert 29_000 < await client.pttl(inbox.name) <= 30_000
    source = inbox.source("asker")
    async with opened(source):
        assert numbers(await source.fetch(5)) == [1]
        async with opened(sink):
            await sink.publish([message(2, inbox.name)])
    assert await client.exists(inbox.name) == 0


async def test_an_answer_has_no_list_of_work_expire(queue: RedisList, redis_server: Server, client: Any) -> None:
    sink = Redis(redis_server.url).inbox().sink()
    async with opened(queue.sink(), sink):
        await sink.publish([message(b"an answer", queue.name)])
    assert await client.lrange(queue.name, 0, -1) == [b"an answer"]
    assert await client.pttl(queue.name) == -1


async def test_trouble_that_is_over_is_not_told_to_whoever_asks_next(redis_server: Server) -> None:
    async with Proxy(redis_server) as proxy:
        inbox = Redis(proxy.url).inbox()
        source: Any = inbox.source("asker")
        sink = Redis(redis_server.url).inbox().sink()
        async with opened(source, sink):
            with anyio.move_on_after(0.01) as given_up:
                await source.fetch(5)
            assert given_up.cancelled_caught
            proxy.reset()

            async def noticed() -> bool:
                return bool(source._reading._task.done())

            await eventually(noticed)
            await sink.publish([message(1, inbox.name)])
            assert numbers(await source.fetch(5)) == [1]
        assert proxy.resets == 1


# -- pub/sub -----------------------------------------------------------------------------------------------------


async def test_a_pattern_gets_what_is_published_to_each_channel_that_matches(redis_server: Server) -> None:
    redis, unique = Redis(redis_server.url), uuid4().hex
    source, sink = redis.channel(f"{unique}.*").source("readers"), redis.channel(f"{unique}.a").sink()
    async with opened(source, sink):
        await sink.publish([message(1, f"{unique}.a"), message(2, f"{unique}.b"), message(3, "other")])
        run = await fetched(source, 2)
        assert [(each.raw, each.source) for each in run] == [(b"1", f"{unique}.a"), (b"2", f"{unique}.b")]


async def test_a_listener_listens_again_after_a_fault(redis_server: Server, client: Any) -> None:
    name = f"c-{uuid4().hex}"
    async with Proxy(redis_server) as proxy:
        source = Redis(proxy.url).channel(name).source("readers")
        async with opened(source):
            await client.publish(name, "1")
            assert numbers(await source.fetch(5)) == [1]
            proxy.reset()
            with pytest.raises(BrokerUnavailable):
                await source.fetch(5)
            async with anyio.create_task_group() as tasks:

                async def heard() -> int:
                    return int(await client.publish(name, "2"))

                tasks.start_soon(eventually, heard)
                assert numbers(await source.fetch(5)) == [2]
        assert proxy.resets == 1


async def test_dead_letters_of_a_channel_go_where_they_are_kept(redis_server: Server, client: Any) -> None:
    place = Redis(redis_server.url).channel("events.*").dead_letter()
    assert (place.name, place.capabilities.persistent) == ("events.*.dead", True)


async def test_pub_sub_says_that_it_delivers_at_most_once(redis_server: Server) -> None:
    assert Redis(redis_server.url).channel("a").capabilities.redelivery is False
