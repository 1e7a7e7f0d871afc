"""`Drain`: how an engine comes to its end, whether all that it has in hand flows out in time or not."""

from collections.abc import Sequence
from dataclasses import replace
from logging import getLogger

from anyio import CancelScope, Event, Lock, create_task_group, move_on_after, sleep, sleep_forever

from actors import Clock, DrainTimeout, Supervisor, Unfinished
from engine.assembly.assembly import Assembly
from engine.closing import closed, given_back
from engine.health.unfinished import unfinished

logger = getLogger("headrace")
QUIET = 1.0
"""Seconds without a message after which a source that cannot say what is pending counts as empty."""
STOPPING = 2.0
"""Seconds for what is still at work when a drain's time is over to stop, before its messages are given back."""


class Drain:
    """Fetching stops, what is there flows out, receipts settle; what has not after `patience` seconds is given back."""

    def __init__(self, patience: float, clock: Clock, started: Event) -> None:
        self.patience = patience
        self.asked = Event()
        """Set once it is to begin."""
        self.assemblies: Sequence[Assembly] = ()
        """What is to be drained."""
        self.left: list[Unfinished] = []
        """What was given back at the end, or is about to be."""
        self.hangs = True
        """Whether supervisors still wait for somebody."""
        self._clock = clock
        self._started = started
        self._late = False
        self._closing = Lock()
        self._closed = False

    def check(self) -> None:
        """Raise `DrainTimeout` where it was not done in time."""
        if self._late and (self.left or not self._started.is_set()):
            raise DrainTimeout(self.patience, self.left)

    def unfinished(self) -> list[Unfinished]:
        """What has been fetched and is not finished, by stage, and what it waits for."""
        return [each for assembly in self.assemblies for each in unfinished(assembly)]

    async def when_asked(self, root: Supervisor) -> None:
        """Begin once it is asked for; stop `root` when the time is over. Cancelled by whoever sees that all is done."""
        await self.asked.wait()
        logger.info("draining: at most %g s", self.patience)
        until = self._clock.now() + self.patience
        with move_on_after(self.patience):
            await self._started.wait()
            self._begin(until)
            await sleep_forever()
        self._late = True
        for assembly in self.assemblies:  # each turn of the event loop until they are stopped may take them a message
            for running in assembly.running:
                running.pool.leave()
        self.left = self.unfinished()
        with move_on_after(STOPPING):
            await root.stop()
        # What does not even let itself be cancelled, a thread say, must not keep what it holds from its broker.
        with CancelScope(shield=True):
            await self.close()
        if self.hangs:
            logger.error("something does not end; given back all the same: %s", "; ".join(map(str, self.left)))

    def _begin(self, until: float) -> None:
        for assembly in self.assemblies:
            for running in assembly.running:
                running.retries.drain(until)
                running.mailbox.hurry()
        for assembly in self.assemblies:
            for intake in assembly.intakes:
                intake.stop()

    async def when_empty(self) -> None:
        """Ask for it once no source has anything left."""
        await self._started.wait()
        quiet = self._clock.now()
        received = -1
        while not self.asked.is_set():
            await sleep(0.01)
            ledgers = [ledger for assembly in self.assemblies for ledger in assembly.ledgers]
            total = sum(ledger.counts.received for ledger in ledgers)
            if total != received:
                received, quiet = total, self._clock.now()
            if any(ledger.open or not ledger.link.connected for ledger in ledgers):
                continue
            pending = [ledger.source.pending() for ledger in ledgers]
            if any(pending) or (None in pending and self._clock.now() - quiet < QUIET):
                continue
            self.asked.set()

    async def close(self) -> None:
        """Give back what is left and let go of every connection, side by side: one that hangs delays no other."""
        async with self._closing:
            if self._closed:
                return
            self._closed = True
            now = self.unfinished()
            waited = {each.stage: each for each in self.left}
            self.left = [replace(each, waiting=waited.get(each.stage, each).waiting) for each in now]
            if self.left and not self._late:
                logger.warning("given back to their brokers, unfinished: %s", "; ".join(map(str, self.left)))
            async with create_task_group() as tasks:
                for assembly in self.assemblies:
                    for ledger in assembly.ledgers:
                        tasks.start_soon(given_back, ledger)
                    for sink in assembly.sinks:
                        tasks.start_soon(closed, sink.close, sink.destination)
            async with create_task_group() as tasks:  # not before the ledgers have written down what they settled
                for assembly in self.assemblies:
                    for running in assembly.running:
                        if running.duplicates is not None:
                            tasks.start_soon(closed, running.duplicates.seen.close, running.duplicates.link.what)
