"""What a screen shows, of snapshots."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.rates import BAR, Rates, bar, count, fill, seconds, state, steps


def stage(**changes: Any) -> dict[str, Any]:
    idle = {
        "topology": "shop",
        "stage": "check",
        "handled": 0,
        "depth": 0,
        "capacity": 10,
        "connected": True,
        "paused": False,
        "busy": 0,
        "health": None,
    }
    return {**idle, **changes}


def test_a_rate_is_what_was_handled_between_two_snapshots() -> None:
    rates = Rates()
    rates.add({"stages": [stage(handled=100)]}, 10.0)
    assert rates.of(stage()) == 0
    rates.add({"stages": [stage(handled=150)]}, 12.0)
    assert rates.of(stage()) == 25


def test_an_engine_started_anew_has_no_rate_below_zero() -> None:
    rates = Rates()
    rates.add({"stages": [stage(handled=100)]}, 10.0)
    rates.add({"stages": [stage(handled=5)]}, 11.0)
    assert rates.of(stage()) == 0


def test_a_stage_that_is_gone_is_forgotten() -> None:
    rates = Rates()
    rates.add({"stages": [stage()]}, 10.0)
    rates.add({"stages": [stage(handled=1)]}, 11.0)
    rates.add({"stages": []}, 12.0)
    assert not rates.before
    assert not rates.rates


@given(st.floats(-1, 2))
def test_a_bar_is_always_as_wide(share: float) -> None:
    assert len(bar(share)) == BAR


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_fuller_has_no_shorter_bar(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert bar(less).count("█") <= bar(more).count("█")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.25, "0.2"), (7, "7"), (999, "999"), (12_345, "12.3k"), (4_500_000, "4.5M"), (999_999_999, "1.0G")],
)
def test_a_number_is_short(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0005, "500 µs"), (0.0123, "12 ms"), (3.44, "3.4 s"), (300, "5 min")]
)
def test_a_duration_is_short(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "idle"),
        ({"busy": 1}, "busy"),
        ({"depth": 10}, "full"),
        ({"paused": True, "depth": 10}, "paused"),
        ({"health": {"stalled": False, "waiting_for": "retry"}}, "waits: retry"),
        ({"health": {"stalled": True, "waiting_for": "handler"}, "paused": True}, "stalled: handler"),
        ({"connected": False, "health": {"stalled": True, "waiting_for": "broker"}}, "no broker"),
    ],
)
def test_the_gravest_thing_is_said(changes: dict[str, Any], word: str) -> None:
    assert state(stage(**changes))[0] == word


@given(st.integers(1, 2000))
def test_a_pool_steps_up_by_a_tenth_and_never_below_one(workers: int) -> None:
    assert steps(workers, up=True) > workers
    assert 1 <= steps(workers, up=False) <= workers


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_mailbox_is_full_at_most(depth: int, capacity: int) -> None:
    assert 0 <= fill(stage(depth=depth, capacity=capacity)) <= 1
