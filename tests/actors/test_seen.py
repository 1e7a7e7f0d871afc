"""`Recent`: a set that forgets by time and by number; checked against the plainest thing that could do the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Recent, SeenHere, VirtualClock

pytestmark = pytest.mark.anyio

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 7)),
        st.tuples(st.just("wait"), st.integers(0, 6)),
        st.tuples(st.just("forget"), st.none()),
    ),
    max_size=60,
)


class Model:
    """Every addition ever made, with its time; a question looks through all of them."""

    def __init__(self, window: float, most: int) -> None:
        self.window, self.most = window, most
        self.added: list[tuple[int, float]] = []

    def add(self, member: int, now: float) -> None:
        self.added = [each for each in self.added if each[0] != member] + [(member, now)]

    def has(self, member: int, now: float) -> bool:
        return any(each == member and now - at < self.window for each, at in self.added[-self.most :])


@given(steps, st.integers(1, 10), st.integers(1, 5))
def test_it_has_what_was_added_within_the_window_and_is_among_the_newest(steps, window, most):
    recent, model, now = Recent(window, most), Model(window, most), 0.0
    for what, value in steps:
        if what == "add":
            recent.add([b"%d" % value], now)
            model.add(value, now)
        elif what == "wait":
            now += value
        else:
            recent.forget(now)
        assert [recent.has(b"%d" % each, now) for each in range(8)] == [model.has(each, now) for each in range(8)]
        assert len(recent) <= most


@given(steps, st.integers(1, 10))
def test_what_is_forgotten_takes_no_room(steps, window):
    recent, now = Recent(window, 100), 0.0
    for what, value in steps:
        if what == "add":
            recent.add([b"%d" % value], now)
        elif what == "wait":
            now += value
    recent.forget(now)
    assert len(recent) == sum(recent.has(b"%d" % each, now) for each in range(8))


async def test_in_this_process_it_goes_by_the_clock_of_the_engine():
    clock = VirtualClock()
    seen = SeenHere(10, 100, clock)
    await seen.keep([b"a", b"b"])
    assert await seen.known([b"b", b"c", b"a"]) == [True, False, True]
    clock.advance(10)
    assert await seen.known([b"a", b"b"]) == [False, False]
