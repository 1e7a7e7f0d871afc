"""Figures: medians, ratios within a round, who is ranked, and what is said to have fallen."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Change, changes, figures
from benchmarks.rounds import Counted, Measurement, count


def measured(contender: str, turn: int, rate: float, **more: Any) -> Measurement:
    return Measurement(broker="redis", work="bridge", contender=contender, round=turn, messages=100, rate=rate, **more)


def test_a_ratio_is_taken_within_its_round_and_the_median_over_them() -> None:
    rates = {"best": (100.0, 1000.0, 10.0), "headrace": (50.0, 3000.0, 10.0)}
    best, headrace = figures(measured(name, turn, rate) for name in rates for turn, rate in enumerate(rates[name]))
    assert best.ratio == 1.0
    assert (headrace.ratio, headrace.rate, headrace.least, headrace.most) == (1.0, 50.0, 10.0, 3000.0)


def test_who_loses_is_marked_and_not_ranked() -> None:
    found = figures(
        [
            measured("best", 0, 100),
            measured("faststream", 0, 900, lost=1),
            measured("headrace", 0, 200, twice=3),
            measured("headrace-key", 0, 800, disordered=2),
            measured("naive", 0, 10),
            measured("naive", 1, 0, failure="not done within 30 s"),
        ]
    )
    ranks = {each.contender: each.rank for each in found}
    assert ranks == {"headrace": 1, "best": 2, "faststream": None, "headrace-key": None, "naive": None}
    assert {each.contender: each.honest for each in found}["faststream"] is False


def test_without_the_best_loop_there_are_no_ratios_and_rates_rank() -> None:
    found = figures([measured("naive", 0, 10), measured("headrace", 0, 20)])
    assert [(each.ratio, each.rank) for each in found] == [(None, 2), (None, 1)]


def test_a_round_in_which_the_best_loop_failed_counts_for_no_ratio() -> None:
    runs = [measured("best", 0, 10), measured("best", 1, 0, failure="gone")]
    runs += [measured("headrace", 0, 20), measured("headrace", 1, 90)]
    assert figures(runs)[1].ratio == 2.0


def test_ids_are_counted_at_each_target_and_in_order_by_customer() -> None:
    assert count(4, [[0, 1, 2, 3], [3, 0, 0]], keyed=False) == Counted(lost=2, twice=1, disordered=0)
    assert count(2001, [[1000, 0, 2000, 1]], keyed=True) == Counted(lost=1997, twice=0, disordered=1)
    assert count(3, [], keyed=True) == Counted(0, 0, 0)


@given(st.permutations(range(200)), st.integers(0, 50))
def test_every_message_that_is_missing_or_twice_is_counted(numbers: list[int], gone: int) -> None:
    arrived = numbers[gone:] + numbers[-7:]
    counted = count(200, [arrived], keyed=False)
    assert (counted.lost, counted.twice) == (gone, 7)


def test_what_fell_by_more_than_a_fifth_is_pointed_at() -> None:
    stored = figures([measured("best", 0, 100), measured("headrace", 0, 200), measured("naive", 0, 10)])
    now = figures(
        [
            measured("best", 0, 10),
            measured("headrace", 0, 15.9),
            measured("naive", 0, 0.81),
            measured("headrace-key", 0, 9),
        ]
    )
    found = {each.figure.contender: each for each in changes(now, stored)}
    assert (found["headrace"].before, found["headrace"].fell) == (2.0, True)
    assert found["naive"].fell is False
    assert found["headrace-key"] == Change(now[3], None)
    assert not found["headrace-key"].fell
    assert "best" not in found


def test_a_contender_that_loses_now_fell_however_fast_it_is() -> None:
    stored = figures([measured("best", 0, 100), measured("headrace", 0, 100)])
    now = figures([measured("best", 0, 100), measured("headrace", 0, 500, lost=1)])
    assert changes(now, stored)[0].fell
