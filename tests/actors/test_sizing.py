"""`Sizing` decides how large a pool should be; `Sizer` measures and resizes."""

import pytest
from anyio import Event, create_task_group
from hypothesis import given
from hypothesis import strategies as st

from actors import Pool, RetryAfter, Sizer, Sizing, Supervision
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


def test_while_some_are_idle_it_stays_as_it_is():
    sizing = Sizing(1, 5, 3)
    assert [sizing.next(0.1, False, False) for _ in range(3)] == [3, 3, 3]


def test_when_handling_takes_clearly_longer_it_shrinks():
    sizing = Sizing(1, 100, 50)
    for _ in range(10):
        sizing.next(0.1, False, False)
    assert sizing.next(0.5, True, False) == 45


def test_when_it_is_asked_for_less_it_shrinks():
    sizing = Sizing(1, 100, 100)
    assert sizing.next(0.1, True, True) == 90
    assert sizing.next(None, False, True) == 81


def test_what_is_only_noise_does_not_shrink_it():
    sizing = Sizing(1, 100, 10)
    for at in range(50):
        assert sizing.next(0.1 + 0.01 * (at % 3), False, False) == 10


def test_it_gets_used_to_a_slower_world():
    sizing = Sizing(1, 100, 50)
    for _ in range(5):
        sizing.next(0.1, True, False)
    for _ in range(20):
        sizing.next(0.5, True, False)
    assert sizing.next(0.5, True, False) > sizing.next(5.0, True, False)


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

    async def tick(self) -> int:
        self.clock.advance(self.sizer.interval)
        await quiet()
        return self.pool.size


async def test_a_pool_under_load_grows_and_one_that_is_pushed_back_shrinks():
    sized = Sized()
    sized.put(*range(20))
    async with running(sized.pool.run, sized.sizer.run):
        assert [await sized.tick() for _ in range(4)] == [2, 3, 4, 4]
        assert sized.pool.busy == 4
        sized.push_back = True
        sized.gate.set()
        await quiet()
        assert await sized.tick() == 3


async def test_an_idle_pool_keeps_its_size():
    sized = Sized()
    async with running(sized.pool.run, sized.sizer.run):
        assert [await sized.tick() for _ in range(3)] == [1, 1, 1]


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
