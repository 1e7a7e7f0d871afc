"""`Ledger`: the receipts of one source, from when a message is fetched until the broker has been told.

Acts for a whole run at once: dead letters are published and confirmed first, then the source settles in one call.
"""

from collections.abc import Callable, Iterable, Sequence
from logging import Logger, LoggerAdapter
from time import time
from typing import Any

from anyio import Event

from actors.backoff import Link
from actors.clock import Clock
from actors.deadletter import dead_letter
from actors.errors import PublishError
from actors.message import Message
from actors.ports import Sink, Source
from actors.receipt import Failure, Outcome, Receipt
from actors.statistics import Counts, Latency

BURY_AGAIN = 5.0
"""Seconds until a dead letter that its broker refused is tried again."""


class Ledger:
    """Issues receipts, and settles the complete ones with their source.

    What is open when the engine stops is given back, never acknowledged.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        dead_letters: Sink,
        clock: Clock,
        logger: "Logger | LoggerAdapter[Any]",
        origin: tuple[str, str] = ("", ""),
    ) -> None:
        self.name = name
        self.source = source
        self.dead_letters = dead_letters
        self.clock = clock
        self.logger = logger
        self.origin = origin
        """The kind of broker and the destination, told by dead letters."""
        self.open: set[Receipt] = set()
        self.counts = Counts()
        self.latency = Latency()
        self.reasons: dict[tuple[str, str], int] = {}
        """Dead letters by stage and reason, the first 100 kinds of them."""
        self.link = Link(clock, logger, name)
        self._complete: list[Receipt] = []
        self._settling: list[Receipt] = []
        self._news: Event | None = None
        self._ending = False

    def issue(self, run: Iterable[Message]) -> None:
        """Give each message a receipt that this ledger will settle."""
        now = self.clock.now()
        issued = []
        for message in run:
            receipt = message.receipt = Receipt(self, message, now)
            issued.append(receipt)
        self.open.update(issued)
        self.counts.received += len(issued)

    def complete(self, receipt: Receipt) -> None:
        """Told by a receipt when its last branch is settled."""
        self._complete.append(receipt)
        if self._news is not None:
            self._news.set()

    def end(self) -> None:
        """No more receipts will be issued: `run` returns when those there are have been settled."""
        self._ending = True
        if self._news is not None:
            self._news.set()

    @property
    def oldest(self) -> float | None:
        """The age of the oldest message that is not settled, in seconds."""
        since = min((receipt.since for receipt in self.open), default=None)
        return None if since is None else self.clock.now() - since

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Settle what becomes complete, in runs, until `end` was called and nothing is open."""
        started()
        while True:
            if not self._complete and not self._settling:
                if self._ending and not self.open:
                    return
                self._news = Event()
                await self._news.wait()
                self._news = None
            await self.settle()

    async def settle(self) -> None:
        """Settle all that is complete now. Cancelled or failed, it goes on with the same run the next time."""
        if not self._settling:
            self._settling, self._complete = self._complete, []
        run = self._settling
        if not run:
            return
        dead = [receipt for receipt in run if receipt.outcome == Outcome.DEAD]
        unburied = await self._bury(dead) if dead else set()
        done, returned = [], []
        for receipt in run:
            if receipt.outcome == Outcome.RETURNED:
                returned.append(receipt.message)
            elif receipt not in unburied:
                done.append(receipt.message)
        await self.link.insist(lambda: self.source.settle(done, returned))
        self._settled(run, len(done), len(returned), unburied)

    def _settled(self, run: list[Receipt], done: int, returned: int, unburied: set[Receipt]) -> None:
        self._settling = []
        self.open.difference_update(run)
        self.open |= unburied
        self.counts.settled += done
        self.counts.returned += returned
        self.latency.add(self.clock.now() - run[0].since)
        for receipt in run:
            if receipt not in unburied:
                receipt.message = None  # a message and its receipt are a cycle: let both go at once

    async def _bury(self, dead: Sequence[Receipt]) -> set[Receipt]:
        """Publish the dead letters; return those receipts whose letter was refused, to be tried again later."""
        by_sink: dict[int, tuple[Sink, list[Receipt]]] = {}
        for receipt in dead:
            sink = (receipt.failure and receipt.failure.dead_letter) or self.dead_letters
            by_sink.setdefault(id(sink), (sink, []))[1].append(receipt)
        unburied: set[Receipt] = set()
        for sink, receipts in by_sink.values():
            run = [dead_letter(receipt, self.origin, sink) for receipt in receipts]
            try:
                await self.link.insist(lambda sink=sink, run=run: sink.publish(run))  # type: ignore[misc]
            except PublishError as refused:
                for index, error in refused.failures.items():
                    unburied.add(receipts[index])
                    self.logger.error("a dead letter was refused, tried again in %g s: %s", BURY_AGAIN, error)
        for receipt in dead:
            if receipt in unburied:
                self.clock.after(BURY_AGAIN, lambda receipt=receipt: self.complete(receipt))  # type: ignore[misc]
            elif receipt.failure is not None:
                self._count_dead(receipt.failure)
        return unburied

    def _count_dead(self, failure: Failure) -> None:
        self.counts.dead += 1
        kind = (failure.stage, f"{type(failure.error).__name__}: {failure.error}".partition("\n")[0][:120])
        if kind in self.reasons or len(self.reasons) < 100:
            self.reasons[kind] = self.reasons.get(kind, 0) + 1

    def reject(self, message: Message, error: Exception, stage: str) -> None:
        """Settle a message that cannot even be decoded: dead on arrival."""
        now = time()
        message.receipt.fail(Failure(error, stage, message.attempt, now, now))

    async def give_back(self) -> int:
        """Give everything that is open back to the source; return how many that were."""
        left = [receipt for receipt in self.open if receipt.pending > 0]
        for receipt in left:
            receipt.outcome, receipt.pending = Outcome.RETURNED, 0
            self._complete.append(receipt)
        while self._complete or self._settling:
            await self.settle()
        return len(left)

    def __repr__(self) -> str:
        return f"<Ledger of {self.name}: {len(self.open)} open, {self.counts.settled} settled>"
