"""From measurements to figures: medians, ratios, ranks, and what has become of them since. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from pydantic import BaseModel

from benchmarks.contenders import BEST
from benchmarks.probe import Latency
from benchmarks.rounds import Measurement

FALL = 0.2
"""By how much of itself a ratio may be below the stored one before it is pointed at."""


class Figure(BaseModel):
    """One contender at one work on one broker. Rates in messages a second, CPU in seconds a message, memory in MB."""

    broker: str
    work: str
    contender: str
    messages: int
    rounds: int
    rate: float
    least: float
    most: float
    rates: dict[int, float] = {}
    """By round, of those that came to their end."""
    ratio: float | None
    """To the best loop by hand, the median over the rounds of the ratio within each."""
    rank: int | None
    """From 1, among those who lost nothing, kept the order asked for, and came to their end."""
    cpu: float
    server_cpu: float | None
    memory: float
    lost: int
    twice: int
    disordered: int
    failure: str = ""
    half_load: Latency | None = None
    idle: Latency | None = None

    @property
    def honest(self) -> bool:
        """Whether it may be ranked."""
        return not (self.lost or self.disordered or self.failure)


def figures(measured: Iterable[Measurement]) -> list[Figure]:
    """The figures of one work on one broker, in the order in which the contenders first came."""
    by_name: dict[str, list[Measurement]] = defaultdict(list)
    for each in measured:
        by_name[each.contender].append(each)
    ideal = {each.round: each.rate for each in by_name.get(BEST, ()) if not each.failure and each.rate}
    found = [_figure(runs, ideal) for runs in by_name.values()]
    ranked = sorted((each for each in found if each.honest), key=lambda each: -(each.ratio or each.rate))
    for place, figure in enumerate(ranked, 1):
        figure.rank = place
    return found


def _figure(runs: Sequence[Measurement], ideal: dict[int, float]) -> Figure:
    first = runs[0]
    rates = [each.rate for each in runs if not each.failure] or [0.0]
    ratios = [each.rate / ideal[each.round] for each in runs if not each.failure and each.round in ideal]
    servers = [each.server_cpu for each in runs if each.server_cpu is not None]
    return Figure(
        broker=first.broker,
        work=first.work,
        contender=first.contender,
        messages=max(each.messages for each in runs),
        rounds=len(runs),
        rate=median(rates),
        least=min(rates),
        most=max(rates),
        rates={each.round: each.rate for each in runs if not each.failure},
        ratio=median(ratios) if ratios else None,
        rank=None,
        cpu=median(each.cpu for each in runs),
        server_cpu=median(servers) if servers else None,
        memory=max(each.memory for each in runs),
        lost=sum(each.lost for each in runs),
        twice=sum(each.twice for each in runs),
        disordered=sum(each.disordered for each in runs),
        failure=next((each.failure for each in runs if each.failure), ""),
    )


def against(mine: Figure, other: Figure) -> float | None:
    """How many times as fast: the median of the ratios within each round; None where one of them has no true rate."""
    if not (mine.honest and other.honest):
        return None
    ratios = [rate / other.rates[turn] for turn, rate in mine.rates.items() if other.rates.get(turn)]
    return median(ratios) if ratios else None


def later(mine: Latency, other: Latency) -> float | None:
    """Seconds by which one p99 is above the other: the median of the differences within each round."""
    found = [p99 - other.by_round[turn] for turn, p99 in mine.by_round.items() if turn in other.by_round]
    return median(found) if found else None


@dataclass(frozen=True, slots=True)
class Change:
    """A ratio beside the stored one; `before` is None where none is stored."""

    figure: Figure
    before: float | None

    @property
    def fell(self) -> bool:
        """Whether it is lower by more than `FALL`, or is none any more."""
        if self.before is None:
            return False
        return self.figure.ratio is None or not self.figure.honest or self.figure.ratio < (1 - FALL) * self.before


def changes(now: Iterable[Figure], stored: Iterable[Figure]) -> list[Change]:
    """Each figure beside the stored one of the same contender, work and broker; the best loop itself is left out."""
    before = {(each.broker, each.work, each.contender): each.ratio for each in stored}
    return [
        Change(each, before.get((each.broker, each.work, each.contender))) for each in now if each.contender != BEST
    ]
