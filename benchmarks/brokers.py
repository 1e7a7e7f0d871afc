"""Headrace beside loops written by hand, on real brokers. `python -m benchmarks.brokers --help`.

*Bridge*: JSON messages of 200 bytes wait at the source; decode, validate, a handler that does nothing, publish on the
same broker, acknowledge after the confirm. *Slow*: the handler waits 10 ms, 100 at once. The contenders take turns on
sources of their own; a ratio is the median over the rounds. The numbers of all messages are counted at the target:
who loses one is no contender.
"""

import json
import platform
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count as numbers
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.loop_kafka import KafkaLoops
from benchmarks.loop_nats import NatsLoops
from benchmarks.loop_rabbitmq import RabbitMQLoops
from benchmarks.loop_redis import RedisLoops
from benchmarks.work import Loops, Order, body, handle, handle_slowly
from engine.collector import set_for_streams
from headrace import Engine, Topology
from tests.servers.__main__ import KINDS
from tests.servers.site import Site

LOOPS: dict[str, Callable[[str], Loops]] = {
    "redis": RedisLoops,
    "nats": NatsLoops,
    "rabbitmq": RabbitMQLoops,
    "kafka": KafkaLoops,
}
TASKS = 100
GOALS = {"bridge": 0.7, "slow": 0.9}
_fresh = numbers(1)


@dataclass(frozen=True, slots=True)
class Figure:
    """One broker and one kind of work: messages a second, medians over the rounds."""

    broker: str
    work: str
    loop: float
    headrace: float
    ratio: float
    least: float
    most: float
    missing: int
    duplicates: int
    goal: float


async def by_headrace(loops: Loops, source: str, target: str, count: int, work: str) -> None:
    """The same work, as a topology."""
    takes, gives = loops.endpoints(source, target)
    topology = Topology("benchmark")
    if work == "bridge":

        @topology.publisher(gives)
        @topology.subscriber(takes)
        async def bridge(order: Order) -> Order:
            return await handle(order)
    else:

        @topology.publisher(gives)
        @topology.subscriber(takes, max_workers=TASKS)
        async def slow(order: Order) -> Order:
            return await handle_slowly(order)

    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        while sum(status.settled for status in engine.status()) < count:  # noqa: ASYNC110 - it tells nobody how far it is
            await anyio.sleep(0.002)
        engine.drain()


async def timed(loops: Loops, count: int, run: Callable[[str, str], Awaitable[None]]) -> tuple[float, list[int]]:
    """Messages a second of one contender on a new source, and the numbers that arrived."""
    number = next(_fresh)
    source, target = f"bench-in-{number}", f"bench-out-{number}"
    await loops.fill(source, target, (body(each) for each in range(count)))
    began = perf_counter()
    await run(source, target)
    seconds = perf_counter() - began
    return count / seconds, await loops.read(target, count)


def measure(loops: Loops, work: str, count: int, rounds: int, told: Callable[[], Any]) -> Figure:
    """Both contenders in turn, round by round."""
    by_hand, by_engine, missing, twice = [], [], 0, 0
    for _ in range(rounds):

        async def hand(source: str, target: str) -> None:
            await (
                loops.bridge(source, target, count) if work == "bridge" else loops.slow(source, target, count, TASKS)
            )

        async def engine(source: str, target: str) -> None:
            await by_headrace(loops, source, target, count, work)

        for run, speeds in ((hand, by_hand), (engine, by_engine)):
            speed, arrived = anyio.run(timed, loops, count, run)
            speeds.append(speed)
            missing += count - len(set(arrived))
            twice += len(arrived) - len(set(arrived))
            told()
    ratios = [mine / other for mine, other in zip(by_engine, by_hand, strict=True)]
    speeds_of = (median(by_hand), median(by_engine))
    return Figure(loops.name, work, *speeds_of, median(ratios), min(ratios), max(ratios), missing, twice, GOALS[work])


@contextmanager
def servers(names: list[str]) -> Iterator[dict[str, str]]:
    """The URLs of servers that run meanwhile."""
    with ExitStack() as stack:
        site = stack.enter_context(Site())
        urls = {}
        for name in names:
            server = site.prepare(KINDS[name])
            server.start()
            urls[name] = server.url
        yield urls


def main(
    only: Annotated[str, typer.Option(help="Brokers, with commas between.")] = ",".join(LOOPS),
    messages: Annotated[int, typer.Option(help="Messages a contender and round.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Rounds; each figure is a median over them.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure Headrace beside loops written by hand on the same clients, in turn, on real servers."""
    set_for_streams()
    names = only.split(",")
    figures = []
    with servers(names) as urls, Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("contenders", total=len(names) * len(GOALS) * rounds * 2)
        for name in names:
            for work in GOALS:
                progress.update(bar, description=f"{name} {work}")
                count = messages if work == "bridge" else messages // 2
                figures.append(measure(LOOPS[name](urls[name]), work, count, rounds, lambda: progress.advance(bar)))
    if as_json:
        print(
            json.dumps({"python": platform.python_version(), "figures": [asdict(each) for each in figures]}, indent=2)
        )
        return
    table = Table(title=f"messages a second, median of {rounds}, {messages:,} messages")
    for column in ("broker", "work", "by hand", "Headrace", "ratio", "min", "max", "goal", "missing", "twice"):
        table.add_column(column, justify="left" if column in ("broker", "work") else "right")
    for each in figures:
        speeds = (
            f"{each.loop:,.0f}",
            f"{each.headrace:,.0f}",
            f"{each.ratio:.2f}",
            f"{each.least:.2f}",
            f"{each.most:.2f}",
        )
        table.add_row(each.broker, each.work, *speeds, f"{each.goal}", str(each.missing), str(each.duplicates))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
