"""What we hold ourselves to, and whether it does: each goal beside what was measured. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contenders import BEST
from benchmarks.figures import Figure, against, later

HEADRACE, SAFE, BATCH, ALL = "headrace", "faststream-safe", "faststream-batch", "headrace-all"
FETCH = "best-fetch"
"""On NATS the goals are held against this one: the best loop on a pull consumer, which is what the engine reads by."""
LATER = 0.001
"""Seconds that an idle pipeline may add at p99 to what the best loop takes."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One contender against another at one work on one broker: at least so many times as fast.

    Without `least` it is about the idle pipeline: at most `LATER` behind.
    """

    broker: str
    work: str
    contender: str
    other: str
    least: float | None

    @property
    def says(self) -> str:
        """In a few words."""
        of = f"{self.contender} / {self.other}"
        return of if self.least is not None else f"idle, p99: {self.contender} − {self.other}"

    @property
    def wanted(self) -> str:
        """What is to be reached."""
        return f"at most {LATER * 1e3:g} ms" if self.least is None else f"at least {self.least:g}"


@dataclass(frozen=True, slots=True)
class Held:
    """A goal and what was measured: a ratio or seconds; None where that was not measured, or is worth nothing."""

    goal: Goal
    measured: float | None

    @property
    def holds(self) -> bool | None:
        """Whether it is reached; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= LATER if self.goal.least is None else self.measured >= self.goal.least

    @property
    def shown(self) -> str:
        """What was measured."""
        if self.measured is None:
            return "–"
        return f"{self.measured * 1e3:+.1f} ms" if self.goal.least is None else f"{self.measured:.2f}"

    @property
    def word(self) -> str:
        """Whether it holds, as a word."""
        return {True: "holds", False: "missed", None: "not measured"}[self.holds]


def _goals(work: str, contender: str, other: str, least: Mapping[str, float]) -> list[Goal]:
    return [Goal(broker, work, contender, other, ratio) for broker, ratio in least.items()]


_EACH = ("redis", "nats", "rabbitmq", "kafka")
GOALS: Sequence[Goal] = (
    *_goals("bridge", HEADRACE, BEST, {"redis": 1.0, "nats": 1.0, "rabbitmq": 0.95, "kafka": 0.9}),
    *_goals("bridge", HEADRACE, FETCH, {"nats": 2.5}),
    *_goals("consume", HEADRACE, BEST, dict.fromkeys(_EACH, 0.85)),
    *_goals("consume", HEADRACE, FETCH, {"nats": 3.0}),
    *_goals("io-100", HEADRACE, BEST, dict.fromkeys(_EACH, 0.95)),
    *_goals("bridge", HEADRACE, SAFE, {"redis": 15.0, "nats": 8.0, "rabbitmq": 1.9, "kafka": 15.0}),
    *_goals("bridge", HEADRACE, BATCH, dict.fromkeys(("redis", "nats", "kafka"), 1.0)),
    *_goals("batch", HEADRACE, BATCH, dict.fromkeys(("redis", "nats", "kafka"), 1.0)),
    *_goals("bridge", ALL, HEADRACE, dict.fromkeys(_EACH, 0.85)),
    *_goals("io-100", ALL, HEADRACE, dict.fromkeys(_EACH, 0.85)),
    *(Goal(broker, "bridge", HEADRACE, BEST, None) for broker in _EACH),
)
"""In the order in which they are shown."""
NAMED = frozenset(goal.work for goal in GOALS)
"""The works that a goal names."""
TIMED = frozenset(name for goal in GOALS if goal.least is None for name in (goal.contender, goal.other))
"""The contenders whose latency a goal names."""


def held(figures: Iterable[Figure]) -> list[Held]:
    """All goals of the brokers and works that were measured, with what came of them."""
    found = {(each.broker, each.work, each.contender): each for each in figures}
    measured = {(broker, work) for broker, work, _ in found}
    return [
        Held(
            goal,
            _measured(
                goal,
                found.get((goal.broker, goal.work, goal.contender)),
                found.get((goal.broker, goal.work, goal.other)),
            ),
        )
        for goal in GOALS
        if (goal.broker, goal.work) in measured
    ]


def _measured(goal: Goal, mine: Figure | None, other: Figure | None) -> float | None:
    if mine is None or other is None or not mine.honest:
        return None
    if goal.least is not None:
        return against(mine, other)
    if mine.idle is None or other.idle is None:
        return None
    return later(mine.idle, other.idle)
