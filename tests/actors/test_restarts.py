"""`Restarts` and `affected`: what a supervisor decides, without acting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Restarts, Supervision, affected

gaps = st.lists(st.floats(0, 20), min_size=1, max_size=40)
policies = st.builds(
    Supervision,
    intensity=st.integers(0, 5),
    period=st.floats(0.5, 30),
    backoff=st.floats(0, 1),
    cap=st.floats(0, 10),
    healthy=st.floats(0, 40),
)


def times(between: list[float]) -> list[float]:
    now, made = 100.0, []
    for gap in between:
        now += gap
        made.append(now)
    return made


@given(policies, gaps)
def test_gives_up_when_there_were_more_crashes_in_the_window_than_the_intensity(policy, between):
    restarts, crashes = Restarts(policy), []
    for now in times(between):
        crashes.append(now)
        in_window = sum(then > now - policy.period for then in crashes)
        gives_up = restarts.crashed(now) is None
        assert gives_up == (in_window > policy.intensity)


@given(policies, gaps, st.floats(0, 1))
def test_waits_between_half_and_all_of_the_doubled_backoff(policy, between, luck):
    restarts, streak, last = Restarts(policy), 0, None
    for now in times(between):
        wait = restarts.crashed(now, luck)
        if wait is None:
            return
        if last is not None and now - last >= policy.healthy:
            streak = 0
        longest = min(policy.backoff * 2**streak, policy.cap)
        assert longest / 2 - 1e-12 <= wait <= longest
        assert wait == pytest.approx(longest * (1 - luck / 2))
        streak, last = streak + 1, now


def test_the_backoff_starts_again_after_a_healthy_spell():
    restarts = Restarts(Supervision(intensity=100, backoff=1, cap=60, healthy=30))
    assert [restarts.crashed(now) for now in (0, 1, 2, 31.9, 62, 63)] == [1, 2, 4, 8, 1, 2]


def test_a_thousand_crashes_do_not_overflow():
    restarts = Restarts(Supervision(intensity=5000, backoff=1, cap=5, healthy=10))
    assert {restarts.crashed(now) for now in range(2000)} == {1, 2, 4, 5}


def test_an_intensity_of_zero_gives_up_at_once():
    assert Restarts(Supervision(intensity=0)).crashed(0) is None


@given(st.lists(st.integers(), min_size=1, unique=True), st.data())
def test_each_strategy_restarts_its_children_in_their_order(children, data):
    crashed = data.draw(st.sampled_from(children))
    at = children.index(crashed)
    assert affected("one_for_one", children, crashed) == [crashed]
    assert affected("one_for_all", children, crashed) == children
    assert affected("rest_for_one", children, crashed) == children[at:]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"strategy": "none"}, "expected one_for_one, one_for_all or rest_for_one"),
        ({"intensity": -1}, r"Supervision\(intensity=-1\): expected a number, at least 0"),
        ({"intensity": "x"}, r"Supervision\(intensity='x'\): expected a number, at least 0"),
        ({"cap": None}, r"Supervision\(cap=None\): expected a number, at least 0"),
        ({"period": 0}, r"Supervision\(period=0\): expected seconds, more than 0"),
        ({"period": float("nan")}, r"Supervision\(period=nan\)"),
        ({"backoff": -0.1}, r"Supervision\(backoff=-0.1\)"),
        ({"cap": -1}, r"Supervision\(cap=-1\)"),
        ({"healthy": -1}, r"Supervision\(healthy=-1\)"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Supervision(**wrong)
