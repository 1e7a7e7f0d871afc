"""`Lanes`: the order of each key, never two holders of one, nothing lost; shown against a model."""

from collections import defaultdict, deque

import pytest
from anyio import create_task_group
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors import Lanes, Outcome, VirtualClock
from tests.actors.fakes import Completed, bodies, message, quiet, running

pytestmark = pytest.mark.anyio

KEYS = ["a", "b", "c", 7, None]


class LanesMachine(RuleBasedStateMachine):
    """Messages are numbered per key. The model knows what of each key waits, and who holds what."""

    def __init__(self):
        super().__init__()
        self.lanes, self.count = Lanes(10_000), 1
        self.owner = Completed()
        self.waiting = defaultdict(deque)
        self.held: list[list] = []
        self.numbers = defaultdict(int)
        self.done: list = []

    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=8))
    def put(self, keys):
        run = []
        for key in keys:
            self.numbers[key] += 1
            run.append(message((key, self.numbers[key]), self.owner, key))
            self.waiting[key].append(run[-1].body)
        self.lanes.put_nowait(run)

    @rule(lane=st.integers(0, 4), limit=st.integers(1, 6))
    def take(self, lane, limit):
        self.took(self.lanes.take_nowait(limit, lane % self.count), limit)

    def took(self, run, limit):
        assert len(run) <= limit
        before = {each.lane for holder in self.held for each in holder} - {None}
        for each in run:
            assert each.lane not in before, "its key is held by somebody else"
            if each.lane is None:
                self.waiting[None].remove(each.body)
            else:
                assert each.body == self.waiting[each.lane].popleft(), "out of order"
        if run:
            self.held.append(run)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data):
        """Any part of what one holder has is done: of a batch some may fail and be kept."""
        holder = data.draw(st.sampled_from(self.held))
        part = [each for each in holder if data.draw(st.booleans())]
        self.lanes.done(part)
        self.let_go(holder, part)
        self.done += bodies(part)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def put_back(self, data):
        """A worker puts back the rest of its run, or all that follows of one key."""
        holder = data.draw(st.sampled_from(self.held))
        part = holder[data.draw(st.integers(0, len(holder) - 1)) :]
        if data.draw(st.booleans()):
            part = [each for each in part if each.lane == part[0].lane]
        self.lanes.put_back(part)
        self.let_go(holder, part)
        for each in reversed(part):
            self.waiting[each.lane].appendleft(each.body)

    def let_go(self, holder, part):
        holder[:] = [each for each in holder if each not in part]
        if not holder:
            self.held.remove(holder)

    @rule(count=st.integers(1, 5))
    def resize(self, count):
        self.lanes.resize(count)
        self.count = count

    @invariant()
    def counts_what_waits_and_what_is_held(self):
        assert len(self.lanes) == sum(map(len, self.waiting.values()))
        assert self.lanes.held == sum(map(len, self.held))
        assert self.lanes.count == sum(self.numbers.values())

    def teardown(self):
        """In the end everything can be had, each message once."""
        for holder in list(self.held):
            self.lanes.done(holder)
            self.done += bodies(holder)
        self.held.clear()
        self.lanes.close()
        for lane in range(self.count):
            self.took(run := self.lanes.take_nowait(10_000, lane), 10_000)
            self.lanes.done(run)
            self.done += bodies(run)
        assert self.lanes.drained
        expected = [(key, at) for key, count in self.numbers.items() for at in range(1, count + 1)]
        assert sorted(self.done, key=str) == sorted(expected, key=str)


TestLanesAgainstAModel = LanesMachine.TestCase
TestLanesAgainstAModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def filled(*keys, lanes: int = 1) -> tuple[Lanes, Completed]:
    """Lanes in which messages of those keys wait, their bodies numbered."""
    owner, made = Completed(), Lanes(100, "lanes", lanes)
    made.put_nowait([message(f"{key}{at}", owner, key) for at, key in enumerate(keys)])
    return made, owner


# -- holding a key back ----------------------------------------------------------------------------------------------


