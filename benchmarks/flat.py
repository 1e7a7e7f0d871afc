"""Whether a message costs the same whatever stands beside it and has gone before: `python -m benchmarks.flat`.

The shapes take turns; each figure is the median over the rounds of the ratio to the plain one in the same round. The
watch is the process's own time, over the last messages that a handler sees: what is set up once, a thousand stages for
instance, and what a key costs the first time, is left out. `python -m benchmarks.engine --flat N` watches the memory.
"""

import gc
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.in_process import BODY, Order, fill, plain
from engine.collector import set_for_streams
from headrace import Engine, Memory, Message, Topology

WATCHED = 100_000
"""Messages that the watch runs over, the last of each run."""
MANY = 1_000_000
"""Keys that are seen at most; as many messages go through with fewer of them, for a million weigh by themselves."""
SETTLED = 0.5
"""Seconds that the stages have to start, before there is anything to do."""
FIRST, EACH = 100_000, 1_000_000
"""When the memory is looked at: after so many messages, then after each so many."""
MOST = 1.15
"""A shape may cost so many times the plain one before it is pointed at."""


def shaped(memory: Memory, count: int, watch: list[float], beside: int, **options: Any) -> Topology:
    """One subscriber and publisher, with so many idle stages beside them; notes when the watched messages were seen."""
    topology = Topology("flat")
    seen = 0

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), **options)
    async def handle(order: Order) -> Order:
        nonlocal seen
        seen += 1
        if seen == count or seen == count - WATCHED:
            watch.append(process_time())
        return order

    for number in range(beside):

        async def idle(order: Order) -> None: ...

        topology.subscriber(memory.topic(f"idle-{number}"), name=f"idle-{number}")(idle)
    return topology


def cost(beside: int = 0, keys: int = 0, **options: Any) -> float:
    """Seconds of CPU a message, once so many keys have been seen, with so many idle stages beside."""
    count = MANY + WATCHED if keys else 2 * WATCHED
    if keys:
        options["key"] = lambda message: message.offset % keys
    memory, watch = Memory(capacity=count), list[float]()
    topology = shaped(memory, count, watch, beside, **options)

    async def main() -> None:
        async with memory, Engine(topology.graph()):  # its end drains it
            await anyio.sleep(SETTLED)
            await fill(memory, count)
            gc.collect()
            while len(watch) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)

    anyio.run(main)
    began, ended = watch
    return (ended - began) / WATCHED


PLAIN = "plain"
SHAPES: dict[str, tuple[str, Callable[[], float]]] = {
    PLAIN: (PLAIN, cost),
    **{f"{n:,} idle stages beside": (PLAIN, partial(cost, beside=n)) for n in (1, 100, 1000)},
    **{f"mailbox {n:,}": (PLAIN, partial(cost, mailbox=n)) for n in (64, 1024, 65536)},
    **{f"{n:,} keys seen": ("1,000 keys seen", partial(cost, keys=n)) for n in (1_000, 100_000, MANY)},
}
"""By name: which shape a shape is held against, and how it is run."""


def measure(rounds: int, console: Console) -> dict[str, list[float]]:
    """All shapes in turn, round by round: seconds of CPU a message."""
    found: dict[str, list[float]] = {name: [] for name in SHAPES}
    for _ in track(range(rounds), description="rounds", console=console, transient=True):
        for name, (_, run) in SHAPES.items():
            found[name].append(run())
    return found


def drawn(found: dict[str, list[float]]) -> Table:
    """The shapes with their costs, and the ratio to what each is held against."""
    table = Table(title=f"the last {WATCHED:,} messages, median of {len(found[PLAIN])}")
    for column in ("", "µs CPU a message", "ratio", "min", "max", "to", ""):
        table.add_column(column, justify="right" if column in ("µs CPU a message", "ratio", "min", "max") else "left")
    for name, (other, _) in SHAPES.items():
        ratios = [mine / theirs for mine, theirs in zip(found[name], found[other], strict=True)]
        numbers = (f"{median(found[name]) * 1e6:.2f}", f"{median(ratios):.2f}", f"{min(ratios):.2f}")
        mark = "" if median(ratios) <= MOST else "NOT FLAT"
        table.add_row(name, *numbers, f"{max(ratios):.2f}", "" if name == other else other, mark)
    return table


# -- memory ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """After so many messages: megabytes that the process holds, and messages a second since the look before."""

    messages: int
    megabytes: float
    rate: float


def growth(total: int, console: Console) -> list[Look]:
    """What the process holds while that many messages pass: after the first 100,000, each million, and at the end."""
    memory = Memory(capacity=10_000)
    topology = plain(memory, workers=4)
    looks: list[Look] = []

    async def feed(engine: Engine) -> None:
        sink = memory.topic("in").sink()
        await sink.open()
        since, before = perf_counter(), 0
        for start in track(range(0, total, 1000), description="growth", console=console, transient=True):
            run = [Message(raw=BODY) for _ in range(1000)]
            for message in run:
                message.destination = "in"
            await sink.publish(run)
            if (fed := start + 1000) == FIRST or fed % EACH == 0 or fed >= total:
                rate = (fed - before) / (perf_counter() - since)
                gc.collect()
                looks.append(Look(fed, resident(), rate))
                since, before = perf_counter(), fed
        engine.drain()

    async def main() -> None:
        engine = Engine(topology.graph())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await engine.started.wait()
            tasks.start_soon(feed, engine)

    anyio.run(main)
    return looks


def watched(looks: list[Look]) -> Table:
    """The looks, one below the other."""
    grown = looks[-1].megabytes - looks[0].megabytes
    table = Table(title=f"memory: {grown:+.1f} MB between the first and the last of these")
    for column in ("messages", "MB", "messages/s"):
        table.add_column(column, justify="right")
    for look in looks:
        table.add_row(f"{look.messages:,}", f"{look.megabytes:.1f}", f"{look.rate:,.0f}")
    return table


def resident() -> float:
    """Megabytes that the process holds now."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(rounds: Annotated[int, typer.Option(help="Rounds; each figure is a median over them.", min=1)] = 5) -> None:
    """Measure what a message costs beside idle stages, after many keys, and with mailboxes of many sizes."""
    set_for_streams()
    Console().print(drawn(measure(rounds, Console(stderr=True))))


if __name__ == "__main__":
    typer.run(main)
