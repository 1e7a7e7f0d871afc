"""What we hold ourselves to: which ratio is looked at, and when it holds."""

from typing import Any

import pytest

from benchmarks import contenders
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Figure, against, figures
from benchmarks.goals import GOALS, NAMED, held
from benchmarks.latency import typical
from benchmarks.probe import Latency, Probed
from benchmarks.rounds import Measurement
from benchmarks.work import WORKS


def measured(rates: dict[str, list[float]], work: str = "bridge", **more: Any) -> list[Figure]:
    return figures(
        Measurement(broker="nats", work=work, contender=name, round=turn, messages=100, rate=rate, **more)
        for name, found in rates.items()
        for turn, rate in enumerate(found)
    )


def words(found: list[Figure]) -> dict[str, tuple[str, str]]:
    return {each.goal.says: (each.shown, each.word) for each in held(found)}


def test_every_goal_is_about_contenders_and_works_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "find_spec", lambda name: name)  # whether or not it is installed here
    for goal in GOALS:
        for name in (goal.contender, goal.other):
            assert CONTENDERS[name].cannot(goal.broker, WORKS[goal.work]) == ""
    assert set(WORKS) - NAMED == {"io-1", "io-10", "keyed", "fanout", "in-process"}


def test_ratios_are_the_median_of_those_within_each_round() -> None:
    mine, other = measured({"headrace": [100.0, 900.0, 30.0], "faststream-safe": [10.0, 300.0, 1.0]})
    assert against(mine, other) == 10.0
    assert words([mine, other])["headrace / faststream-safe"] == ("10.00", "holds")


def test_a_goal_that_is_missed_is_said_to_be_and_one_not_measured_too() -> None:
    found = words(measured({"best-fetch": [100.0], "headrace": [249.0]}))
    assert found["headrace / best-fetch"] == ("2.49", "missed")
    assert found["headrace / faststream-batch"] == ("–", "not measured")
    assert words(measured({"best-fetch": [100.0], "headrace": [250.0]}))["headrace / best-fetch"] == ("2.50", "holds")


def test_what_was_lost_on_the_way_holds_no_goal() -> None:
    assert words(measured({"best": [100.0], "headrace": [900.0]}, lost=1))["headrace / best"] == ("–", "not measured")


@pytest.mark.parametrize(("p99", "word"), [(0.0029, "holds"), (0.0031, "missed")])
def test_idle_it_may_take_a_millisecond_longer(p99: float, word: str) -> None:
    best, mine = measured({"best": [100.0], "headrace": [249.0]})
    best.idle, mine.idle = Latency(p50=0.001, p99=0.002, pace=1), Latency(p50=0.001, p99=p99, pace=1)
    assert words([best, mine])["idle, p99: headrace − best"][1] == word


def test_how_much_later_is_the_median_of_the_differences_within_each_round() -> None:
    best, mine = measured({"best": [100.0], "headrace": [249.0]})
    runs = {"best": (0.001, 0.050, 0.002), "headrace": (0.0015, 0.051, 0.009)}
    best.idle, mine.idle = (
        typical({turn: Probed(idle=each(p99), half_load=each(p99)) for turn, p99 in enumerate(runs[name])}).idle
        for name in ("best", "headrace")
    )
    assert (best.idle.p99, mine.idle.p99) == (0.002, 0.009)
    assert words([best, mine])["idle, p99: headrace − best"] == ("+1.0 ms", "holds")


def each(p99: float) -> Latency:
    return Latency(p50=0.001, p99=p99, pace=1)


def test_goals_of_what_was_not_measured_are_not_spoken_of() -> None:
    assert held(measured({"best": [1.0], "headrace": [1.0]}, work="io-1")) == []
