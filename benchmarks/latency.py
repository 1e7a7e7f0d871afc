"""How long messages take: the contenders in turn, round by round, each watched by a probe in another process."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.contenders import Contender
from benchmarks.launch import ChildFailed, child
from benchmarks.probe import Latency, Probed, Task
from benchmarks.rounds import SPARE, Server, Told, stage
from benchmarks.work import Job, Work

IDLE = 300
"""Messages of a round, one after the other."""
HALF = 0.5
"""The share of its rate at which a contender is asked for more than one at once."""
MOST_PACE = 5000.0
"""Messages a second, at most: what the probe itself sends and reads without being late."""


async def latency(server: Server, work: Work, contender: Contender, pace: float, seconds: float) -> Probed | None:
    """Once: idle, and for so many seconds at a pace; None where not all came in time."""
    pace = min(pace, MOST_PACE)
    async with stage(server, 1) as (_, source, targets):
        named = {"broker": server.broker, "url": server.url, "source": source}
        task = Task.model_validate(
            {**named, "target": targets[0], "idle": IDLE, "paced": max(1, int(pace * seconds)), "pace": pace}
        )
        job = Job.model_validate(
            {**named, "contender": contender.name, "work": work.name, "targets": targets, "count": task.total}
        )
        async with (
            child("benchmarks.child", job.model_dump_json()) as working,
            child("benchmarks.probe", task.model_dump_json()) as probing,
        ):
            await working.go()
            limit = 10 * seconds + SPARE
            try:
                found = Probed.model_validate_json(await probing.result(limit))
                await working.result(limit)
            except ChildFailed:
                return None
    return found


async def latencies(
    server: Server,
    work: Work,
    turns: Sequence[tuple[Contender, int, float]],
    seconds: float,
    told: Told,
) -> dict[str, Probed]:
    """Contenders in turn, each so many times and at half of its rate; those that failed once are not in it."""
    found: dict[str, dict[int, Probed]] = defaultdict(dict)
    failed = set()
    for turn in range(max((times for _, times, _ in turns), default=0)):
        for contender, times, rate in turns:
            if turn >= times:
                continue
            told(f"{server.broker} latency: {contender.name}")
            if contender.name not in failed:
                probed = await latency(server, work, contender, HALF * rate, seconds)
                if probed is None:
                    failed.add(contender.name)
                else:
                    found[contender.name][turn] = probed
            told("")
    return {name: typical(runs) for name, runs in found.items() if name not in failed}


def typical(runs: Mapping[int, Probed]) -> Probed:
    """The medians over the rounds."""
    return Probed(
        idle=_median({turn: run.idle for turn, run in runs.items()}),
        half_load=_median({turn: run.half_load for turn, run in runs.items()}),
    )


def _median(runs: Mapping[int, Latency]) -> Latency:
    return Latency(
        p50=median(run.p50 for run in runs.values()),
        p99=median(run.p99 for run in runs.values()),
        pace=median(run.pace for run in runs.values()),
        p99s={turn: run.p99 for turn, run in runs.items()},
    )
