"""`RedisSeen`, and engines that share it: what one has done no other does again, and without it nothing is lost."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis as Client

from actors import BrokerRefused, BrokerUnavailable
from engine.redis.seen import RedisSeen
from headrace import Deduplicate, Engine, Memory, Redis, Topology
from tests.brokers.surviving import eventually
from tests.servers.proxy import Proxy
from tests.servers.redis import Redis as Server
from tests.servers.redis import RedisCluster
from tests.servers.site import Site

pytestmark = pytest.mark.anyio


class Watch:
    """A clock to move by hand."""

    time = 1_000_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def client(redis_server: Server) -> AsyncIterator[Any]:
    async with Client.from_url(redis_server.url, protocol=2) as client:
        yield client


def fresh() -> str:
    return f"d-{uuid4().hex}"


async def test_what_one_keeps_another_knows_until_the_window_is_over(redis_server: Server, client: Any) -> None:
    name, now = fresh(), Watch()
    one, other = (RedisSeen(Redis(redis_server.url).target, name, 10, 100, now) for _ in range(2))
    await one.open()
    await one.keep([b"a", b"\x00\xff"])
    assert await other.known([b"\x00\xff", b"b", b"a"]) == [True, False, True]
    now.time += 9
    await other.keep([b"b"])
    now.time += 1
    assert await one.known([b"a", b"b"]) == [False, True]
    await one.keep([b"c"])
    assert await client.zrange(f"headrace.seen.{name}", 0, -1) == [b"b", b"c"]
    assert 9_000 < await client.pttl(f"headrace.seen.{name}") <= 10_000
    await one.close()
    await other.close()


async def test_the_oldest_go_where_there_are_too_many(redis_server: Server) -> None:
    now = Watch()
    seen = RedisSeen(Redis(redis_server.url).target, fresh(), 1000, 3, now)
    for identity in (b"a", b"b", b"c", b"d", b"e"):
        await seen.keep([identity])
        now.time += 0.001
    assert await seen.known([b"a", b"b", b"c", b"d", b"e"]) == [False, False, True, True, True]
    await seen.close()


async def test_thousands_at_once(redis_server: Server) -> None:
    seen = RedisSeen(Redis(redis_server.url).target, fresh(), 1000, 10_000)
    some = [b"%d" % number for number in range(5000)]
    await seen.keep(some[::2])
    assert await seen.known(some) == [True, False] * 2500
    await seen.close()


async def test_in_a_cluster_it_is_on_one_node(servers: Site) -> None:
    cluster = servers.get(RedisCluster)
    seen = RedisSeen(Redis(cluster.url, cluster=True).target, fresh(), 1000, 10)
    await seen.open()
    await seen.keep([b"a", b"b"])
    assert await seen.known([b"b", b"c"]) == [True, False]
    await seen.close()


async def test_a_key_that_holds_something_else_is_refused(redis_server: Server, client: Any) -> None:
    name = fresh()
    await client.set(f"headrace.seen.{name}", "mine")
    seen = RedisSeen(Redis(redis_server.url).target, name, 10, 10)
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        await seen.open()
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        await seen.keep([b"a"])
    await seen.close()


async def test_out_of_reach_is_told_and_over_when_it_is_back(redis_server: Server) -> None:
    async with Proxy(redis_server) as proxy:
        seen = RedisSeen(Redis(proxy.url, connect_timeout=0.5).target, fresh(), 100, 10)
        await seen.keep([b"a"])
        proxy.cut()
        with pytest.raises(BrokerUnavailable):
            await seen.known([b"a"])
        with pytest.raises(BrokerUnavailable):
            await seen.keep([b"b"])
        proxy.mend()
        assert await seen.known([b"a", b"b"]) == [True, False]
        await seen.close()


# -- in engines -------------------------------------------------------------------------------------------------------


def topology_of(name: str, memory: Memory, store: Redis, handled: list[int], **options: Any) -> Topology:
    topology = Topology(name)

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), deduplicate=Deduplicate(by="id", store=store), **options)
    async def handle(body: dict[str, int]) -> dict[str, int]:
        handled.append(body["id"])
        return body

    return topology


async def fill(memory: Memory, *numbers: int) -> None:
    async with memory:
        for number in numbers:
            await memory.topic("in").publish({"id": number})


async def test_an_engine_knows_what_another_has_done_before_it(redis_server: Server) -> None:
    name, handled, duplicates = fresh(), list[int](), list[int]()
    for _ in range(2):
        memory = Memory()
        await fill(memory, 1, 2, 1)
        engine = Engine(topology_of(name, memory, Redis(redis_server.url), handled).graph())
        await engine.run(burst=True)
        duplicates.append(engine.status()[0].duplicates)
    assert (handled, duplicates) == ([1, 2], [1, 3])


async def test_a_run_takes_one_look_and_one_note(redis_server: Server, client: Any) -> None:
    async def calls() -> Counter[str]:
        told = await client.info("commandstats")
        return Counter({name: told.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("zmscore", "zadd")})

    memory, handled = Memory(), list[int]()
    await fill(memory, *range(1000))
    before = await calls()
    await Engine(topology_of(fresh(), memory, Redis(redis_server.url), handled).graph()).run(burst=True)
    took = await calls() - before
    assert len(handled) == 1000
    assert 2 <= took["zmscore"] <= 30
    assert 1 <= took["zadd"] <= 30


async def test_while_the_store_is_cut_off_messages_wait_and_none_is_lost(redis_server: Server) -> None:
    memory, handled = Memory(), list[int]()
    async with Proxy(redis_server) as proxy:
        store = Redis(proxy.url, connect_timeout=0.5, timeout=0.5)
        engine = Engine(topology_of(fresh(), memory, store, handled).graph())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await engine.healthy(10)
            await fill(memory, 0, 1)
            await eventually(lambda: settled(engine, 2))
            proxy.cut()
            await fill(memory, 1, 2, 3)
            await eventually(lambda: away(engine))
            assert (handled, engine.status()[0].settled) == ([0, 1], 2)
            proxy.mend()
            await eventually(lambda: settled(engine, 5), 20)
            proxy.stall()
            await fill(memory, 3, 4)
            await eventually(lambda: away(engine))
            proxy.mend()
            await eventually(lambda: settled(engine, 7), 20)
            engine.drain()
        assert proxy.resets > 0
    assert handled == [0, 1, 2, 3, 4]
    assert engine.status()[0].duplicates == 2


async def settled(engine: Engine, count: int) -> bool:
    return engine.status()[0].settled == count


async def away(engine: Engine) -> bool:
    return any(error is not None for error in engine.out_of_reach().values())


async def test_drained_without_its_store_what_was_fetched_is_handled_and_acknowledged(redis_server: Server) -> None:
    memory, handled = Memory(), list[int]()
    async with Proxy(redis_server) as proxy:
        store = Redis(proxy.url, connect_timeout=0.3, timeout=0.3)
        engine = Engine(topology_of(fresh(), memory, store, handled).graph(), drain=20)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await engine.healthy(10)
            proxy.cut()
            await fill(memory, 1, 2)
            await eventually(lambda: away(engine))
            began = anyio.current_time()
            engine.drain()
        assert anyio.current_time() - began < 10
    assert handled == [1, 2]
    assert [json.loads(message.raw or b"")["id"] for message in memory.messages("out")] == [1, 2]
    assert engine.status()[0].settled == 2


async def test_killed_again_and_again_nothing_is_missing_and_hardly_anything_comes_twice(
    redis_server: Server, client: Any
) -> None:
    """Every message comes twice. With the process killed three times, twice is done at most what it had in hand."""
    count, name, chance = 2000, fresh(), random.Random(11)
    copies = [*range(count), *range(count)]
    chance.shuffle(copies)
    pipe = client.pipeline(transaction=False)
    for number in copies:
        pipe.xadd(name, {"body": json.dumps({"id": number})})
    await client.xgroup_create(name, f"{name}.handle", "0", mkstream=True)
    await pipe.execute()

    program = os.path.join(os.path.dirname(__file__), "redis_deduplicating.py")
    kills = 0
    for end in (count // 5, 2 * count // 5, 3 * count // 5, None):
        process = await asyncio.create_subprocess_exec(
            sys.executable, program, redis_server.url, name, env=os.environ | {"PYTHONPATH": os.getcwd()}
        )
        if end is None:
            assert await process.wait() == 0
            continue
        await eventually(lambda end=end: reached(client, name, end), 30)  # type: ignore[misc]
        process.kill()
        await process.wait()
        kills += 1
    done = Counter(json.loads(fields[b"body"])["id"] for _, fields in await client.xrange(f"{name}.out"))
    assert set(done) == set(range(count))
    assert kills == 3
    assert done.total() - count <= kills * (64 + 256 + 16)
    assert max(done.values()) <= 1 + kills
    assert (await client.xpending(name, f"{name}.handle"))["pending"] == 0


async def reached(client: Any, name: str, end: int) -> bool:
    return bool(await client.xlen(f"{name}.out") >= end)
