"""What a handler may raise to say, by name, what is to become of its message."""

from collections.abc import Mapping
from math import inf


class HandlerOutcome(Exception):
    """Raised by a handler on purpose; anything else it raises is a failure."""


class Reject(HandlerOutcome):
    """To the dead letter now, with this reason and no retry."""


class Drop(HandlerOutcome):
    """Acknowledge and publish nothing; counted, with this reason."""


class RetryAfter(HandlerOutcome):
    """Try again after `seconds`; made by `Retry.after(seconds)`."""

    def __init__(self, seconds: float) -> None:
        # What is no time would never be due, nor would whatever comes after it in the clock.
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < inf:
            raise ValueError(f"Retry.after({seconds!r}): expected seconds, zero or more")
        self.seconds = float(seconds)
        super().__init__(f"asked to be retried after {seconds:g} s")


class Crash(HandlerOutcome):
    """This worker can no longer be trusted: its supervisor makes it anew; for the message it is a failed try."""


class BatchError(HandlerOutcome):
    """Of a batch only these failed: maps an index in the batch to its error; the others succeeded."""

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        self.errors = dict(errors)
        super().__init__(f"{len(self.errors)} messages of the batch failed")