def test_other_keys_pass_a_key_that_is_held():
    lanes, _ = filled("a", "a", "b", "a", "c")
    held = lanes.take_nowait(1)
    assert bodies(held) == ["a0"]
    assert bodies(lanes.take_nowait(9)) == ["b2", "c4"]
    assert len(lanes) == 2
    lanes.done(held)
    assert bodies(lanes.take_nowait(9)) == ["a1", "a3"]


def test_a_key_in_one_run_may_be_taken_as_often_as_it_comes():
    lanes, _ = filled("a", "a", "b", "a")
    assert bodies(lanes.take_nowait(3)) == ["a0", "a1", "b2"]
    assert lanes.take_nowait(3) == []


def test_messages_without_a_key_are_held_back_by_nothing():
    lanes, _ = filled(None, None, None)
    assert bodies(lanes.take_nowait(1)) == ["None0"]
    assert bodies(lanes.take_nowait(9)) == ["None1", "None2"]


def test_a_message_that_waits_for_its_next_try_keeps_what_is_behind_it_waiting():
    lanes, _ = filled("a", "a", "a", "b")
    first, second, third, other = lanes.take_nowait(4)
    lanes.put_back([second, third])
    lanes.done([other])
    assert lanes.take_nowait(4) == []
    lanes.put_back([first])
    assert bodies(lanes.take_nowait(4)) == ["a0", "a1", "a2"]


def test_a_key_that_is_not_held_costs_nothing():
    lanes, _ = filled(*range(50))
    lanes.done(lanes.take_nowait(50))
    assert not lanes._holds
    assert not lanes._parked


def test_parked_messages_count_against_the_capacity():
    lanes, owner = filled("a", "a", "a")
    lanes.take_nowait(1)
    lanes.take_nowait(1)
    assert lanes.room == 98
    rest = [message("x", owner, "b") for _ in range(100)]
    lanes.put_nowait(rest)
    assert len(rest) == 2


async def test_a_taker_is_woken_when_the_key_it_waits_for_is_let_go():
    lanes, _ = filled("a", "a")
    held, taken = lanes.take_nowait(1), []

    async def take():
        taken.extend(await lanes.take(5))

    async with running(take):
        assert taken == []
        lanes.done(held)
        await quiet()
        assert bodies(taken) == ["a1"]


async def test_is_drained_only_when_the_parked_are_done_too():
    lanes, _ = filled("a", "a")
    held, runs = lanes.take_nowait(1), []

    async def take():
        while run := await lanes.take(5):
            runs.append(bodies(run))
            lanes.done(run)

    async with create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take)
        await quiet()
        lanes.close()
        await quiet()
        assert runs == []
        lanes.done(held)
    assert runs == [["a1"]]
    assert lanes.drained


async def test_a_batch_of_nothing_but_held_keys_is_waited_for_and_not_taken_for_the_end():
    lanes, owner = filled("a", "a", "a")
    held, clock = lanes.take_nowait(1), VirtualClock()
    batches: list = []

    async def take():
        while run := await lanes.take_batch(2, 1.0, clock):
            batches.append(bodies(run))
            lanes.done(run)
        batches.append("the end")

    async with running(take):
        lanes.put_nowait([message("a3", owner, "a")])
        await quiet()
        clock.advance(5)
        await quiet()
        assert batches == []
        lanes.done(held)
        await quiet()
        assert batches == [["a1", "a2"]]
        clock.advance(1)
        await quiet()
        assert batches == [["a1", "a2"], ["a3"]]


# -- lanes -----------------------------------------------------------------------------------------------------------


def test_a_key_always_goes_to_the_same_lane():
    lanes, owner = filled(lanes=3)
    for round_ in range(5):
        lanes.put_nowait([message((key, round_), owner, key) for key in range(20)])
    seen = [{each.lane for each in lanes.take_nowait(200, lane)} for lane in range(3)]
    assert set.union(*seen) == set(range(20))
    assert sum(map(len, seen)) == 20
    assert all(seen)


