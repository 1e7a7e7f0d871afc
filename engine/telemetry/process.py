"""What the process itself takes: processor, memory, garbage collector, open files."""

import gc
from collections.abc import Callable, Iterable

import psutil
from opentelemetry.metrics import CallbackOptions, Meter, Observation


def measure_process(meter: Meter) -> None:
    """Have a meter read the process when it collects; names are those of the OpenTelemetry conventions."""
    process = psutil.Process()

    def times(options: CallbackOptions) -> Iterable[Observation]:
        spent = process.cpu_times()
        return [Observation(spent.user, {"cpu.mode": "user"}), Observation(spent.system, {"cpu.mode": "system"})]

    def collections(options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(each["collections"], {"cpython.gc.generation": number})
            for number, each in enumerate(gc.get_stats())
        ]

    meter.create_observable_counter("process.cpu.time", [times], "s", "Time of the processor that it took.")
    meter.create_observable_counter(
        "cpython.gc.collections", [collections], "{collection}", "Runs of the garbage collector, by generation."
    )
    for name, unit, told, read in (
        ("process.memory.usage", "By", "Memory that it has in use.", lambda: process.memory_info().rss),
        ("process.threads", "{thread}", "Threads that it has.", process.num_threads),
        ("process.open_fds", "{file_descriptor}", "Files and sockets that it has open.", _files),
    ):
        meter.create_observable_gauge(name, [_reading(read)], unit, told)


def _reading(read: Callable[[], float]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(read())]


def _files() -> int:
    return psutil.Process().num_fds()
