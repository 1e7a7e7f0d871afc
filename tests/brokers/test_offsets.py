"""The map of incomplete offsets against a model of it: nothing is lost, and nothing that is done comes again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kafka.maps import LIMIT, decode
from engine.kafka.offsets import CROWDED, Offsets


def test_the_position_is_the_lowest_incomplete_offset() -> None:
    offsets = Offsets(10)
    assert offsets.position == 10
    offsets.fetched([10, 11, 12, 13])
    assert offsets.position == 10
    offsets.complete(11)
    offsets.complete(13)
    assert offsets.position == 10
    offsets.complete(10)
    assert offsets.position == 12


def test_it_is_one_more_than_the_highest_complete_offset_and_not_than_the_highest_fetched() -> None:
    offsets = Offsets(0)
    offsets.fetched([0, 1, 2])
    for offset in (2, 0, 1):
        offsets.complete(offset)
    assert offsets.position == 3
    offsets.fetched([7, 9])
    assert offsets.position == 7
    offsets.complete(9)
    offsets.complete(7)
    assert offsets.position == 10


def test_what_is_complete_above_the_position_does_not_come_again() -> None:
    before = Offsets(100)
    before.fetched(range(100, 110))
    for offset in (101, 102, 105, 109):
        before.complete(offset)
    after = Offsets(before.position, before.metadata())
    assert list(after.fetched(range(100, 104))) == [100, 103]
    assert list(after.fetched(range(104, 115))) == [104, 106, 107, 108, 110, 111, 112, 113, 114]


def test_one_slow_offset_costs_a_few_bytes_however_many_are_complete_above_it() -> None:
    offsets = Offsets(0)
    offsets.fetched(range(1_000_000))
    for offset in range(1, 1_000_000):
        offsets.complete(offset)
    assert len(offsets.metadata()) < 30
    assert not offsets.crowded
    assert list(Offsets(0, offsets.metadata()).fetched(range(1_000_001))) == [0, 1_000_000]


def test_every_other_offset_is_told_in_bits() -> None:
    offsets = Offsets(0)
    offsets.fetched(range(8000))
    for offset in range(1, 8000, 2):
        offsets.complete(offset)
    assert offsets.metadata().startswith("h2b:")
    assert list(Offsets(0, offsets.metadata()).fetched(range(8000))) == list(range(0, 8000, 2))


def test_a_crowded_partition_is_to_take_nothing_more_until_its_lowest_is_complete() -> None:
    offsets, at = Offsets(0), 0
    while not offsets.crowded:
        offsets.fetched(range(at, at + 300))
        for each in range(at + 1, at + 300, 3):
            offsets.complete(each)
        at += 300
        assert at < 40_000
    assert CROWDED - 80 < len(decoded_part(offsets.metadata())) < LIMIT
    for offset in range(0, 6000, 3):
        offsets.complete(offset)
        offsets.complete(offset + 2)
    assert not offsets.crowded


def test_a_map_that_is_too_long_is_left_out_and_nothing_is_lost() -> None:
    offsets = Offsets(0)
    offsets.fetched(range(60_000))
    for offset in range(1, 60_000, 3):
        offsets.complete(offset)
    assert offsets.crowded
    assert offsets.metadata() == ""
    assert offsets.position == 0
    assert list(Offsets(0, "").fetched([0, 1, 2])) == [0, 1, 2]


def test_each_delivery_is_counted_over_restarts() -> None:
    offsets = Offsets(0)
    for attempt in (1, 2, 3):
        offsets.fetched([0, 1])
        assert offsets.attempt(0) == attempt
        offsets = Offsets(offsets.position, offsets.metadata())
    offsets.fetched([0, 1, 2])
    assert [offsets.attempt(each) for each in (0, 1, 2)] == [4, 4, 1]


def test_the_numbers_of_attempts_are_the_first_to_be_left_out() -> None:
    offsets = Offsets(0)
    offsets.fetched(range(40))
    for offset in range(1, 40, 2):
        offsets.complete(offset)
        offsets.give_back(offset - 1) if offset % 4 == 1 else None
    whole, part = offsets.metadata(), offsets.metadata(limit=16)
    assert whole.startswith(part)
    assert decode(part, 0).incomplete == decode(whole, 0).incomplete == list(range(0, 40, 2))
    assert decode(part, 0).attempts == {}
    assert set(decode(whole, 0).attempts) == set(range(0, 40, 2))
    assert offsets.metadata(limit=5) == ""


def test_what_is_given_back_is_incomplete_and_counted() -> None:
    offsets = Offsets(0)
    offsets.fetched([0, 1])
    assert offsets.give_back(0)
    assert not offsets.give_back(0)
    assert not offsets.complete(0)
    offsets.complete(1)
    assert (offsets.position, offsets.held) == (0, 0)
    offsets.again(0)
    assert (offsets.attempt(0), offsets.held) == (2, 1)
    offsets.complete(0)
    assert (offsets.position, offsets.metadata()) == (2, "")


def test_an_offset_that_was_compacted_away_meanwhile_is_not_waited_for() -> None:
    before = Offsets(0)
    before.fetched(range(10))
    for offset in (1, 2, 4, 9):
        before.complete(offset)
    after = Offsets(0, before.metadata())
    assert list(after.fetched([0, 4, 7, 12])) == [0, 7, 12]
    for offset in (0, 7, 12):
        after.complete(offset)
    assert after.position == 13


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "somebody else's",
        '{"version": 1}',
        "h1r:AQE=",
        "h2r:",
        "h2r:5:!!!",
        "h2r:5:gA==",
        "h2b:5:",
        "h2r:5:AQE=:gA==",
        "h2r:5:////////fw==",
        "h2r:6:AQE=",
        ":::",
    ],
)
def test_foreign_or_damaged_metadata_says_nothing(metadata: str) -> None:
    offsets = Offsets(5, metadata)
    assert offsets.position == 5
    assert list(offsets.fetched([5, 6])) == [5, 6]


@given(st.text(max_size=60), st.integers(0, 2**62))
def test_no_metadata_makes_it_fail(text: str, position: int) -> None:
    for metadata in (
        text,
        *(f"{kind}:{position:x}:{rest}" for kind in ("h2r", "h2b") for rest in (text, f"AQE=:{text}")),
    ):
        assert Offsets(position, metadata).position >= position


@given(st.integers(0, 2**62), st.sets(st.integers(0, 400), max_size=120), st.integers(0, 400))
def test_a_map_is_read_as_it_was_written(position: int, complete: set[int], count: int) -> None:
    offsets = Offsets(position)
    offsets.fetched(range(position, position + count + 1))
    for each in complete:
        offsets.complete(position + each)
    known = decode(offsets.metadata(), offsets.position)
    incomplete = [position + each for each in range(count + 1) if each not in complete]
    assert list(known.incomplete) == incomplete
    if incomplete:
        assert known.attempts == dict.fromkeys(incomplete, 1)


def decoded_part(metadata: str) -> str:
    """The map without the numbers of attempts."""
    return ":".join(metadata.split(":")[:3])


class Model:
    """A log with gaps, read by one engine after another; the truth is a plain set of all that is done."""

    def __init__(self, start: int, gaps: set[int]) -> None:
        self.log = [offset for offset in range(start, start + 3000) if offset - start not in gaps]
        self.done: set[int] = set()
        self.committed = (start, "")
        self.sure: set[int] = set()
        self.restart()

    def restart(self) -> None:
        self.offsets = Offsets(*self.committed)
        self.next = self.committed[0]
        self.known = self.sure.copy()
        self.held: set[int] = set()
        self.back: set[int] = set()

    def fetch(self, random: Random) -> None:
        ahead = [offset for offset in self.log if offset >= self.next][: random.randint(1, 300)]
        if not ahead:
            return
        self.next = ahead[-1] + 1
        handed = self.offsets.fetched(ahead)
        assert not set(handed) & self.sure, "what a commit told to be done came again"
        assert set(ahead) - self.done <= set(handed), "something was lost"
        self.held.update(handed)

    def complete(self, random: Random) -> None:
        for offset in random.sample(sorted(self.held), random.randint(0, len(self.held))):
            assert self.offsets.complete(offset)
            assert not self.offsets.complete(offset)
            self.held.remove(offset)
            self.done.add(offset)
            self.known.add(offset)

    def complete_all(self, random: Random) -> None:
        """A run in one call, among them some that were finished before, or handed out by nobody."""
        done = random.sample(sorted(self.held), random.randint(0, len(self.held)))
        strange = [*random.sample(sorted(self.done), min(len(self.done), random.randint(0, 2))), self.next + 5]
        stale = [offset for offset in strange if offset not in self.held and random.random() < 0.3]
        assert self.offsets.complete_all([*done, *stale]) == len(done)
        self.held.difference_update(done)
        self.done.update(done)
        self.known.update(done)

    def give_back(self, random: Random) -> None:
        for offset in random.sample(sorted(self.held), min(3, len(self.held))):
            before = self.offsets.attempt(offset)
            assert self.offsets.give_back(offset)
            assert self.offsets.attempt(offset) == before + 1
            self.held.remove(offset)
            self.back.add(offset)

    def hand_out_again(self, random: Random) -> None:
        for offset in self.back:
            self.offsets.again(offset)
        self.held |= self.back
        self.back.clear()

    def commit(self, random: Random) -> None:
        self.committed = (self.offsets.position, self.offsets.metadata())
        told = self.committed[1] or not self.held | self.back
        self.sure = self.known.copy() if told else {each for each in self.known if each < self.committed[0]}

    def crash(self, random: Random) -> None:
        self.restart()

    def check(self) -> None:
        position = self.offsets.position
        assert position >= self.committed[0]
        assert all(offset in self.done for offset in self.log if offset < position)
        assert position in self.held | self.back or position <= max([self.committed[0], *(at + 1 for at in self.done)])
        assert self.offsets.held == len(self.held)
        assert len(self.offsets.metadata()) <= LIMIT


STEPS = ("fetch", "complete", "complete_all", "give_back", "hand_out_again", "commit", "crash")


@given(
    st.integers(0, 2**60),
    st.sets(st.integers(0, 600), max_size=30),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**30)), max_size=40),
)
def test_nothing_is_lost_and_nothing_done_comes_again(start: int, gaps: set[int], steps: list[tuple[str, int]]) -> None:
    model = Model(start, gaps)
    for step, seed in steps:
        getattr(model, step)(Random(seed))
        model.check()


def test_a_map_that_was_carried_to_another_position_says_nothing() -> None:
    before = Offsets(0)
    before.fetched(range(10))
    before.complete(5)
    carried = Offsets(3, before.metadata())
    assert list(carried.fetched(range(3, 10))) == list(range(3, 10))
