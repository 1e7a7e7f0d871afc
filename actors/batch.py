"""`Batch`: how many messages a handler gets at once, and how long they may wait for one another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Hand the handler up to `size` messages; fewer when `wait` seconds have passed since the first."""

    size: int
    wait: float = 0.2

    def __post_init__(self) -> None:
        size: object = self.size  # of whatever type it was given
        wait: object = self.wait
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"Batch(size={size!r:.60}): expected a whole number, at least 1")
        if not isinstance(wait, int | float) or not wait >= 0:
            raise ValueError(f"Batch(wait={wait!r:.60}): expected seconds, zero or more")
