"""`Heartbeat`: notices an event loop that is held up, and says by whom while it still is.

The loop beats, a thread listens. Nothing is done per message; where no beat comes, the thread looks at the stack.
"""

import sys
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from threading import Event, Thread, get_ident
from time import monotonic
from types import FrameType
from typing import Self

from actors import HANDLING

logger = getLogger("headrace")
BEAT = 0.5
"""Seconds between two beats."""
LATE = 1.0
"""Seconds that a beat may be late before the loop counts as held up."""
STARVED = 5.0
"""The same where the thread that watches the loop came no further either, so that nobody in particular held it."""
OURS = frozenset({"headrace", "engine", "topologies", "actors", "anyio", "asyncio", "trio"})


class Heartbeat:
    """A context around a running loop, in the loop's own thread; `beat` is called every `BEAT` seconds."""

    def __init__(self) -> None:
        self.lag = 0.0
        """Seconds by which the last beat was late."""
        self._at: float | None = None
        self._loop = 0
        self._over = Event()
        self._told: float | None = None
        """The beat after which the loop stood still, once it was told that it does."""

    def __enter__(self) -> Self:
        self._loop, self._at = get_ident(), monotonic()
        self._over.clear()
        self._thread = Thread(target=self._listen, name="headrace heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._at = None
        self._over.set()
        self._thread.join()

    def beat(self) -> None:
        """Say that the loop turns; tell that it did not, where the thread could not."""
        now, last = monotonic(), self._at
        if last is None:
            return
        self._at, self.lag = now, max(0.0, now - last - BEAT)
        if self._told == last:
            logger.warning("the event loop turns again, after %.1f s", now - last)
        elif self.lag > STARVED:
            told = "the process was stopped or starved, or an extension kept the interpreter to itself"
            logger.warning("the event loop stood still for %.1f s, and so did its watch: %s", now - last, told)

    @property
    def silence(self) -> float:
        """Seconds since the last beat, asked from another thread; 0 in the loop's own, which turns if it can ask."""
        at = self._at
        return 0.0 if at is None or get_ident() == self._loop else monotonic() - at

    def _listen(self) -> None:
        woken = monotonic()
        while not self._over.wait(BEAT):
            before, woken = woken, monotonic()
            last = self._at
            if last is None or last == self._told or not held_up(woken - last, woken - before):
                continue
            if (frame := sys._current_frames().get(self._loop)) is not None:
                self._told = last
                logger.warning("the event loop has stood still for %.1f s: %s", woken - last, blame(frame))


def held_up(silence: float, slept: float) -> bool:
    """Whether the loop is held up, by seconds since its last beat; not if the thread itself overslept, as all did."""
    return silence > BEAT + LATE and slept < BEAT + LATE / 2


def blame(innermost: FrameType) -> str:
    """Who holds the loop, by its stack: the worker whose handler it is, and the line that it is at."""
    frames = list(_outwards(innermost))
    worker = next((frame.f_locals.get("self") for frame in frames if frame.f_code in HANDLING), None)
    inside = frames[: next((at for at, frame in enumerate(frames) if frame.f_code in HANDLING), len(frames))]
    theirs = [frame for frame in inside if frame.f_globals.get("__name__", "").partition(".")[0] not in OURS]
    at = (theirs or inside or frames)[-1 if worker is not None else 0]
    place = f"{Path(at.f_code.co_filename).name}:{at.f_lineno}, in {at.f_code.co_name}"
    if worker is None:
        return f"it is at {place}"
    remedy = "what computes or blocks for long belongs in a handler written `def`, which runs in a thread"
    return f"the handler of {worker.name} is at {place}; {remedy}"


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
