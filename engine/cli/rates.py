"""What a screen shows of a stage: counters of two snapshots made into rates, numbers into short text. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BAR = 10
"""Cells of a bar."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
Snapshot = dict[str, Any]
Key = tuple[str, str]


@dataclass(slots=True)
class Rates:
    """Messages a second of each stage, from the snapshots that it is given."""

    before: dict[Key, tuple[float, int]] = field(default_factory=dict)
    rates: dict[Key, float] = field(default_factory=dict)

    def add(self, snapshot: Snapshot, now: float) -> None:
        """Take in a snapshot of that moment, in seconds. Stages that are gone are forgotten."""
        seen: dict[Key, tuple[float, int]] = {}
        for stage in snapshot["stages"]:
            key = key_of(stage)
            seen[key] = now, stage["handled"]
            at, handled = self.before.get(key, (now, stage["handled"]))
            if now > at:
                # An engine that was started anew counts from 0 again.
                self.rates[key] = max(0, stage["handled"] - handled) / (now - at)
        self.before = seen
        self.rates = {key: rate for key, rate in self.rates.items() if key in seen}

    def of(self, stage: Snapshot) -> float:
        """The rate of a stage; 0 before there are two snapshots."""
        return self.rates.get(key_of(stage), 0.0)


def key_of(stage: Snapshot) -> Key:
    """Which stage it is."""
    return stage["topology"], stage["stage"]


def fill(stage: Snapshot) -> float:
    """How full its mailbox is, from 0 to 1."""
    capacity = stage["capacity"]
    return min(1.0, stage["depth"] / capacity) if capacity else 0.0


def bar(share: float) -> str:
    """A bar of `BAR` cells, in eighths of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * BAR * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(BAR)


def count(number: float) -> str:
    """A number in four characters or so: 999, 12.3k, 4.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.99995:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def seconds(value: float | None) -> str:
    """A duration: 850 µs, 12 ms, 3.4 s, 5 min."""
    if value is None:
        return "–"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"


def state(stage: Snapshot) -> tuple[str, str]:
    """In a word how it is, and the style of that word; the gravest first."""
    health = stage["health"] or {}
    if not stage["connected"]:
        return "no broker", "bold red"
    if health.get("stalled"):
        return f"stalled: {health['waiting_for']}", "bold red"
    if stage["paused"]:
        return "paused", "yellow"
    if fill(stage) >= 1:
        return "full", "yellow"
    if health.get("waiting_for"):
        return f"waits: {health['waiting_for']}", "dim"
    return ("busy", "green") if stage["busy"] else ("idle", "dim")


def steps(workers: int, up: bool) -> int:
    """The next size of a pool by key: one at a time up to 10, then a tenth."""
    step = max(1, workers // 10)
    return workers + step if up else max(1, workers - step)


ORDERS: dict[str, Callable[[Snapshot, Rates], float]] = {
    "flow": lambda stage, rates: 0,
    "rate": lambda stage, rates: -rates.of(stage),
    "fill": lambda stage, rates: -fill(stage),
    "p99": lambda stage, rates: -(stage["latency_p99"] or 0.0),
}
"""What stages may be sorted by; `flow` leaves them as they are, sources first."""
