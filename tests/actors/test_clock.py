"""`Clock` and `VirtualClock`: what is due is called, in order and once."""

import pytest
from anyio import Event
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors import Clock, Timer, VirtualClock
from tests.actors.fakes import quiet, running

pytestmark = pytest.mark.anyio


class ClockMachine(RuleBasedStateMachine):
    """Timers against a plain list of what is due when."""

    def __init__(self):
        super().__init__()
        self.clock = VirtualClock()
        self.timers: list = []
        self.due: list[tuple[float, int]] = []
        self.called: list[int] = []
        self.expected: list[int] = []

    @rule(after=st.integers(0, 20))
    def add(self, after):
        number = len(self.timers)
        self.timers.append(self.clock.after(after, lambda: self.called.append(number)))
        self.due.append((self.clock.now() + after, number))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def cancel(self, data):
        number = data.draw(st.integers(0, len(self.timers) - 1))
        self.timers[number].cancel()
        self.due = [entry for entry in self.due if entry[1] != number]

    @rule(seconds=st.integers(0, 12))
    def advance(self, seconds):
        until = self.clock.now() + seconds
        now_due = sorted(entry for entry in self.due if entry[0] <= until)
        assert self.clock.advance(seconds) == len(now_due)
        self.expected += [number for _, number in now_due]
        self.due = [entry for entry in self.due if entry[0] > until]
        assert self.clock.now() == until

    @invariant()
    def calls_what_is_due_in_order_and_once(self):
        assert self.called == self.expected
        assert self.clock.next_due() == min((when for when, _ in self.due), default=None)
        assert repr(self.clock) == f"<VirtualClock: {len(self.due)} timers>"


TestClockAgainstAModel = ClockMachine.TestCase
TestClockAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_each_callback_sees_its_own_time():
    clock, times = VirtualClock(), []
    for seconds in (3, 1, 2):
        clock.after(seconds, lambda: times.append(clock.now()))
    clock.advance(10)
    assert times == [1, 2, 3]
    assert clock.now() == 10


def test_what_a_callback_adds_is_called_on_the_way():
    clock, times = VirtualClock(), []

    def again() -> None:
        times.append(clock.now())
        if len(times) < 3:
            clock.after(2, again)

    clock.after(1, again)
    assert clock.advance(4) == 2
    assert clock.advance(1) == 1
    assert times == [1, 3, 5]


def test_what_is_due_in_the_past_is_called_at_the_next_move():
    clock, called = VirtualClock(), []
    clock.advance(10)
    clock.at(3, lambda: called.append(clock.now()))
    clock.advance(0)
    assert called == [10]


def test_cancelled_timers_do_not_pile_up():
    clock = VirtualClock()
    kept = clock.after(5, lambda: None)
    for _ in range(10_000):
        clock.after(5, lambda: None).cancel()
    assert len(clock._heap) < 200
    assert clock.advance(5) == 1
    kept.cancel()


def test_a_callback_may_cancel_a_timer_that_is_due_with_it():
    clock, called = VirtualClock(), []
    second: list[Timer] = []
    clock.after(1, lambda: second[0].cancel())
    second.append(clock.after(1, lambda: called.append("second")))
    assert clock.advance(1) == 1
    assert not called


async def test_sleeping_ends_when_the_clock_has_moved_far_enough():
    clock, woken = VirtualClock(), []

    async def sleep():
        await clock.sleep(3)
        woken.append(clock.now())

    async with running(clock.run, sleep):
        clock.advance(2.5)
        await quiet()
        assert not woken
        clock.advance(0.5)
        await quiet()
        assert woken == [3]


async def test_a_cancelled_sleep_leaves_no_timer():
    clock = VirtualClock()
    async with running(lambda: clock.sleep(3)):
        assert clock.next_due() == 3
    assert clock.next_due() is None


async def test_a_running_clock_calls_what_is_added_before_what_it_waits_for():
    clock, called = Clock(), Event()
    clock.after(3600, lambda: None)
    async with running(clock.run):
        clock.after(0, called.set)
        await called.wait()
        later = Event()
        clock.at(clock.now() - 1, later.set)
        await later.wait()


async def test_a_clock_may_be_run_again():
    clock = Clock()
    for _ in range(2):
        called = Event()
        async with running(clock.run):
            clock.after(0, called.set)
            await called.wait()


async def test_what_was_added_before_it_ran_is_called():
    clock, called = Clock(), Event()
    clock.after(0, called.set)
    async with running(clock.run):
        await called.wait()
    assert repr(clock) == "<Clock: 0 timers>"
