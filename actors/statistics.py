"""`Counts` and `Latency`: what a stage counts and samples of itself, plainly enough to cost next to nothing."""

from collections import deque
from dataclasses import dataclass, field
from statistics import quantiles


@dataclass(slots=True)
class Counts:
    """Messages, by what became of them at one stage. `handled` counts tries; failures are among them."""

    received: int = 0
    handled: int = 0
    published: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    dropped: int = 0
    settled: int = 0
    returned: int = 0
    redelivered: int = 0
    reconnects: int = 0
    asked_to_wait: int = 0
    """Times a handler raised `Retry.after`: what it calls pushes back."""
    busy_seconds: float = 0.0
    """Time that workers had messages in hand, summed over the workers."""


@dataclass(slots=True)
class Latency:
    """Seconds from fetched to settled, one message of each settled run, the last 4096 of them."""

    samples: deque[float] = field(default_factory=lambda: deque(maxlen=4096))

    def add(self, seconds: float) -> None:
        """Take in one sample."""
        self.samples.append(seconds)

    def percentiles(self) -> tuple[float, float] | None:
        """The median and the 99th percentile; None while there are fewer than two samples."""
        if len(self.samples) < 2:
            return None
        cuts = quantiles(self.samples, n=100, method="inclusive")
        return cuts[49], cuts[98]
