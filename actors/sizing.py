"""How large a pool should be: additive increase, multiplicative decrease on the time that handling takes.

Pure, after Vector's adaptive request concurrency (https://vector.dev/blog/adaptive-request-concurrency/), itself
after TCP's congestion control: while all workers are busy and handling takes no longer than it did, one more; when it
takes clearly longer, or what is called pushes back, a tenth fewer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from anyio import create_task_group

from actors.clock import Clock
from actors.pool import Pool
from actors.statistics import Counts

DECREASE = 0.9
SMOOTHING = 0.4
"""Weight of the newest round trip in the moving mean and deviation."""
TOLERANCE = 2.5
"""Deviations above the mean from where on a round trip counts as longer."""
FLOOR = 0.1
"""The least deviation assumed, as a share of the mean: what is steadier than that is noise."""


@dataclass(slots=True)
class Sizing:
    """The size of one pool between `low` and `high`, and what it has learned of its round trips."""

    low: int
    high: int
    size: float
    mean: float | None = None
    deviation: float = 0.0

    def next(self, round_trip: float | None, saturated: bool, pushed_back: bool) -> int:
        """The size from now on.

        `round_trip` is the mean time in seconds that handling took since the last decision, None if nothing was
        handled; `saturated` says that all workers were busy; `pushed_back` that what they call asked for less.
        """
        longer = False
        if round_trip is not None:
            if self.mean is None:
                self.mean = round_trip
            spread = max(self.deviation, FLOOR * self.mean)
            longer = round_trip > self.mean + TOLERANCE * spread
            self.deviation += SMOOTHING * (abs(round_trip - self.mean) - self.deviation)
            self.mean += SMOOTHING * (round_trip - self.mean)
        if longer or pushed_back:
            self.size *= DECREASE
        elif saturated:
            self.size += 1
        self.size = min(max(self.size, self.low), self.high)
        return int(self.size)


class Sizer:
    """The actor that measures a pool every `interval` seconds and resizes it."""

    def __init__(self, pool: Pool, sizing: Sizing, counts: Counts, clock: Clock, interval: float = 0.25) -> None:
        self.pool = pool
        self.sizing = sizing
        self.counts = counts
        self.clock = clock
        self.interval = interval

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Measure and resize until the pool has drained its mailbox."""
        started()
        async with create_task_group() as tasks:
            tasks.start_soon(self._measure)
            await self.pool.mailbox.ended.wait()
            tasks.cancel_scope.cancel()

    async def _measure(self) -> None:
        handled, seconds, asked = self.counts.handled, self.counts.busy_seconds, self.counts.asked_to_wait
        while True:
            await self.clock.sleep(self.interval)
            done = self.counts.handled - handled
            round_trip = (self.counts.busy_seconds - seconds) / done if done else None
            saturated = self.pool.busy >= self.pool.size and len(self.pool.mailbox) > 0
            size = self.sizing.next(round_trip, saturated, self.counts.asked_to_wait > asked)
            handled, seconds, asked = self.counts.handled, self.counts.busy_seconds, self.counts.asked_to_wait
            if size != self.pool.size:
                await self.pool.resize(size)
