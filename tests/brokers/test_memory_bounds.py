"""The embedded broker under pressure: who waits, what is kept, and that nothing is lost by giving up."""

from collections.abc import Callable, Coroutine
from itertools import islice
from random import Random
from typing import Any

import anyio
import pytest

from actors import Message, Source
from engine import Memory
from engine.memory.ports import YIELD_EVERY
from tests.brokers.contract import fetched, numbers, opened, ready, run_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The embedded broker stands on anyio alone."""
    backend: str = request.param
    return backend


def published(memory: Memory, name: str = "orders") -> int:
    return memory.statistics().topics[name].published


async def test_a_publisher_waits_while_a_group_lags_by_the_capacity() -> None:
    memory = Memory(capacity=10)
    source, sink = await ready(memory.topic("orders"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sink.publish, run_of(*range(25)))
        await anyio.wait_all_tasks_blocked()
        assert published(memory) == 10
        run = await source.fetch(100)
        await anyio.wait_all_tasks_blocked()
        assert published(memory) == 10, "what is fetched and not settled counts"
        await source.settle(run[:3], [])
        await anyio.wait_all_tasks_blocked()
        assert published(memory) == 13
        await source.settle([], run[3:])
        assert numbers(run + await source.fetch(100)) == [*range(10), *range(3, 13)]
        await source.close()
        await source.open()
        rest = await fetched(source, 10)
        await source.settle(rest, [])
        await source.settle(await fetched(source, 10), [])
    assert published(memory) == 25
    assert numbers(await source.fetch(100)) == [23, 24]


async def test_the_slowest_group_decides() -> None:
    memory = Memory()
    topic = memory.topic("orders", capacity=4)
    fast, sink = await ready(topic, "fast")
    slow, _ = await ready(topic, "slow")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sink.publish, run_of(*range(8)))
        await anyio.wait_all_tasks_blocked()
        await fast.settle(await fast.fetch(10), [])
        await anyio.wait_all_tasks_blocked()
        assert (published(memory), fast.pending(), slow.pending()) == (4, 0, 4)
        await slow.settle(await slow.fetch(10), [])
    assert (published(memory), fast.pending(), slow.pending()) == (8, 4, 4)


async def test_publishers_go_on_in_the_order_they_came() -> None:
    memory = Memory(capacity=2)
    source, sink = await ready(memory.topic("orders"))
    got: list[int] = []
    async with anyio.create_task_group() as tasks:
        for start in (0, 10, 20):
            tasks.start_soon(sink.publish, run_of(*range(start, start + 5)))
            await anyio.wait_all_tasks_blocked()
        while len(got) < 15:
            run = await source.fetch(1)
            got += numbers(run)
            await source.settle(run, [])
            await anyio.wait_all_tasks_blocked()
    assert got == [*range(5), *range(10, 15), *range(20, 25)]


async def test_who_comes_later_does_not_overtake_a_publisher_that_waits() -> None:
    memory = Memory(capacity=1)
    source, sink = await ready(memory.topic("orders"))
    await sink.publish(run_of(0))
    got: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sink.publish, run_of(1))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(sink.publish, run_of(2))
        await source.settle(await source.fetch(1), [])  # there is room again, and 1 has not yet heard of it
        while len(got) < 2:
            run = await source.fetch(1)
            got += numbers(run)
            await source.settle(run, [])
    assert got == [1, 2]


async def test_a_publisher_that_gives_up_lets_the_next_one_go_on() -> None:
    memory = Memory(capacity=1)
    source, sink = await ready(memory.topic("orders"))
    await sink.publish(run_of(0))
    async with anyio.create_task_group() as tasks:
        impatient = anyio.CancelScope()

        async def give_up() -> None:
            with impatient:
                await sink.publish(run_of(1))

        tasks.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(sink.publish, run_of(2))
        await anyio.wait_all_tasks_blocked()
        await source.settle(await source.fetch(1), [])
        impatient.cancel()  # woken and cancelled in the same breath: either may win, and 2 goes on in any case
        got = []
        while 2 not in got:
            run = await source.fetch(1)
            got += numbers(run)
            await source.settle(run, [])
    assert got in ([2], [1, 2])


async def test_a_topic_without_a_group_keeps_its_most_recent_and_counts_the_rest() -> None:
    memory = Memory(capacity=5)
    sink = memory.topic("orders").sink()
    async with opened(sink):
        await sink.publish(run_of(*range(3)))
        await sink.publish(run_of(*range(3, 12)))
    assert numbers(memory.messages("orders")) == [7, 8, 9, 10, 11]
    assert memory.statistics().topics["orders"].expired == 7
    source = memory.topic("orders").source("late")
    async with opened(source):
        run = await source.fetch(100)
        assert numbers(run) == [7, 8, 9, 10, 11]
        assert [each.offset for each in run] == [7, 8, 9, 10, 11]


async def test_what_all_groups_have_read_is_still_there_for_a_new_one() -> None:
    memory = Memory(capacity=3)
    early, sink = await ready(memory.topic("orders"), "early")
    for number in range(5):
        await sink.publish(run_of(number))
        await early.settle(await early.fetch(1), [])
    late, _ = await ready(memory.topic("orders"), "late")
    assert numbers(await late.fetch(10)) == [2, 3, 4]
    assert memory.statistics().topics["orders"].expired == 0


async def test_a_long_loop_that_never_waits_lets_others_run() -> None:
    source, sink = await ready(Memory().topic("orders"))
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3 * YIELD_EVERY // 64):
            await sink.publish(run_of(*range(64)))
            await source.settle(await source.fetch(64), [])
        before = others
        await sink.publish(run_of(*range(2 * YIELD_EVERY)))
        for _ in range(2 * YIELD_EVERY // 64):
            await source.settle(await source.fetch(64), [])
        tasks.cancel_scope.cancel()
    assert 2 <= before < others - 1


async def after_some_turns(turns: int, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run that, and cancel it after so many turns of the event loop."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(what)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("capacity", [1, 3, 20, 400])
async def test_nothing_is_lost_or_doubled_however_readers_and_publishers_are_cancelled(capacity: int) -> None:
    luck, memory = Random(capacity), Memory(capacity=capacity)
    topic, confirmed, tried = memory.topic("orders"), set[int](), iter(range(1_000))
    settled: list[int] = []
    await topic.source("readers").open()

    async def publish() -> None:
        sink = topic.sink()
        async with opened(sink):
            while bodies := list(islice(tried, luck.randint(1, 9))):

                async def one_run(bodies: list[int] = bodies) -> None:
                    await sink.publish(run_of(*bodies))
                    confirmed.update(bodies)

                await after_some_turns(luck.randint(1, 100), one_run)

    async def read() -> None:
        source = topic.source("readers")
        while True:
            async with opened(source):
                hand: list[Message] = []

                async def one_run(source: Source = source, hand: list[Message] = hand) -> None:
                    hand += await source.fetch(luck.randint(1, 9))

                for _ in range(luck.randint(1, 9)):
                    await after_some_turns(luck.randint(0, 4), one_run)
                    luck.shuffle(hand)
                    cut = luck.randint(0, len(hand))
                    done, back, hand[:] = hand[:cut], hand[cut : cut + 1], hand[cut + 1 :]
                    settled.extend(numbers(done))
                    await source.settle(done, back)

    async with anyio.create_task_group() as readers:
        for _ in range(3):
            readers.start_soon(read)
        async with anyio.create_task_group() as publishers:
            for _ in range(3):
                publishers.start_soon(publish)
        while len(set(settled) & confirmed) < len(confirmed):
            await anyio.lowlevel.checkpoint()
        readers.cancel_scope.cancel()
    group = memory.statistics().topics["orders"].groups["readers"]
    assert len(settled) == len(set(settled))
    assert confirmed <= set(settled)
    assert len(confirmed) > 30
    assert group.redelivered > 10
