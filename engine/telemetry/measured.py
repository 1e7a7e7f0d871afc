"""`Measured`: what of a stage has to be remembered from one reading of its metrics to the next."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from actors import Outbox
from engine.assembly.running import Running

Attributes = dict[str, Any]
RATED = 1.0
"""Seconds over which a rate is taken, at least."""


@dataclass(slots=True)
class Measured:
    """A stage, the attributes of whatever is measured of it, and the time that its workers have had so far."""

    running: Running
    attributes: Attributes
    seen: float
    worker_seconds: float = 0.0
    _times: tuple[float, float, float] = 0.0, 0.0, 0.0
    _rated: float = 0.0
    _handled: int = 0
    _rate: float = 0.0

    def wait(self) -> float | None:
        """Seconds that a message waits in the mailbox: by Little's law, at the rate of the last second or more.

        While nothing is handled that rate is still the best that is known, less what the messages in hand have taken
        already. None where nothing was handled ever, and nothing is in hand.
        """
        now, handled, waiting = perf_counter(), self.running.counts.handled, len(self.running.mailbox)
        since, done, ages = now - self._rated, handled - self._handled, list(self._ages(now))
        if done and since >= RATED:
            self._rate = done / since
        if (done and since >= RATED) or not (done or waiting or ages):  # having nothing to do is no slowness
            self._rated, self._handled = now, handled
        if not waiting:
            return 0.0
        rate = self._rate or (done / since if done and since else 0.0)
        if not done and ages:
            at_most = sum(1 / age for age in ages)
            rate = min(rate, at_most) if rate else at_most
        return waiting / rate if rate else None

    def _ages(self, now: float) -> Iterator[float]:
        """How long the workers have been at what they have in hand, or waited for room for what they made of it."""
        for worker in self.running.pool.workers:
            since = getattr(worker, "busy_since", None)
            if since is None and isinstance(outbox := getattr(worker, "outbox", None), Outbox):
                since = outbox.since
            if since is not None:
                yield max(now - since, 1e-6)

    def times(self) -> tuple[float, float, float]:
        """Seconds that its workers were busy, blocked and idle, up to now: none of the three ever falls.

        Idle is what is left of the time of its pool, at the size that it had when it was read.
        """
        now, counts = perf_counter(), self.running.counts
        busy, blocked = counts.busy_seconds, counts.blocked_seconds
        for worker in self.running.pool.workers:
            if (since := getattr(worker, "busy_since", None)) is not None:
                busy += now - since
            outbox = getattr(worker, "outbox", None)
            if isinstance(outbox, Outbox):
                blocked += outbox.blocked + (now - outbox.since if outbox.since is not None else 0.0)
        self.worker_seconds += (now - self.seen) * self.running.pool.size
        self.seen = now
        idle = self.worker_seconds - busy - blocked
        before = self._times
        self._times = max(before[0], busy), max(before[1], blocked), max(before[2], idle)
        return self._times


def measured(topology: str, running: Running) -> Measured:
    """A stage that is measured from now on."""
    attributes = {"headrace.topology": topology, "headrace.stage": running.stage.name}
    now = perf_counter()
    return Measured(running, attributes, now, _rated=now)
