"""`Sizing` decides how large a pool should be; `Sizer` measures and resizes."""

import random
from collections.abc import Callable
from math import inf
from statistics import mean

import pytest
from anyio import Event, create_task_group
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, Pool, RetryAfter, Sizer, Sizing, Supervision
from tests.actors.fakes import Bench, logger, quiet, running

pytestmark = pytest.mark.anyio

round_trips = st.none() | st.floats(1e-6, 100)


@given(st.integers(1, 20), st.integers(0, 50), st.lists(st.tuples(round_trips, st.booleans(), st.booleans())))
def test_stays_within_its_bounds(low, more, measured):
    sizing = Sizing(low, low + more, low)
    for round_trip, saturated, pushed_back in measured:
        assert low <= sizing.next(round_trip, saturated, pushed_back) <= low + more


def test_while_all_are_busy_and_handling_takes_no_longer_it_grows_one_by_one():
    sizing = Sizing(1, 5, 1)
    assert [sizing.next(0.1, True, False) for _ in range(6)] == [2, 3, 4, 5, 5, 5]


def test_while_some_are_idle_or_nothing_was_handled_it_stays_as_it_is():
    sizing = Sizing(1, 5, 3)
    assert [sizing.next(0.1, False, False) for _ in range(3)] == [3, 3, 3]
    assert [sizing.next(None, True, False) for _ in range(3)] == [3, 3, 3]


def test_before_anything_was_handled_it_grows_while_all_are_busy():
    sizing = Sizing(1, 5, 3)
    assert [sizing.next(None, False, False) for _ in range(3)] == [3, 3, 3]
    assert [sizing.next(None, True, False) for _ in range(3)] == [4, 5, 5]


def test_when_it_is_asked_for_less_it_shrinks():
    sizing = Sizing(1, 100, 100)
    assert sizing.next(0.1, True, True) == 90
    assert sizing.next(None, False, True) == 81


def test_asked_for_less_in_the_middle_of_a_look_it_shrinks_from_the_full_size():
    sizing = Sizing(1, 64, 1)
    for round_trip in [0.01] * 70 + [0.02] * 10:
        if not sizing.full:
            sizing.next(round_trip, True, False)
    assert int(sizing.size) == int(0.6 * 64)
    assert sizing.next(None, False, True) == int(0.9 * 64)


Link = Callable[[int], tuple[float, float]]
"""What is called: at each step, what a call takes alone, and from how many at once on they wait for each other."""


def settled(link: Link, jitter: float = 0.0, steps: int = 1500, seed: int = 1) -> float:
    """The mean size of a pool over its last 300 decisions, against a simulated link."""
    chance, sizing, sizes = random.Random(seed), Sizing(1, 64, 1), [1]
    for step in range(steps):
        alone, limit = link(step)
        round_trip = alone * max(1.0, sizes[-1] / limit) * chance.lognormvariate(0, jitter)
        sizes.append(sizing.next(round_trip, True, False))
    return mean(sizes[-300:])


JITTERS = [0.0, 0.05, 0.1, 0.2]


@pytest.mark.parametrize("jitter", JITTERS)
def test_on_a_constant_link_it_grows_as_large_as_it_may(jitter):
    assert settled(lambda step: (0.01, inf), jitter) > 0.9 * 64


@pytest.mark.parametrize("limit", [5, 10, 20, 40])
@pytest.mark.parametrize("jitter", JITTERS[:3])
def test_on_a_link_that_saturates_it_settles_within_a_fifth_of_the_best_size(limit, jitter):
    sizes = [settled(lambda step: (0.01, limit), jitter, seed=seed) for seed in range(5)]
    assert mean(sizes) == pytest.approx(limit, rel=0.2)
    assert all(size == pytest.approx(limit, rel=0.35) for size in sizes)


def test_it_never_drifts_away_from_there():
    assert settled(lambda step: (0.01, 20), 0.1, steps=50_000) == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize("jitter", JITTERS[:3])
def test_when_the_link_degrades_it_shrinks_to_what_is_left(jitter):
    assert settled(lambda step: (0.01, 40 if step < 500 else 10), jitter) == pytest.approx(10, rel=0.25)


