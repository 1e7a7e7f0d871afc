"""`Receipt`: what has become of a message, settled exactly once.

A receipt is made for each message that a source delivers. Forwarding to several targets splits it, and it
is complete when every branch is settled; the worst branch decides. A batch joins many into one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Protocol

from actors.errors import SettlementError


class Outcome(IntEnum):
    """What may become of a message, from the best to the worst."""

    DONE = 0
    """Everything made of it is confirmed, or a handler dropped it by name."""
    DEAD = 1
    """It goes to a dead letter, and is acknowledged once that is confirmed."""
    RETURNED = 2
    """It goes back to its broker, unacknowledged."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message is dead: what its dead letter says of it. Times are seconds since the epoch."""

    error: BaseException
    stage: str
    attempts: int
    first: float
    last: float
    dead_letter: Any = None
    """The sink for it, where its stage names one; otherwise its source's own."""


class Owner(Protocol):
    """Whoever is told when a receipt is complete."""

    def complete(self, receipt: Receipt) -> None: ...


class Receipt:
    """Settled once per branch: acknowledged, failed (dead), or given back.

    As a context manager it counts as given back when the block ends without an outcome.
    """

    __slots__ = ("branched", "failure", "message", "outcome", "owner", "pending", "since")

    def __init__(self, owner: Owner, message: Any = None, since: float = 0.0) -> None:
        self.owner = owner
        self.message = message
        self.since = since
        self.pending = 1
        self.branched = False
        """Whether more than one thing may have been made of the message."""
        self.outcome = Outcome.DONE
        self.failure: Failure | None = None

    def split(self, branches: int) -> None:
        """Add branches: each is to be settled on its own, beside those there are."""
        self.pending += branches
        self.branched = True

    def unsplit(self, branches: int) -> None:
        """Take back branches that were added and came to nothing."""
        self.pending -= branches

    def acknowledge(self) -> None:
        """Settle one branch: its work is done. Raises `SettlementError` where no branch is open."""
        self.pending -= 1
        if self.pending > 0:
            return
        if self.pending < 0:
            raise SettlementError(f"settled more often than it has branches: {self.message!r}")
        self.owner.complete(self)

    def fail(self, failure: Failure) -> None:
        """Settle one branch as dead; of several failures the first is told."""
        if self.outcome < Outcome.DEAD:
            self.outcome = Outcome.DEAD
            self.failure = failure
        self.acknowledge()

    def give_back(self) -> None:
        """Settle one branch as not done: the broker delivers the message again."""
        self.outcome = Outcome.RETURNED
        self.acknowledge()

    def settle_like(self, other: Receipt) -> None:
        """Settle one branch with the outcome of another receipt."""
        if other.outcome == Outcome.RETURNED:
            self.give_back()
        elif other.outcome == Outcome.DEAD and other.failure is not None:
            self.fail(other.failure)
        else:
            self.acknowledge()

    def __enter__(self) -> Receipt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.pending > 0:
            self.outcome = Outcome.RETURNED
            self.pending = 0
            self.owner.complete(self)

    def __repr__(self) -> str:
        return f"<Receipt {self.outcome.name}, {self.pending} branches open>"


def acknowledge_all(messages: Iterable[Any]) -> None:
    """Acknowledge the receipt of each message of a run, as `acknowledge` does."""
    for message in messages:
        receipt = message.receipt
        if receipt.pending == 1:
            receipt.pending = 0
            receipt.owner.complete(receipt)
        else:
            receipt.acknowledge()


class _Joined:
    """Passes the outcome of one receipt on to all that it was joined of."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Receipt, ...]) -> None:
        self.parts = parts

    def complete(self, receipt: Receipt) -> None:
        for part in self.parts:
            part.settle_like(receipt)


def join(receipts: Iterable[Receipt]) -> Receipt:
    """One receipt for a batch: its outcome becomes that of every part. Takes over one branch of each."""
    parts = tuple(receipts)
    joined = Receipt(_Joined(parts), parts[0].message if parts else None)
    return joined
