"""`Duplicates`: which messages a stage has done, and which it has in hand.

A message counts as done when everything made of it is confirmed, or it was dropped by name. That is written down before
the message is acknowledged: a crash in between lets a duplicate through, and loses nothing. What is dead or given back
is not done. A duplicate of what is still in hand waits until it is known what becomes of that: done, then it is
acknowledged; dead, then it is handled itself; given back, then it goes back too.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from anyio import CancelScope, Event, fail_after

from actors.backoff import Link
from actors.errors import BrokerError
from actors.message import Message
from actors.ports import Seen
from actors.receipt import Outcome, Receipt

ONCE = 1.0
"""Seconds that the store has when it is asked only once: at the end of an engine."""


class Inlet(Protocol):
    """Where a duplicate came in, and is told what is to become of it."""

    def drop(self, message: Message) -> None:
        """Its first is done."""
        ...

    def again(self, message: Message) -> None:
        """Its first is dead, so that it is the first now."""
        ...


class Duplicates:
    """Of one stage: its intakes ask, its ledgers tell. At most `most` duplicates should wait; see `crowded`."""

    def __init__(self, seen: Seen, link: Link, most: int) -> None:
        self.seen = seen
        self.link = link
        self.most = most
        self.waiting = 0
        """Duplicates of what is in hand."""
        self._behind: dict[bytes, deque[tuple[Message, Inlet]] | None] = {}
        """By identity of what is in hand: its duplicates, if it has any."""
        self._firsts: dict[Receipt, bytes] = {}
        self._room: Event | None = None
        self._hurried = False
        self._insisting: set[CancelScope] = set()

    async def open(self) -> None:
        """Wait until the store answers."""
        await self.link.insist(self.seen.open)

    @property
    def crowded(self) -> bool:
        """Whether so many duplicates wait that no more should be fetched."""
        return self.waiting >= self.most

    async def keep_pace(self) -> None:
        """Wait while it is crowded."""
        while self.crowded:
            if self._room is None:
                self._room = Event()
            await self._room.wait()

    def first(self, message: Message, identity: bytes, inlet: Inlet) -> bool:
        """Whether nothing of this identity is in hand, so that this is now; otherwise it waits for what is."""
        in_hand = self._behind
        if identity not in in_hand:
            in_hand[identity] = None
            self._firsts[message.receipt] = identity
            return True
        behind = in_hand[identity]
        if behind is None:
            behind = in_hand[identity] = deque()
        behind.append((message, inlet))
        self.waiting += 1
        return False

    def known(self, message: Message) -> None:
        """A first turned out to be a duplicate of what was done before; and so are those behind it."""
        self._done(self._firsts.pop(message.receipt))

    def hurry(self) -> None:
        """The engine is to end: wait for the store no longer, which lets no more than duplicates through."""
        self._hurried = True
        for scope in self._insisting:
            scope.cancel()

    async def settled(self, run: Sequence[Receipt]) -> None:
        """Receipts are complete, and about to be settled: write down what is done, and tell those behind them.

        While the store is out of reach it waits, and so does the acknowledging, unless it is in a hurry: then it tries
        once. Cancelled, it has told nobody.
        """
        firsts = self._firsts
        done = [firsts[receipt] for receipt in run if receipt.outcome is Outcome.DONE and receipt in firsts]
        if done:
            await self._keep(done)
        for receipt in run:
            identity = firsts.pop(receipt, None)
            if identity is None:
                continue
            if receipt.outcome is Outcome.DONE:
                self._done(identity)
            elif receipt.outcome is Outcome.DEAD:
                self._next(identity)
            else:
                self._give_back(identity)

    async def _keep(self, done: Sequence[bytes]) -> None:
        if not self._hurried:
            with CancelScope() as scope:
                self._insisting.add(scope)
                try:
                    await self.link.insist(lambda: self.seen.keep(done))
                    return
                finally:
                    self._insisting.discard(scope)
        try:
            with fail_after(ONCE):
                await self.seen.keep(done)
        except (BrokerError, TimeoutError) as error:
            self.link.logger.warning("%d done messages are not remembered: %r", len(done), error)

    def _done(self, identity: bytes) -> None:
        behind = self._behind.pop(identity)
        if behind is None:
            return
        self._left(len(behind))
        for message, inlet in behind:
            if message.receipt.pending > 0:
                inlet.drop(message)

    def _give_back(self, identity: bytes) -> None:
        behind = self._behind.pop(identity)
        if behind is None:
            return
        self._left(len(behind))
        for message, _ in behind:
            if message.receipt.pending > 0:  # at the end of an engine its ledger may have given it back already
                message.receipt.give_back()

    def _next(self, identity: bytes) -> None:
        behind = self._behind[identity]
        while behind:
            message, inlet = behind.popleft()
            self._left(1)
            if message.receipt.pending > 0:
                self._firsts[message.receipt] = identity
                inlet.again(message)
                return
        del self._behind[identity]

    def _left(self, count: int) -> None:
        self.waiting -= count
        if self._room is not None and not self.crowded:
            self._room.set()
            self._room = None

    def __repr__(self) -> str:
        return f"<duplicates: {len(self._behind)} in hand, {self.waiting} wait for what becomes of them>"