async def test_each_taker_is_woken_for_its_own_lane():
    lanes, owner = filled(lanes=2)
    taken: dict[int, list] = {0: [], 1: []}

    async def take(lane):
        while run := await lanes.take(9, lane):
            taken[lane] += [each.lane for each in run]
            lanes.done(run)

    async with create_task_group() as tasks:
        tasks.start_soon(take, 0)
        tasks.start_soon(take, 1)
        await quiet()
        for key in (0, 1, 2, 3):
            lanes.put_nowait([message(key, owner, key)])
            await quiet()
        lanes.close()
    assert taken == {0: [0, 2], 1: [1, 3]}


async def test_resizing_wakes_the_takers_of_the_lanes_that_messages_move_to():
    lanes, _ = filled(0, 1, 2, 3, lanes=1)
    taken = []

    async def take():
        taken.extend(await lanes.take(9, 1))

    lanes.resize(2)
    async with running(take):
        assert bodies(taken) == ["11", "33"]
        lanes.resize(1)
        assert bodies(lanes.take_nowait(9)) == ["00", "22"]


def test_resizing_keeps_what_is_parked_behind_its_holder():
    lanes, _ = filled("a", "a", "a")
    held = lanes.take_nowait(1)
    assert lanes.take_nowait(1) == []
    lanes.resize(4)
    assert [lanes.take_nowait(9, lane) for lane in range(4)] == [[], [], [], []]
    lanes.done(held)
    assert [body for lane in range(4) for body in bodies(lanes.take_nowait(9, lane))] == ["a1", "a2"]


# -- giving a key back to its broker ---------------------------------------------------------------------------------


def test_with_a_message_all_that_waits_of_its_key_goes_back_and_other_keys_stay():
    lanes, owner = filled("a", "a", "b", "a", "c", "a")
    first, second, _ = lanes.take_nowait(3)
    assert bodies(lanes.take_nowait(1)) == ["c4"]
    first.receipt.give_back()
    lanes.abandon(first)
    assert owner.outcomes == {"a0": "RETURNED", "a3": "RETURNED"}
    lanes.put_back([second])
    assert lanes.take_nowait(9) == []
    assert owner.outcomes.keys() == {"a0", "a1", "a3", "a5"}
    assert {receipt.outcome for receipt in owner} == {Outcome.RETURNED}
    assert len(lanes) == 0
    assert lanes.held == 2


def test_what_comes_later_of_a_key_given_back_goes_back_too():
    lanes, owner = filled("a", None)
    (first,) = lanes.take_nowait(1)
    lanes.abandon(first)
    lanes.put_nowait([message("late", owner, "a"), message("other", owner, "b")])
    assert bodies(lanes.take_nowait(9)) == ["None1", "other"]
    assert owner.outcomes == {"late": "RETURNED"}


def test_a_message_without_a_key_goes_back_alone():
    lanes, owner = filled(None, None)
    (first,) = lanes.take_nowait(1)
    lanes.abandon(first)
    assert lanes.held == 0
    assert bodies(lanes.take_nowait(9)) == ["None1"]
    assert not owner


async def test_takers_are_told_when_giving_back_has_drained_it():
    lanes, _ = filled("a", "a", "a")
    (first,) = lanes.take_nowait(1)

    async with create_task_group() as tasks:
        tasks.start_soon(lanes.take, 9)
        tasks.start_soon(lanes.take, 9)
        await quiet()
        lanes.close()
        await quiet()
        lanes.abandon(first)
    assert lanes.drained


async def test_giving_back_makes_room_for_those_who_wait_to_put():
    owner, lanes = Completed(), Lanes(2)
    lanes.put_nowait([message("a0", owner, "a")])
    (first,) = lanes.take_nowait(1)
    lanes.put_nowait([message("a1", owner, "a"), message("a2", owner, "a")])
    assert lanes.take_nowait(2) == []
    late = [message("b", owner, "b")]
    async with running(lambda: lanes.put(late)):
        assert late
        lanes.abandon(first)
        await quiet()
        assert not late
