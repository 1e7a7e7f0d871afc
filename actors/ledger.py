"""`Ledger`: the receipts of one source, from when a message is fetched until the broker has been told.

Acts for a whole run at once: dead letters are published and confirmed first, then the source settles in one call.
"""

from collections.abc import Callable, Sequence
from logging import Logger, LoggerAdapter
from time import time
from typing import Any

from anyio import Event, Lock

from actors.backoff import Link
from actors.burials import Burials
from actors.clock import Clock
from actors.duplicates import Duplicates
from actors.message import Message
from actors.ports import Sink, Source
from actors.receipt import Failure, Outcome, Receipt
from actors.statistics import Counts, Latency

BEHIND = 1024
"""Messages that may be complete and not settled before no more are fetched."""
DEAD, RETURNED = Outcome.DEAD, Outcome.RETURNED


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
        duplicates: Duplicates | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.clock = clock
        self.logger = logger
        self.origin = origin
        """The kind of broker and the destination, told by dead letters."""
        self.duplicates = duplicates
        self.lineage = ""
        """Tells this stage and endpoint from all others, in whatever process; see `only_one`."""
        self.open: dict[Receipt, None] = {}
        """What was issued and is not settled, the oldest first."""
        self.counts = Counts()
        self.latency = Latency()
        self.link = Link(clock, logger, name, getattr(source, "reached", None), getattr(source, "ping", None))
        self._burials = Burials(name, dead_letters, clock, logger, self.counts, origin, self.complete)
        self._complete: list[Receipt] = []
        self._settling: list[Receipt] = []
        self._turn = Lock(fast_acquire=True)
        self._news: Event | None = None
        self._progress: Event | None = None
        self._ending = False
        self._first: Receipt | None = None
        """The oldest of the open, when it last became another."""
        self._moved = clock.now()
        self._not_all_done = False
        """Whether something complete is dead or returned."""
        self._mixed = False
        """The same, of the run that is being settled."""

    def issue(self, run: Sequence[Message]) -> None:
        """Give each message a receipt that this ledger will settle."""
        now, opened = self.clock.now(), self.open
        for message in run:
            receipt = message.receipt = Receipt(self, message, now)
            opened[receipt] = None
        self.counts.received += len(run)

    def complete(self, receipt: Receipt) -> None:
        """Told by a receipt when its last branch is settled."""
        self._complete.append(receipt)
        if receipt.outcome:
            self._not_all_done = True
        if (news := self._news) is not None:
            self._news = None  # it is woken once
            news.set()

    def end(self) -> None:
        """No more receipts will be issued: `run` returns when those there are have been settled."""
        self._ending = True
        if self._news is not None:
            self._news.set()

    @property
    def behind(self) -> bool:
        """Whether a broker is so far behind with what is complete that fetching more would fill the memory."""
        return len(self._complete) + len(self._settling) + len(self._burials) > BEHIND

    async def keep_pace(self) -> None:
        """Wait while it is behind."""
        while self.behind:
            if self._progress is None:
                self._progress = Event()
            await self._progress.wait()

    @property
    def oldest(self) -> float | None:
        """The age of the oldest message that is not settled, in seconds."""
        first = next(iter(self.open), None)  # issued in order, and nothing is issued twice
        return None if first is None else self.clock.now() - first.since

    @property
    def unmoved(self) -> float | None:
        """Seconds since its watermark moved, while anything was open: since another message became the oldest."""
        oldest = self.oldest
        return None if oldest is None else min(oldest, self.clock.now() - self._moved)

    @property
    def settling(self) -> bool:
        """Whether it is telling the source of a run, or burying what is dead of it."""
        return bool(self._settling)

    @property
    def unburied(self) -> str | None:
        """Why a dead letter is not confirmed, if one has been tried in vain or for a second."""
        return self._burials.trouble

    @property
    def unfinished(self) -> int:
        """How many of the open would be given back now: not those that are done and only not settled yet."""
        return sum(receipt.pending > 0 or receipt.outcome is not Outcome.DONE for receipt in self.open)

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Settle what becomes complete, in runs, until `end` was called and nothing is open."""
        started()
        while True:
            if not self._complete and not self._settling:
                if self._ending and not self.open:
                    return
                news = self._news = Event()
                try:
                    await news.wait()
                finally:
                    self._news = None
            await self.settle()

    async def settle(self) -> None:
        """Settle all that is complete now. Cancelled or failed, it goes on with the same run the next time."""
        async with self._turn:
            await self._settle()

    async def _settle(self) -> None:
        if not self._settling:
            self._settling, self._complete = self._complete, []
            self._mixed, self._not_all_done = self._not_all_done, False
        if self.duplicates is not None:  # before the burials, which count as done and are not
            await self.duplicates.settled(self._settling)
        returned: list[Message] = []
        if self._mixed:
            if dead := [receipt for receipt in self._settling if receipt.outcome is DEAD]:
                await self._burials.bury(dead)
                self._settling = [receipt for receipt in self._settling if receipt not in self._burials]
            returned = [receipt.message for receipt in self._settling if receipt.outcome is RETURNED]
            done = [receipt.message for receipt in self._settling if receipt.outcome is not RETURNED]
        else:
            done = [receipt.message for receipt in self._settling]
        if self._settling:
            began = self.clock.now()
            await self.link.insist(lambda: self.source.settle(done, returned))
            if self.counts.observer is not None:
                self.counts.observer.settled(len(self._settling), self.clock.now() - began)
            self._settled(len(done), len(returned))
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    def _settled(self, done: int, returned: int) -> None:
        run, self._settling = self._settling, []
        self.counts.settled += done
        self.counts.returned += returned
        self.latency.add(self.clock.now() - run[0].since)
        opened = self.open
        for receipt in run:
            del opened[receipt]
            receipt.message = None  # a message and its receipt are a cycle: let both go at once
        first = next(iter(opened), None)
        if first is not self._first:
            self._first, self._moved = first, self.clock.now()

    def reject(self, message: Message, error: BaseException, stage: str) -> None:
        """Settle a message that cannot even be decoded: dead on arrival."""
        now = time()
        self.counts.faults.add(error)
        message.receipt.fail(Failure(error, stage, message.attempt, now, now))

    async def give_back(self) -> int:
        """Settle what is done, and give everything else back to the source; return how many that were.

        A dead letter that is not confirmed by now is no longer waited for: its original is given back.
        """
        if self.duplicates is not None:
            self.duplicates.hurry()
        async with self._turn:
            self._burials.forget()
            self._complete, self._settling, self._mixed = [], list(self.open), True
            for receipt in self._settling:
                if receipt.pending > 0 or receipt.outcome is DEAD:
                    receipt.outcome, receipt.pending = RETURNED, 0
            left = sum(receipt.outcome is RETURNED for receipt in self._settling)
            await self._settle()
            return left

    def __repr__(self) -> str:
        return f"<Ledger of {self.name}: {len(self.open)} open, {self.counts.settled} settled>"