@pytest.mark.parametrize("jitter", JITTERS[:3])
def test_when_the_link_recovers_it_grows_again(jitter):
    assert settled(lambda step: (0.01, 10 if step < 500 else 40), jitter) == pytest.approx(40, rel=0.2)


@pytest.mark.parametrize("jitter", JITTERS[:3])
def test_a_link_that_became_slow_for_everybody_is_not_asked_for_less(jitter):
    assert settled(lambda step: (0.01 if step < 500 else 0.04, 20), jitter) == pytest.approx(20, rel=0.2)


class Sized(Bench):
    """A pool that finds its own size between 1 and 4; its handler waits, or asks to be retried."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.push_back = Event(), False
        self.pool = Pool(
            "pool",
            1,
            lambda number: self.worker(self.handle),
            self.mailbox,
            [self.behind],
            Supervision(),
            self.clock,
            logger,
        )
        self.sizer = Sizer(self.pool, Sizing(1, 4, 1), self.counts, self.clock)

    async def handle(self, message):
        if self.push_back:
            raise RetryAfter(1000)
        await self.gate.wait()
        return message.body

    async def tick(self, handled: int = 10) -> int:
        """The size after one more interval, in which so many messages are said to have taken 0.1 s each."""
        self.counts.handled += handled
        self.counts.busy_seconds += handled * 0.1
        self.clock.advance(self.sizer.interval)
        await quiet()
        return self.pool.size


async def test_a_pool_under_load_grows_and_one_that_is_pushed_back_shrinks():
    sized = Sized()
    sized.put(*range(20))
    async with running(sized.pool.run, sized.sizer.run):
        await quiet()
        assert [await sized.tick() for _ in range(4)] == [2, 3, 4, 4]
        assert sized.pool.busy == 4
        sized.push_back = True
        sized.gate.set()
        await quiet()
        assert await sized.tick() == 3


async def test_it_decides_when_as_many_were_handled_as_it_has_workers():
    sized = Sized()
    sized.put(*range(20))
    async with running(sized.pool.run, sized.sizer.run):
        await quiet()
        assert [await sized.tick(handled=1) for _ in range(7)] == [2, 2, 3, 3, 3, 4, 4]


async def test_an_idle_pool_keeps_its_size():
    sized = Sized()
    async with running(sized.pool.run, sized.sizer.run):
        assert [await sized.tick() for _ in range(3)] == [1, 1, 1]


async def test_what_was_handled_in_no_time_tells_nothing():
    sized = Sized()
    sized.put(*range(20))
    async with running(sized.pool.run, sized.sizer.run):
        await quiet()
        for _ in range(2):
            sized.counts.handled += 10
            sized.clock.advance(sized.sizer.interval)
            await quiet()
        assert await sized.tick() > 1


async def test_cancelled_while_it_resizes_it_leaves_no_key_without_a_worker():
    class Late(Actor):
        async def on_start(self):
            if late:
                await ready.wait()

        async def receive(self, body):
            await gate.wait()
            return body

    late, ready, gate = False, Event(), Event()
    bench = Bench(lanes=1)
    pool = Pool(
        "pool",
        1,
        lambda number: bench.worker(actor=Late),
        bench.mailbox,
        [bench.behind],
        Supervision(),
        bench.clock,
        logger,
        sticky=True,
    )
    sizer = Sizer(pool, Sizing(4, 8, 4), bench.counts, bench.clock)
    bench.put(*range(20), lane=lambda body: body)
    async with running(pool.run):
        late = True
        async with running(sizer.run):
            bench.counts.handled += 10
            bench.counts.busy_seconds += 1
            bench.clock.advance(sizer.interval)
            await quiet()
            assert pool.size == 5
        assert pool.size == 2
        ready.set()
        gate.set()
        await quiet()
        assert sorted(bench.results()) == list(range(20))


async def test_it_ends_with_its_pool_without_the_clock_having_to_move():
    sized = Sized()
    sized.gate.set()
    sized.put(*range(5))
    async with create_task_group() as tasks:
        tasks.start_soon(sized.pool.run)
        tasks.start_soon(sized.sizer.run)
        await quiet()
        sized.mailbox.close()
    assert sized.results() == list(range(5))
    assert sized.clock.next_due() is None
