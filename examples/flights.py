"""A month of real departures through one topology, in order per aircraft. Run it: `python examples/flights.py`.

Each departure is validated, kept in order behind the others of its aircraft, and routed: cancelled, late, or on
time. Beside that an actor keeps each carrier's running mean delay. Rows that do not validate become dead letters with a
reason.
"""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Annotated

import anyio
from pydantic import BaseModel, BeforeValidator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from headrace import Actor, Engine, Memory, Topology

DATA = Path(__file__).parent / "data"
LATE = 60
"""Minutes behind schedule from which on a departure counts as late."""

Missing = BeforeValidator(lambda value: None if value == "NA" else value)


class Departure(BaseModel):
    """One scheduled departure. One that never departed, because it was cancelled, has no delay."""

    time_hour: str
    carrier: str
    flight: int
    tailnum: Annotated[str, Missing]
    origin: str
    dest: str
    dep_time: Annotated[int | None, Missing]
    dep_delay: Annotated[float | None, Missing]


class MeanDelay(BaseModel):
    """A carrier's mean delay so far, in minutes."""

    carrier: str
    departures: int
    minutes: float


memory = Memory()
topology = Topology("flights")

cancelled = topology.publisher(memory.topic("departures.cancelled"), key="tailnum")
late = topology.publisher(memory.topic("departures.late"), key="tailnum")
on_time = topology.publisher(memory.topic("departures.on-time"), key="tailnum")


@topology.subscriber(memory.topic("departures"), key="tailnum", max_workers=8)
async def departure(flight: Departure) -> Departure:
    """Take departures in, in the order of each aircraft."""
    return flight


@topology.router(departure, to=[cancelled, late, on_time], key="tailnum", max_workers=8)
async def by_punctuality(flight: Departure) -> object:
    """Say how it went."""
    if flight.dep_time is None:
        return cancelled
    return late if (flight.dep_delay or 0) >= LATE else on_time


@topology.publisher(memory.topic("carriers.delay"), key="carrier")
@topology.subscriber(departure, key="carrier", max_workers=4)
class RunningMean(Actor):
    """Keeps the running mean of the carriers that come its way: a carrier always meets the same instance."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[int, float]] = {}

    async def receive(self, flight: Departure) -> MeanDelay | None:
        """Take one departure into account; a cancelled one has no delay."""
        if flight.dep_delay is None:
            return None
        count, total = self.sums.get(flight.carrier, (0, 0.0))
        count, total = count + 1, total + flight.dep_delay
        self.sums[flight.carrier] = count, total
        return MeanDelay(carrier=flight.carrier, departures=count, minutes=total / count)


def rows() -> Iterator[dict[str, str]]:
    """The records as they stand in the file."""
    with gzip.open(DATA / "flights-2013-01.csv.gz", "rt", newline="") as file:
        yield from csv.DictReader(file)


async def run(console: Console) -> tuple[Engine, float]:
    """Publish every row, run the topology over them, and say how many seconds that took."""
    departures = list(rows())
    engine = Engine(topology.graph())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    began = perf_counter()
    async with memory, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        with Progress(*columns, console=console) as progress:
            tasks.start_soon(feed, departures)
            await watch(engine, progress, len(departures))
        engine.drain()
    return engine, perf_counter() - began


async def feed(departures: list[dict[str, str]]) -> None:
    """Publish every row, as fast as the bounded topic takes them."""
    for row in departures:
        await memory.topic("departures").publish(row)


async def watch(engine: Engine, progress: Progress, total: int) -> None:
    """Show how far it is, until all is settled."""
    bar = progress.add_task("departures", total=total)
    settled = 0
    while settled < total:
        await anyio.sleep(0.05)
        settled = sum(status.settled for status in engine.status())
        progress.update(bar, completed=settled)


def counts() -> dict[str, int]:
    """How many messages went to each destination."""
    return {name: topic.published for name, topic in sorted(memory.statistics().topics.items())}


def report(engine: Engine, seconds: float, console: Console) -> None:
    """Print what went in, what came out where, and what is dead and why."""
    table = Table(title="Departures from New York, January 2013")
    table.add_column("topic")
    table.add_column("messages", justify="right")
    table.add_column("")
    for name, count in counts().items():
        note = "in" if name == "departures" else "dead letters" if name.endswith(".dead") else "out"
        table.add_row(name, f"{count:,}", note)
    console.print(table)
    for letter, count in reasons().items():
        console.print(f"  {count:,} dead: {letter}")
    (status,) = [each for each in engine.status() if each.stage == "departure"]
    rate = status.settled / seconds
    console.print(f"  {status.settled:,} settled in {seconds:.1f} s: {rate:,.0f} messages a second")
    if status.latency_p50 is not None and status.latency_p99 is not None:
        fifty, ninety_nine = status.latency_p50 * 1000, status.latency_p99 * 1000
        console.print(f"  from fetched to settled: p50 {fifty:.1f} ms, p99 {ninety_nine:.1f} ms")


def reasons() -> dict[str, int]:
    """Why the dead letters are dead, and how many for each reason."""
    found: dict[str, int] = {}
    for letter in memory.messages("departures.dead"):
        reason = str((letter.headers or {})["headrace-reason"])
        found[reason] = found.get(reason, 0) + 1
    return found


def main() -> None:
    """The demo."""
    console = Console()
    engine, seconds = anyio.run(run, console)
    report(engine, seconds, console)


if __name__ == "__main__":
    main()
