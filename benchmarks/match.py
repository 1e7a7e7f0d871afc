"""One broker's match: every work, its contenders in turn, and the latency of those who came through."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import BEST, CONTENDERS, IN_PROCESS, Contender, works_of
from benchmarks.figures import Figure, figures
from benchmarks.goals import NAMED, TIMED
from benchmarks.latency import latencies
from benchmarks.rounds import SPARE, Server, Told, measure, rounds
from benchmarks.store import Table, conditions
from benchmarks.work import WORKS, Work

LATENCY = "bridge"
"""The work whose latency is measured."""
FEWER = 3
"""Rounds of works, and of contenders' latency, that no goal names, at most."""
SHORTER = 0.3
"""How long half load is held in a round, as a share of the time that a contender has there for its rate."""
BESIDE = {"redis": 1.4, "nats": 1.4, "rabbitmq": 1.6, "kafka": 1.6, IN_PROCESS: 1.0}
"""Seconds that a contender takes in a round beside its work: to start, to have its source filled, to be counted."""
WARM_UP = 10_000
"""Messages that a server gets for each second that a contender is measured, before anybody is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds, seconds and messages of each contender in each, and whether latency is."""

    rounds: int
    """Of works that a goal names; of the others `FEWER` at most."""
    seconds: float
    messages: int
    latency: bool

    def rounds_of(self, work: str) -> int:
        """How many rounds a work gets."""
        return self.rounds if work in NAMED else min(self.rounds, FEWER)

    def latency_rounds_of(self, name: str) -> int:
        """How often the latency of a contender is measured: not with each feature again."""
        if not self.latency or (CONTENDERS[name].kind == "headrace" and CONTENDERS[name].setting):
            return 0
        return self.rounds if name in TIMED else min(self.rounds, FEWER)

    def but(self, **changed: Any) -> "Plan":
        """The same with something else."""
        return replace(self, **changed)


def able(broker: str, work: Work, names: Sequence[str]) -> tuple[list[Contender], dict[str, str]]:
    """Who can do a work, and why the others cannot."""
    reasons = {name: CONTENDERS[name].cannot(broker, work) for name in names}
    return [CONTENDERS[name] for name in names if not reasons[name]], {k: why for k, why in reasons.items() if why}


def steps(plan: Plan, broker: str, works: list[str], names: Sequence[str]) -> int:
    """How many times a contender will run."""
    total = 0
    for work in works_of(broker, works):
        contenders = able(broker, work, names)[0]
        total += len(contenders) * plan.rounds_of(work.name)
        if plan.latency and work.name == LATENCY:
            total += sum(plan.latency_rounds_of(each.name) for each in contenders)
    return total


def minutes(plan: Plan, broker: str, works: list[str], names: Sequence[str]) -> float:
    """About how long all of that takes on two cores that nobody else keeps busy."""
    return steps(plan, broker, works, names) * (plan.seconds + BESIDE[broker]) / 60


async def play(
    plan: Plan,
    server: Server,
    works: list[str],
    names: Sequence[str],
    command: str,
    versions: dict[str, str],
    told: Told,
) -> AsyncIterator[Table]:
    """All works on one server, each as soon as it is complete."""
    if server.broker != IN_PROCESS:
        told(f"{server.broker}: warming up")
        await warm_up(server, plan)
    for work in works_of(server.broker, works):
        contenders, left_out = able(server.broker, work, names)
        measured = await rounds(server, work, contenders, plan.rounds_of(work.name), plan.seconds, plan.messages, told)
        kept = figures(measured)
        if plan.latency and work.name == LATENCY:
            await _add_latency(server, plan, work, kept, told)
        under = dict(versions)
        for each in measured:
            under |= each.versions
        yield Table(
            broker=server.broker,
            work=work.name,
            conditions=conditions(command, under),
            figures=kept,
            left_out=left_out,
        )


async def warm_up(server: Server, plan: Plan) -> None:
    """Have the server do some work that nobody measures: Kafka and RabbitMQ compile their code while they run it."""
    messages = min(plan.messages, int(WARM_UP * plan.seconds))
    await measure(server, WORKS["bridge"], CONTENDERS[BEST], -1, max(1, messages), 10 * plan.seconds + SPARE)


async def _add_latency(server: Server, plan: Plan, work: Work, kept: Sequence[Figure], told: Told) -> None:
    """Add to the figures how long messages took; not to those of who loses them."""
    turns = []
    for figure in kept:
        times = plan.latency_rounds_of(figure.contender)
        if figure.honest:
            turns.append((CONTENDERS[figure.contender], times, figure.rate))
        else:
            for _ in range(times):
                told("")
    found = await latencies(server, work, turns, SHORTER * plan.seconds, told)
    for figure in kept:
        if probed := found.get(figure.contender):
            figure.idle, figure.half_load = probed.idle, probed.half_load
