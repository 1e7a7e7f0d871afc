"""`Silence`: whether a consumer to which nothing is delivered is stuck, or there is nothing. Decides only."""

from dataclasses import dataclass

LOOKS = 2
"""Looks at a queue in a row that find messages there before a consumer that gets none of them counts as stuck."""


@dataclass(slots=True)
class Silence:
    """What one consumer's queue was last seen to have. `shared` says that every consumer with room gets what is there:
    not so of one that waits for the only active one to go.
    """

    shared: bool
    _found: int = 0

    def heard(self) -> None:
        """Something was delivered."""
        self._found = 0

    def looked(self, ready: int, consumers: int, unsettled: int, prefetch: int) -> str | None:
        """Take in what the server says of the queue; why the consumer is stuck, if it is.

        `ready` are messages that nobody has, `unsettled` those that this consumer has, of `prefetch` that it may have.
        """
        if consumers == 0:
            return "the server knows of no consumer of its queue"
        if not self.shared or ready == 0 or unsettled >= prefetch:
            self._found = 0
            return None
        self._found += 1
        return f"{ready} messages are in its queue and none comes" if self._found >= LOOKS else None
