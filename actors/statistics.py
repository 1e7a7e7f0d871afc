"""`Counts` and `Latency`: what a stage counts and samples of itself, plainly enough to cost next to nothing."""

from collections import deque
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Protocol

from actors.faults import Faults

KINDS = 100
"""The most kinds of exceptions that are counted one by one; the others are counted together."""


class Observer(Protocol):
    """Told how long things took, by those who do them: once a run, never once a message. Seconds."""

    def handled(self, messages: int, seconds: float) -> None:
        """So many messages in a row took a handler that long."""
        ...

    def published(self, messages: int, seconds: float) -> None:
        """So many messages were published and confirmed in that time."""
        ...

    def settled(self, messages: int, seconds: float) -> None:
        """A source was told of so many messages in that time."""
        ...


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
    duplicates: int = 0
    """Acknowledged without being handled: they were done already."""
    reconnects: int = 0
    asked_to_wait: int = 0
    """Times a handler raised `Retry.after`: what it calls pushes back."""
    busy_seconds: float = 0.0
    """Time that workers had messages in hand, summed over the workers."""
    blocked_seconds: float = 0.0
    """Time that workers waited for room behind, summed over the workers."""
    exceptions: dict[str, int] = field(default_factory=dict)
    """Failures by type, the first 100 types of them; the rest under `other`."""
    faults: Faults = field(default_factory=Faults)
    observer: Observer | None = None

    def count_exception(self, error: BaseException) -> None:
        """Count a failure by its type, and remember what it said."""
        self.faults.add(error)
        kind = type(error).__qualname__
        if kind not in self.exceptions and len(self.exceptions) >= KINDS:
            kind = "other"
        self.exceptions[kind] = self.exceptions.get(kind, 0) + 1


@dataclass(slots=True)
class Latency:
    """Seconds from fetched to settled, one message of each settled run, the last 4096 of them."""

    samples: deque[float] = field(default_factory=lambda: deque(maxlen=4096))
    added: int = 0
    _told: tuple[int, tuple[float, float] | None] = (0, None)
    """The percentiles when so many had been added: sorting takes a while, and may be asked for by many."""

    def add(self, seconds: float) -> None:
        """Take in one sample."""
        self.samples.append(seconds)
        self.added += 1

    def percentiles(self) -> tuple[float, float] | None:
        """The median and the 99th percentile; None while there are fewer than two samples."""
        if len(self.samples) < 2:
            return None
        if self._told[0] == self.added:
            return self._told[1]
        cuts = quantiles(self.samples, n=100, method="inclusive")
        self._told = self.added, (cuts[49], cuts[98])
        return self._told[1]
