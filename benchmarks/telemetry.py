"""What tracing and metrics cost a message in process, as ratios to the same topology without. See `--help`.

The contenders take turns; each figure is the median over the rounds of the ratio to the bare run of its round. On a
machine that others use, `--cpu` is the steadier: the processor's time, all threads together.
The embedded broker, a subscriber and a publisher, a handler that does nothing: the most that tracing can weigh.
Spans go through a thread, as `headrace run` exports them or as the SDK's `BatchSpanProcessor` does, to an exporter that
drops them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Annotated

import typer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.in_process import plain, run_engine
from engine.collector import set_for_streams
from engine.telemetry.export import Outbound
from engine.telemetry.weighing import views

BUDGETS = {"metrics": 0.9, "1 % sampled": 0.85, "100 % sampled": 0.4}
"""At least so much of the throughput without."""
SDK = "100 % sampled, by the SDK's own processor"
Clock = Callable[[], float]
SAMPLERS: dict[str, Sampler] = {
    "1 % sampled": ParentBased(TraceIdRatioBased(0.01)),
    "100 % sampled": ParentBased(ALWAYS_ON),
}


class Counted(SpanExporter):
    """Counts spans, and drops them."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count them."""
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of one contender: medians over the rounds."""

    name: str
    microseconds: float
    ratio: float
    least: float
    most: float
    spans: int
    budget: float | None


def measured(clock: Clock) -> Callable[[int], tuple[float, int]]:
    """A run with metrics: seconds a message, and no spans."""

    def run(count: int) -> tuple[float, int]:
        provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False, views=views())
        seconds = run_engine(plain, count, measured_by=provider, clock=clock)
        provider.shutdown()
        return seconds, 0

    return run


def traced(sampler: Sampler, queue: int, clock: Clock, own: bool = True) -> Callable[[int], tuple[float, int]]:
    """A run under that sampler: seconds a message, and how many spans were exported."""

    def run(count: int) -> tuple[float, int]:
        exporter = Counted()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(
            Outbound(exporter, queue) if own else BatchSpanProcessor(exporter, max_queue_size=queue)
        )
        seconds = run_engine(plain, count, traced_by=provider, clock=clock)
        provider.shutdown()
        return seconds, exporter.spans

    return run


def main(
    messages: Annotated[int, typer.Option(help="Messages a contender and round.")] = 100_000,
    rounds: Annotated[int, typer.Option(help="Rounds; each figure is a median over them.")] = 5,
    queue: Annotated[int, typer.Option(help="Spans that may wait to be exported; the SDK's default is 2048.")] = 16_384,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="Measure the processor's time instead of the wall clock's.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure what tracing and metrics leave of the engine's throughput."""
    console = Console(stderr=True)
    set_for_streams()
    clock = process_time if cpu else perf_counter
    contenders: dict[str, Callable[[int], tuple[float, int]]] = {
        "off": lambda count: (run_engine(plain, count, clock=clock), 0),
        "metrics": measured(clock),
    }
    contenders |= {name: traced(sampler, queue, clock) for name, sampler in SAMPLERS.items()}
    contenders[SDK] = traced(SAMPLERS["100 % sampled"], queue, clock, own=False)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    spans: dict[str, int] = {}
    for _ in track(range(rounds), description="rounds", console=console, transient=True):
        for name, run in contenders.items():
            seconds, spans[name] = run(messages)
            times[name].append(seconds)
    figures = []
    for name in contenders:
        ratios = [off / mine for off, mine in zip(times["off"], times[name], strict=True)]
        most = max(ratios)
        microseconds = median(times[name]) * 1e6
        figures.append(Figure(name, microseconds, median(ratios), min(ratios), most, spans[name], BUDGETS.get(name)))
    if as_json:
        print(json.dumps([asdict(each) for each in figures], indent=2))
        return
    table = Table(title=f"{messages:,} messages, median of {rounds}")
    for column in ("", "µs a message", "of off", "min", "max", "spans exported", "at least", ""):
        table.add_column(column, justify="right" if column else "left")
    for each in figures:
        numbers = (f"{each.microseconds:.2f}", f"{each.ratio:.2f}", f"{each.least:.2f}", f"{each.most:.2f}")
        mark = "" if each.budget is None else "ok" if each.ratio >= each.budget else "UNDER"
        table.add_row(each.name, *numbers, f"{each.spans:,}", f"{each.budget or ''}", mark)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
