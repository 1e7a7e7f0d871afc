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
        if not _is_wait(seconds):
            raise ValueError(f"Retry.after({seconds!r}): expected seconds, zero or more")
        self.seconds = float(seconds)
        super().__init__(f"asked to be retried after {seconds:g} s")


class Crash(HandlerOutcome):
    """This worker can no longer be trusted: its supervisor makes it anew; for the message it is a failed try."""


class BatchError(HandlerOutcome):
    """Of a batch only these failed: maps an index in the batch to its error; the others succeeded.

    Raises `TypeError` where something else than an exception is given for an error.
    """

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        self.errors = dict(errors)
        for index, error in self.errors.items():
            if not isinstance(error, BaseException):
                raise TypeError(
                    f"BatchError: index {index!r} has {error!r:.60}: expected an exception, as in"
                    f" BatchError({{{index!r}: ValueError(...)}})"
                )
        super().__init__(f"{len(self.errors)} messages of the batch failed")


def _is_wait(value: object) -> bool:
    """Whether it is a time: what is none would never be due, nor would whatever comes behind it in the clock."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
