"""`Clock`: the engine's own time and its one timer heap; `VirtualClock` moves only when told to."""

import heapq
from collections.abc import Callable
from itertools import count
from time import monotonic

from anyio import Event, move_on_after


class Timer:
    """A callback due at `when`, in the clock's seconds; `cancel` may be called at any time, also twice."""

    __slots__ = ("_clock", "callback", "when")

    def __init__(self, clock: "Clock", when: float, callback: Callable[[], object]) -> None:
        self._clock = clock
        self.when = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Never call it, unless it was called already."""
        if self.callback is not None:
            self.callback = None
            self._clock.cancelled()


class Clock:
    """Monotonic seconds, and callbacks at a time: retries, batches and timeouts all wait here.

    A callback runs on the event loop, must not wait and must not raise. Adding costs O(log n), cancelling O(1).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._dead = 0
        self._changed: Event | None = None

    def now(self) -> float:
        """The time, in seconds from an arbitrary start."""
        return monotonic()

    def at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` at that time; soon, if it has passed."""
        timer = Timer(self, when, callback)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        if self._changed is not None and self._heap[0][2] is timer:
            self._changed.set()
        return timer

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` that many seconds from now."""
        return self.at(self.now() + seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds of this clock."""
        woken = Event()
        timer = self.after(seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    def cancelled(self) -> None:
        """Told by a timer; the heap is made anew when most of it is dead, so that it cannot grow by timeouts."""
        self._dead += 1
        if self._dead > 64 and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def next_due(self) -> float | None:
        """When the next callback is due; None if there is none."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._dead = max(0, self._dead - 1)
        return self._heap[0][0] if self._heap else None

    def call_due(self, now: float) -> int:
        """Call all that is due at that time, in order; return how many."""
        called = 0
        while (due := self.next_due()) is not None and due <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
                called += 1
        return called

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Call what is due, when it is due, until cancelled."""
        started()
        while True:
            self.call_due(self.now())
            self._changed = Event()
            due = self.next_due()
            with move_on_after(None if due is None else max(0.0, due - self.now())):
                await self._changed.wait()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._heap) - self._dead} timers>"


class VirtualClock(Clock):
    """Stands still until it is moved: tests of retries, batches and timeouts need no sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> int:
        """Move on by that much, calling what comes due on the way, each at its own time; return how many."""
        until, called = self._now + seconds, 0
        while (due := self.next_due()) is not None and due <= until:
            self._now = max(self._now, due)
            called += self.call_due(self._now)
        self._now = until
        return called

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        started()
        await Event().wait()
