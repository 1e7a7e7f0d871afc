"""What the engine costs a message in process, as ratios to the codec alone. `make bench`, or see `--help`.

The codec alone is what any program has to do: validate a JSON body of 200 bytes with a pydantic model of five fields
and serialize it again. The contenders take turns; each figure is the median over the rounds of the ratio to the codec
in the same round, for machines are noisy. Every message is counted at the destination.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import pydantic
import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.in_process import BODY, Order, deduplicated, keyed, plain, routed, run_engine
from engine.collector import set_for_streams

if TYPE_CHECKING:
    from benchmarks.flat import Look


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
