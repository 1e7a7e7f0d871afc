"""The promises of delivery, each shown on the embedded broker. Faults are counted: a run without any proves nothing."""

import random
from collections import defaultdict
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from actors import RUN
from headrace import Crash, Drop, Engine, Memory, Message, Retry, Supervision, Topology

pytestmark = pytest.mark.anyio
PATIENT = Supervision(intensity=100_000, period=1, backoff=0)


class Item(BaseModel):
    """A message of the oracle: its body is a function of its id."""

    id: int
    key: str
    square: int


def item(number: int, keys: int = 50) -> Item:
    return Item(id=number, key=f"key-{number % keys}", square=number * number)


async def fill(memory: Memory, count: int, keys: int = 50) -> None:
    async with memory:
        for number in range(count):
            await memory.topic("in").publish(item(number, keys))


def arrived(memory: Memory, topic: str) -> list[Item]:
    return [Item.model_validate_json(message.raw or b"") for message in memory.messages(topic)]


async def run_until(engine: Engine, condition: Any) -> None:
    """Run an engine until the condition holds, then have it drained."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        with anyio.fail_after(30):
            while not condition():
                await checkpoint()
        engine.drain()


async def test_1_at_least_once_through_crashes_failures_and_a_drain_in_the_middle() -> None:
    count, chance = 10_000, random.Random(1)
    memory = Memory(capacity=2 * count)
    topology = Topology("oracle", supervision=PATIENT)
    seen: dict[str, int] = defaultdict(int)

    @topology.subscriber(memory.topic("in"), max_workers=8, retry=Retry(attempts=50, first=0, jitter=0))
    async def first(body: Item) -> Item:
        luck = chance.random()
        if luck < 0.01:
            seen["crashes"] += 1
            raise Crash("this worker lost its mind")
        if luck < 0.05:
            seen["failures"] += 1
            raise RuntimeError("try again")
        if luck < 0.2:
            await checkpoint()
        return body

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(first, max_workers=3)
    async def second(body: Item) -> Item:
        if body.id % 100 == 13:
            raise ValueError("poison")
        return body

    await fill(memory, count)
    engine = Engine(topology.graph())
    await run_until(engine, lambda: sum(status.settled for status in engine.status()) > count // 2)
    assert 0 < engine.status()[0].settled < count, "the drain was to come in the middle"
    await Engine(topology.graph()).run(burst=True)

    out, dead = arrived(memory, "out"), arrived(memory, "in.dead")
    expected = {number for number in range(count) if number % 100 != 13}
    assert {each.id for each in out} == expected, "missing or spurious"
    assert {each.id for each in dead} == set(range(count)) - expected
    assert all(each.square == each.id**2 for each in out + dead), "corrupted"
    assert seen["crashes"] > 50
    assert seen["failures"] > 200
    assert engine.status()[0].restarts > 10


async def test_1_an_engine_that_is_cut_off_gives_back_what_it_had() -> None:
    memory, topology = Memory(), Topology("cut")
    begun = anyio.Event()

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), max_workers=4)
    async def stuck(body: Item) -> Item:
        if not begun.is_set():
            begun.set()
            await anyio.sleep_forever()
        return body

    await fill(memory, 500)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Engine(topology.graph()).run)
        await begun.wait()
        tasks.cancel_scope.cancel()
    await Engine(topology.graph()).run(burst=True)
    assert {each.id for each in arrived(memory, "out")} == set(range(500))
    group = memory.statistics().topics["in"].groups["cut.stuck"]
    assert group.redelivered > 0
    assert group.acknowledged == 500


@pytest.mark.parametrize("waits", [True, False])
async def test_2_order_by_key_under_sixteen_workers_with_retries(waits: bool) -> None:
    count, chance = 5_000, random.Random(2)
    memory, topology = Memory(capacity=count), Topology("order", supervision=PATIENT)
    handled: dict[str, list[int]] = defaultdict(list)
    inside: set[str] = set()
    faults: dict[str, int] = defaultdict(int)

    @topology.publisher(memory.topic("out"), key="key")
    @topology.subscriber(memory.topic("in"), key="key", max_workers=16, retry=Retry(attempts=20, first=0.001, jitter=1))
    async def handle(body: Item) -> Item:
        assert body.key not in inside, "two messages of one key at once"
        inside.add(body.key)
        try:
            if waits:
                for _ in range(chance.randrange(4)):
                    await checkpoint()
            if chance.random() < 0.03:
                faults["retries"] += 1
                raise RuntimeError("again")
            if chance.random() < 0.003:
                faults["crashes"] += 1
                raise Crash("gone")
        finally:
            inside.discard(body.key)
        handled[body.key].append(body.id)
        return body

    await fill(memory, count)
    await Engine(topology.graph()).run(burst=True)
    out: dict[str, list[int]] = defaultdict(list)
    for each in arrived(memory, "out"):
        out[each.key].append(each.id)
    assert sum(map(len, out.values())) == count
    assert faults["retries"] > 50
    assert faults["crashes"] > 3
    for key in out:
        assert handled[key] == sorted(handled[key])
        assert out[key] == sorted(out[key]), "inverted on the way out"


@pytest.mark.parametrize(("workers", "mailbox"), [(1, 10), (4, 64), (3, 1000)])
async def test_3_bounded_a_blocked_publisher_stops_the_fetching(workers: int, mailbox: int) -> None:
    memory = Memory(capacity=100_000)
    topology = Topology("bounded")
    blocked = memory.topic("out", capacity=1)

    @topology.publisher(blocked, mailbox=20)
    @topology.subscriber(memory.topic("in"), max_workers=workers, mailbox=mailbox)
    async def handle(body: Item) -> Item:
        await checkpoint()
        return body

    await fill(memory, 50_000)
    # A group that never fetches: the topic is full with one message.
    await blocked.source("nobody").open()
    engine = Engine(topology.graph(), drain=0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await anyio.wait_all_tasks_blocked()
        group = memory.statistics().topics["in"].groups["bounded.handle"]
        handle_, publish = engine.status()
        assert handle_.depth == mailbox, "the mailbox is full"
        assert publish.depth == 20
        # What the formula says: a full mailbox and all hands of the subscriber, the same of its publisher.
        most = mailbox + workers * min(RUN, mailbox) + 20 + min(RUN, 20)
        assert group.held == handle_.depth + handle_.held + publish.depth + publish.held
        assert mailbox + workers < group.held <= most
        await anyio.wait_all_tasks_blocked()
        assert memory.statistics().topics["in"].groups["bounded.handle"].held == group.held, "it goes on fetching"
        tasks.cancel_scope.cancel()


async def test_4_drained_nothing_fetched_is_lost_and_what_is_late_goes_back() -> None:
    memory, topology = Memory(), Topology("drain")
    release, begun = anyio.Event(), anyio.Event()

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), max_workers=2)
    async def handle(body: Item) -> Item:
        if body.id == 5:
            begun.set()
            await release.wait()
        return body

    await fill(memory, 1000)
    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await begun.wait()
        engine.drain()
        await anyio.wait_all_tasks_blocked()
        release.set()
    group = memory.statistics().topics["in"].groups["drain.handle"]
    assert group.held == 0
    assert group.redelivered == 0
    assert group.acknowledged == len(arrived(memory, "out")) == group.delivered
    await Engine(topology.graph()).run(burst=True)
    assert sorted(each.id for each in arrived(memory, "out")) == list(range(1000)), "no duplicates: all was drained"


async def test_5_blast_radius_a_crash_puts_back_only_what_was_in_that_workers_hands() -> None:
    memory, topology = Memory(), Topology("blast", supervision=PATIENT)
    tries: dict[int, int] = defaultdict(int)
    crashed = False

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), max_workers=4, retry=Retry(attempts=3, first=0))
    async def handle(body: Item) -> Item:
        nonlocal crashed
        tries[body.id] += 1
        if body.id == 700 and not crashed:
            crashed = True
            raise Crash("once")
        return body

    await fill(memory, 1000)
    await Engine(topology.graph()).run(burst=True)
    assert crashed
    assert {number: count for number, count in tries.items() if count != 1} == {700: 2}
    assert sorted(each.id for each in arrived(memory, "out")) == list(range(1000))
    assert memory.statistics().topics["in"].groups["blast.handle"].redelivered == 0


async def test_6_never_silent_every_drop_death_retry_and_restart_is_counted() -> None:
    memory, topology = Memory(), Topology("counted", supervision=PATIENT)

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=2, first=0))
    async def handle(body: Item, message: Message) -> Item | None:
        if body.id == 1:
            raise Drop("not wanted")
        if body.id == 2:
            raise ValueError("always")
        if body.id == 3 and message.attempt == 1:
            raise Crash("once")
        return body

    await fill(memory, 10)
    engine = Engine(topology.graph())
    await engine.run(burst=True)
    handle_, publish = engine.status()
    assert (handle_.received, handle_.settled, publish.published) == (10, 10, 8)
    assert (handle_.dropped, handle_.dead, handle_.retried, handle_.failed, handle_.restarts) == (1, 1, 2, 3, 1)
    assert handle_.returned == 0


async def test_100_000_keys_cost_no_actor_each_and_leave_nothing_behind() -> None:
    memory, topology = Memory(capacity=200_000), Topology("keys")

    @topology.subscriber(memory.topic("in"), key="key", max_workers=8)
    async def handle(body: Item) -> None:
        return None

    await fill(memory, 100_000, keys=100_000)
    engine = Engine(topology.graph())
    await engine.run(burst=True)
    mailbox: Any = engine.running[0].mailbox
    assert engine.status()[0].settled == 100_000
    assert not mailbox._holds
    assert not mailbox._parked


async def test_1000_stages_start_and_drain() -> None:
    memory, topology = Memory(), Topology("wide")
    for number in range(500):

        @topology.publisher(memory.topic(f"out-{number}"))
        @topology.subscriber(memory.topic(f"in-{number}"), name=f"stage-{number}")
        async def handle(body: Item) -> Item:
            return body

    engine = Engine(topology.graph())
    assert len(engine.graphs[0].stages) == 1000
    with anyio.fail_after(10):
        async with memory, anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await engine.started.wait()
            await memory.topic("in-499").publish(item(1))
            engine.drain()
    assert engine.draining


@pytest.mark.parametrize("workers", [1, 5])
async def test_3_bounded_counts_exactly_what_the_formula_says(workers: int) -> None:
    memory, topology = Memory(), Topology("exact")
    blocked = memory.topic("out", capacity=1)

    @topology.publisher(blocked, mailbox=1)
    @topology.subscriber(memory.topic("in"), max_workers=workers, mailbox=1)
    async def handle(body: Item) -> Item:
        await checkpoint()
        return body

    await fill(memory, 1000)
    await blocked.source("nobody").open()
    async with memory, anyio.create_task_group() as tasks:
        await blocked.publish(item(0))
        engine = Engine(topology.graph(), drain=0)
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await anyio.wait_all_tasks_blocked()
        # A mailbox of one: each actor has one in hand. Subscriber: 1 + workers, publisher: 1 + 1.
        assert memory.statistics().topics["in"].groups["exact.handle"].held == (1 + workers) + (1 + 1)
        tasks.cancel_scope.cancel()
