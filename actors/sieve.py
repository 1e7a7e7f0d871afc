"""`Sieve`: tells of each run of one intake which messages are to be handled, and which were done already."""

from collections.abc import Callable, Sequence

from anyio import fail_after

from actors.deadletter import text
from actors.duplicates import ONCE, Duplicates
from actors.errors import BrokerError, DecodeError
from actors.ledger import Ledger
from actors.message import Message

Identify = Callable[[Message], bytes | None]
"""What is the same for messages that are one; None for a message that is like no other."""


class Sieve:
    """Between one source and a mailbox. A run is looked up in one go, and keeps its order."""

    def __init__(self, stage: str, ledger: Ledger, duplicates: Duplicates, identify: Identify) -> None:
        self.stage = stage
        self.ledger = ledger
        self.duplicates = duplicates
        self.identify = identify
        self.hand_on: Callable[[Message], object] = _give_back
        """Set by its intake, for as long as it can hand on what comes late."""
        self._entered: list[tuple[Message, bytes | None]] = []
        self._warned = False

    def enter(self, run: Sequence[Message]) -> None:
        """Take decoded messages. Duplicates of what is in hand stay here; so does what is to be looked up."""
        for message in run:
            try:
                identity = self.identify(message)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                refused = DecodeError(
                    f"whether it is a duplicate cannot be told: {type(error).__name__}: {text(error)}"
                )
                refused.__cause__ = error
                self.ledger.reject(message, refused, self.stage)
                continue
            if identity is None:
                self._nameless(message)
            elif not self.duplicates.first(message, identity, self):
                continue
            self._entered.append((message, identity))

    def _nameless(self, message: Message) -> None:
        if not self._warned:
            self._warned = True
            self.ledger.logger.warning(
                "a message without an id: it is handled, however often it comes; Deduplicate(by=...) can name what else"
                " tells messages apart: %r",
                message,
            )

    @property
    def waiting(self) -> bool:
        """Whether messages have entered that are not sifted."""
        return bool(self._entered)

    async def sift(self, *, last: bool = False) -> list[Message]:
        """Return what of the entered messages is to be handled, in order; the others are acknowledged.

        While the store is out of reach it waits; cancelled, it loses nothing. The `last` time it tries once, and what
        cannot be looked up is handled.
        """
        entered = self._entered
        identities = [identity for _, identity in entered if identity is not None]
        known = iter(await self._known(identities, last) if identities else ())
        passed: list[Message] = []
        for message, identity in entered:
            if identity is not None and next(known):
                self.duplicates.known(message)
                self.drop(message)
            else:
                passed.append(message)
        self._entered = []
        return passed

    async def _known(self, identities: Sequence[bytes], last: bool) -> Sequence[bool]:
        seen, link = self.duplicates.seen, self.duplicates.link
        if not last:
            return await link.insist(lambda: seen.known(identities))
        try:
            with fail_after(ONCE):
                return await seen.known(identities)
        except (BrokerError, TimeoutError) as error:
            link.logger.warning("%d messages are handled without being looked up: %r", len(identities), error)
            return [False] * len(identities)

    def drop(self, message: Message) -> None:
        """Acknowledge a duplicate of what is done."""
        self.ledger.counts.duplicates += 1
        message.receipt.acknowledge()

    def again(self, message: Message) -> None:
        """Have a duplicate handled: what it was a duplicate of is dead."""
        self.hand_on(message)

    def end(self) -> None:
        """Its intake hands on nothing more: what would be handled goes back."""
        self.hand_on = _give_back
        self.duplicates.hurry()


def _give_back(message: Message) -> None:
    message.receipt.give_back()
