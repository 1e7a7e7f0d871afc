"""How large a pool should be: one more while handling takes no longer for it, fewer once messages only wait elsewhere.

Pure, of the family of adaptive concurrency limits: additive increase and multiplicative decrease as in Vector
(https://vector.dev/blog/adaptive-request-concurrency/); an estimate of what is queued at the destination from TCP
Vegas, as in Netflix's concurrency-limits; and a look at a smaller size now and then, from TCP BBR. The look keeps the
size from drifting: a destination that answers late because of us answers sooner when we ask for less, one that has
become slow does not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from anyio import create_task_group

from actors.clock import Clock
from actors.pool import Pool
from actors.statistics import Counts

DECREASE = 0.9
"""What is left of the size when what is called pushes back."""
SMOOTHING = 0.3
"""Weight of the newest round trip in the usual one."""
ROOM = 0.05
"""The share of a pool that may be queued elsewhere while it still grows: less cannot be told from noise."""
QUEUED = 0.15
"""The share from where on too many are."""
LOOK = 0.6
"""The share of the size that a look is taken at."""
ROUNDS = 4
"""Decisions that a look lasts, after a first one in which messages of the full size still come back."""
RECENT = 20
"""Decisions after a look for which it is believed."""
LASTING = 100
"""Decisions after which another look is due, whatever is seen."""


@dataclass(slots=True)
class Sizing:
    """The size of one pool between `low` and `high`, and what it has learned of its round trips, in seconds."""

    low: int
    high: int
    size: float
    shortest: float = inf
    """What handling takes when nothing waits elsewhere, as far as is known."""
    usual: float = 0.0
    """What it took lately; 0 before anything was handled."""
    noise: float = 0.0
    """By what share round trips differ from the usual one."""
    age: int = 0
    """Decisions since the last look."""
    full: float = 0.0
    """The size to come back to after the look that is being taken; 0 when none is."""
    rounds: int = 0
    seen: float = 0.0

    def next(self, round_trip: float | None, saturated: bool, pushed_back: bool) -> int:
        """The size from now on.

        `round_trip` is the mean time in seconds that handling took since the last decision, None if nothing was
        handled; `saturated` says that all workers were busy; `pushed_back` that what they call asked for less.
        """
        if pushed_back:
            self.size, self.full = (self.full or self.size) * DECREASE, 0.0
        elif round_trip is not None and self.full:
            self._look(round_trip)
        elif round_trip is not None:
            self._learn(round_trip)
            if saturated:
                self._decide(round_trip)
        elif saturated and not self.usual:
            self.size += 1  # nothing is known, and everybody waits
        self.size = min(max(self.size, self.low), self.high)
        return int(self.size)

    def _learn(self, round_trip: float) -> None:
        if not self.usual:
            self.usual = round_trip
        self.noise += SMOOTHING / 3 * (abs(round_trip / self.usual - 1) - self.noise)
        self.usual += SMOOTHING * (round_trip - self.usual)
        self.shortest = min(self.shortest, self.usual)
        self.age += 1

    def _decide(self, round_trip: float) -> None:
        if 1 - self.shortest / max(round_trip, self.usual) <= max(0.5 / self.size, ROOM + self.noise / 2):
            self.size += 1
        elif self.age > LASTING or (
            self.age > RECENT and 1 - self.shortest / self.usual > max(1 / self.size, QUEUED, 2 * self.noise)
        ):
            self.full, self.rounds, self.seen = self.size, 0, 0.0
            self.size *= LOOK

    def _look(self, round_trip: float) -> None:
        """Have a look at what handling takes at a smaller size, and come back to the size that fits what was seen."""
        self.rounds += 1
        if self.rounds == 1:
            return
        self.seen += round_trip / ROUNDS
        if self.rounds <= ROUNDS:
            return
        ours = self.usual - self.seen > (1 - LOOK) / 2 * self.usual
        self.shortest = min(self.seen, self.shortest) if ours else self.seen
        # Little's law: so many are at work at once in that time, at the rate that was reached; the others only wait.
        self.size = self.full * min(1.0, self.shortest / self.usual)
        self.usual, self.full, self.age = self.shortest, 0.0, 0


class Sizer:
    """The actor that measures a pool and resizes it: each time that as many messages were handled as it has workers.

    Not more often than every `interval` seconds.
    """

    def __init__(self, pool: Pool, sizing: Sizing, counts: Counts, clock: Clock, interval: float = 0.25) -> None:
        self.pool = pool
        self.sizing = sizing
        self.counts = counts
        self.clock = clock
        self.interval = interval
        self.pinned = False
        """Somebody has chosen the size: it leaves the pool alone, and goes on from that size."""

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
            if self.pinned:
                handled, seconds, asked = self.counts.handled, self.counts.busy_seconds, self.counts.asked_to_wait
                self.sizing.size = min(max(self.pool.size, self.sizing.low), self.sizing.high)
                continue
            done = self.counts.handled - handled
            pushed_back = self.counts.asked_to_wait > asked
            saturated = self.pool.busy >= self.pool.size and len(self.pool.mailbox) > 0
            if done < self.pool.size and not pushed_back and (done or self.sizing.usual):
                continue  # fewer would tell of those that are quick alone
            round_trip = (self.counts.busy_seconds - seconds) / done if done else 0.0
            size = self.sizing.next(round_trip or None, saturated, pushed_back)
            handled, seconds, asked = self.counts.handled, self.counts.busy_seconds, self.counts.asked_to_wait
            if size != self.pool.size:
                await self.pool.resize(size)
