"""`Deduplicate`: what makes two messages one, for how long that is known, and where it is written down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.message import Message
from actors.ports import Remembers


@dataclass(frozen=True, slots=True)
class Deduplicate:
    """Do not handle again what was done within the last `window` seconds; at most `most` messages are remembered.

    Two messages are one when they came from the same endpoint with the same id and the same body; with `by`, when that
    field of the body, or what that function makes of the message, is the same. Without an id, or where `by` gives None,
    a message is like no other and is handled. Remembered is what was acknowledged as done or dropped, never what is
    dead or was given back: a duplicate of that is handled.

    Without a `store` it is remembered by this process, which takes about 200 bytes a message; a broker that can be one
    (Redis) remembers for all engines, and through restarts.
    """

    window: float = 3600.0
    by: str | Callable[[Message], Any] | None = None
    most: int = 1_000_000
    store: Remembers | None = None

    def __post_init__(self) -> None:
        if not _is_seconds(self.window):
            raise ValueError(f"Deduplicate(window={self.window!r:.40}): expected seconds, more than 0")
        if not _is_count(self.most):
            raise ValueError(f"Deduplicate(most={self.most!r:.40}): expected a whole number, at least 1")
        path = isinstance(self.by, str) and all(part.isidentifier() for part in self.by.split("."))
        if self.by is not None and not path and not callable(self.by):
            raise ValueError(
                f"Deduplicate(by={self.by!r:.60}): expected the name of a field, or a function of the message"
            )
        if self.store is not None and not isinstance(self.store, Remembers):
            raise ValueError(
                f"Deduplicate(store={self.store!r:.60}): expected a broker that remembers, as Redis(url) does,"
                " or nothing, for the memory of this process"
            )


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
