"""`Faults`: the last kinds of error of a stage, each with one traceback, at next to no cost for each further one."""

from collections import OrderedDict
from dataclasses import dataclass
from time import time
from types import TracebackType

from actors.deadletter import text, traced

KINDS = 20
"""How many kinds are kept: errors of one type, raised at one line."""
EVERY = 1.0
"""Seconds after which the text of a kind is taken from a newer error of it."""
DEPTH = 1000
"""Frames after which the place of an error is not looked for any further."""


@dataclass(slots=True)
class Fault:
    """A kind of error. Times are in seconds since the epoch."""

    type: str
    place: str
    """`file:line` of where it was raised; empty where it never was."""
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    text: str = ""
    traceback: str = ""
    written: float = 0.0


class Faults:
    """Remembers text, never the error itself: with it would live its frames, and the messages in them."""

    def __init__(self, kinds: int = KINDS) -> None:
        self.kinds = kinds
        self._latest = 0
        self._seen: OrderedDict[tuple[str, str], Fault] = OrderedDict()

    def add(self, error: BaseException) -> None:
        """Count an error. Raises nothing, whatever the error may be."""
        self._latest = id(error)
        now, kind = time(), type(error).__name__
        place = _place(error.__traceback__)
        seen = self._seen.get((kind, place))
        if seen is None:
            seen = self._seen[kind, place] = Fault(kind, place, first=now)
            if len(self._seen) > self.kinds:
                self._seen.popitem(last=False)
        self._seen.move_to_end((kind, place))
        seen.count += 1
        seen.last = now
        if now - seen.written >= EVERY:
            seen.text, seen.traceback, seen.written = text(error)[:1000], traced(error), now

    def crashed(self, error: BaseException) -> None:
        """Count an error that an actor ended with, unless it was counted when the actor's message failed of it."""
        if id(error) != self._latest:
            self.add(error)

    def latest(self) -> list[Fault]:
        """Those seen last come first."""
        return list(reversed(self._seen.values()))

    def __len__(self) -> int:
        return len(self._seen)

    def __repr__(self) -> str:
        return f"<Faults: {len(self._seen)} kinds of error>"


def _place(raised: TracebackType | None) -> str:
    depth = 0
    while raised is not None and raised.tb_next is not None and depth < DEPTH:
        raised, depth = raised.tb_next, depth + 1
    return "" if raised is None else f"{raised.tb_frame.f_code.co_filename}:{raised.tb_lineno}"
