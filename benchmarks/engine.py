"""What the engine costs a message in process, as ratios to the codec alone. `make bench`, or see `--help`.

The codec alone is what any program has to do: validate a JSON body of 200 bytes with a pydantic model of five fields
and serialize it again. The contenders take turns; each figure is the median over the rounds of the ratio to the codec
in the same round, for machines are noisy. Every message is counted at the destination.
"""

import gc
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import pydantic
import typer
from pydantic import BaseModel, Field, TypeAdapter
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engine.collector import set_for_streams
from headrace import Engine, Memory, Topology

if TYPE_CHECKING:
    from benchmarks.flat import Look


class Order(BaseModel):
    """The message of the benchmark."""

    id: int = Field(gt=0)
    customer: str
    priority: str = "low"
    total: float
    note: str


BODY = Order(id=1, customer="customer-000042", priority="high", total=129.95, note="x" * 105).model_dump_json().encode()
BUDGETS = {
    "subscriber to publisher": (None, 2.5),
    "ten workers": (None, 4.0),
    "order by key": ("subscriber to publisher", 0.7),
    "a router hop": ("subscriber to publisher", 0.8),
    "without duplicates": ("subscriber to publisher", 1.5),
}
"""At most so many times the codec alone; with a name, so many times on top of that one."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of one contender: medians over the rounds."""

    name: str
    microseconds: float
    ratio: float
    least: float
    most: float
    messages: int
    budget: str
    within: bool | None


def codec_alone(count: int) -> float:
    """Seconds a message to decode and encode, in a plain loop."""
    decode, encode = TypeAdapter(Order).validate_json, Order.__pydantic_serializer__.to_json
    began = perf_counter()
    for _ in range(count):
        encode(decode(BODY))
    return (perf_counter() - began) / count


def plain(memory: Memory, workers: int = 1) -> Topology:
    """One subscriber, one publisher."""
    topology = Topology("plain")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), max_workers=workers)
    async def handle(order: Order) -> Order:
        return order

    return topology


def keyed(memory: Memory) -> Topology:
    """The same, in order by key. Every message has the same body, so a counter stands for the key."""
    topology = Topology("keyed")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), key=lambda message: message.offset % 1000)
    async def handle(order: Order) -> Order:
        return order

    return topology


def routed(memory: Memory) -> Topology:
    """The same with a router between."""
    topology = Topology("routed")
    out = topology.publisher(memory.topic("out"))

    @topology.subscriber(memory.topic("in"))
    async def handle(order: Order) -> Order:
        return order

    @topology.router(handle, to=[out])
    async def route(order: Order) -> object:
        return out

    return topology


def deduplicated(memory: Memory) -> Topology:
    """The same, each message looked up by its id, and written down."""
    topology = Topology("deduplicated")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), deduplicate=True)
    async def handle(order: Order) -> Order:
        return order

    return topology


def run_engine(
    make: Callable[[Memory], Topology],
    count: int,
    ids: bool = False,
    traced_by: Any = None,
    measured_by: Any = None,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Seconds a message through a topology, from a full topic to the last one acknowledged.

    `traced_by` and `measured_by` are providers of OpenTelemetry's.
    """
    memory = Memory(capacity=count)
    topology = make(memory)

    async def main() -> float:
        async with memory:
            await fill(memory, count, ids)
            gc.collect()
            began = clock()
            await Engine(topology.graph(), tracer_provider=traced_by, meter_provider=measured_by).run(burst=True)
            return clock() - began

    seconds = anyio.run(main)
    arrived = memory.statistics().topics["out"].published
    if arrived != count:
        raise SystemExit(f"{topology!r}: {count} messages went in, {arrived} came out")
    return seconds / count


async def fill(memory: Memory, count: int, ids: bool = False) -> None:
    """Put that many messages into the topic, as fast as a sink can."""
    from actors import Message

    sink = memory.topic("in").sink()
    await sink.open()
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        run = [Message(raw=BODY, id=str(number)) if ids else Message(raw=BODY) for number in numbers]
        for message in run:
            message.destination = "in"
        await sink.publish(run)


CONTENDERS: dict[str, Callable[[int], float]] = {
    "codec alone": codec_alone,
    "subscriber to publisher": lambda count: run_engine(plain, count),
    "ten workers": lambda count: run_engine(lambda memory: plain(memory, workers=10), count),
    "order by key": lambda count: run_engine(keyed, count),
    "a router hop": lambda count: run_engine(routed, count),
    "without duplicates": lambda count: run_engine(deduplicated, count, ids=True),
}


def measure(count: int, rounds: int, console: Console) -> list[Figure]:
    """All contenders in turn, round by round."""
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in track(range(rounds), description="rounds", console=console, transient=True):
        for name, run in CONTENDERS.items():
            times[name].append(run(count))
    return [figure(name, times, count) for name in CONTENDERS]


def figure(name: str, times: dict[str, list[float]], count: int) -> Figure:
    """The medians of one contender, held against its budget."""
    ratios = [mine / codec for mine, codec in zip(times[name], times["codec alone"], strict=True)]
    ratio = median(ratios)
    budget, within = "", None
    if name in BUDGETS:
        on_top_of, most = BUDGETS[name]
        cost = ratio
        budget = f"at most {most:g} x"
        if on_top_of:
            others = zip(times[on_top_of], times["codec alone"], strict=True)
            cost = median(mine - other / codec for mine, (other, codec) in zip(ratios, others, strict=True))
            budget = f"{cost:+.2f} x, at most +{most:g} x"
        within = cost <= most
    return Figure(name, median(times[name]) * 1e6, ratio, min(ratios), max(ratios), count, budget, within)


def main(
    messages: Annotated[int, typer.Option(help="Messages a contender and round.")] = 200_000,
    rounds: Annotated[int, typer.Option(help="Rounds; each figure is a median over them.")] = 5,
    flat: Annotated[int, typer.Option(help="Messages to watch the memory over; 0 leaves it out.")] = 0,
    collector: Annotated[
        bool, typer.Option(help="Set the garbage collector as `headrace run` does, or leave Python's setting.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure what the engine costs a message, as ratios to the codec alone in the same run."""
    console = Console(stderr=True)
    if collector:
        set_for_streams()
    figures = measure(messages, rounds, console)
    looks = _watched(flat, console) if flat else []
    versions = {"python": platform.python_version(), "pydantic": pydantic.VERSION, "rounds": rounds}
    if as_json:
        print(
            json.dumps(
                {
                    "versions": versions,
                    "figures": [asdict(each) for each in figures],
                    "memory": [asdict(look) for look in looks],
                },
                indent=2,
            )
        )
        return
    table = Table(title=f"{messages:,} messages, median of {rounds}, Python {versions['python']}")
    for column in ("", "µs a message", "x codec", "min", "max", "budget", ""):
        table.add_column(column, justify="left" if column in ("", "budget") else "right")
    for each in figures:
        mark = "" if each.within is None else "ok" if each.within else "OVER"
        numbers = (f"{each.microseconds:.2f}", f"{each.ratio:.2f}", f"{each.least:.2f}", f"{each.most:.2f}")
        table.add_row(each.name, *numbers, each.budget, mark)
    Console().print(table)
    if looks:
        from benchmarks.flat import watched

        Console().print(watched(looks))


def _watched(total: int, console: Console) -> "list[Look]":
    if total < 200_000:
        raise typer.BadParameter("expected 200,000 or more: before 100,000 messages it is not looked at")
    from benchmarks.flat import growth

    return growth(total, console)


if __name__ == "__main__":
    typer.run(main)
