"""`Burials`: the dead letters of one source, each confirmed before its original is acknowledged."""

from collections.abc import Callable, Sequence
from functools import partial
from logging import Logger, LoggerAdapter
from random import random
from typing import Any

from actors.backoff import Link
from actors.clock import Clock, Timer
from actors.deadletter import dead_letter, text
from actors.errors import PublishError
from actors.ports import Sink
from actors.receipt import Outcome, Receipt
from actors.statistics import Counts

BURY_AGAIN = 5.0
"""Seconds until a dead letter that its broker refused is tried again, at most: a quarter of it is jitter."""


class Burials:
    """Publishes dead letters to their own sinks, or to the source's.

    What a broker refuses waits to be tried again, and is then handed to `again`; it is in here until then.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        clock: Clock,
        logger: "Logger | LoggerAdapter[Any]",
        counts: Counts,
        origin: tuple[str, str],
        again: Callable[[Receipt], None],
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._logger = logger
        self._counts = counts
        self._origin = origin
        self._again = again
        self._link = Link(clock, logger, f"dead letters of {name}")
        self._waiting: dict[Receipt, Timer] = {}
        """Those whose letter was refused, until it is tried again."""
        self._brief: set[Receipt] = set()
        """The same, until it is confirmed."""
        self._since: float | None = None
        """Since when some are being published."""
        self._refusal = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, receipt: Receipt) -> bool:
        return receipt in self._waiting

    @property
    def trouble(self) -> str | None:
        """Why a dead letter is not confirmed, if one has been tried in vain or for a second."""
        if self._waiting:
            return self._refusal
        if self._link.error is not None:
            return f"{self._link.what}: {self._link.error}"
        if self._since is not None and self._clock.now() - self._since > 1.0:
            return f"{self._link.what}: no answer yet"
        return None

    async def bury(self, dead: Sequence[Receipt]) -> None:
        """Publish the letters; those that are confirmed are done. What waits to be tried again is left to that."""
        self._since = self._clock.now()
        try:
            await self._bury([receipt for receipt in dead if receipt not in self._waiting])
        finally:
            self._since = None

    async def _bury(self, dead: Sequence[Receipt]) -> None:
        by_sink: dict[int, tuple[Sink, list[Receipt]]] = {}
        for receipt in dead:
            sink = (receipt.failure and receipt.failure.dead_letter) or self._sink
            by_sink.setdefault(id(sink), (sink, []))[1].append(receipt)
        for sink, receipts in by_sink.values():
            refused = await self._publish(sink, receipts)
            for index, receipt in enumerate(receipts):
                if index in refused:
                    self._wait(receipt, refused[index])
                else:
                    receipt.outcome = Outcome.DONE
                    self._brief.discard(receipt)
                    self._counts.dead += 1

    async def _publish(self, sink: Sink, receipts: Sequence[Receipt]) -> dict[int, Exception]:
        run = [dead_letter(receipt, self._origin, sink, receipt in self._brief) for receipt in receipts]
        try:
            await self._link.insist(partial(sink.publish, run))
        except PublishError as error:
            return error.failures
        return {}

    def _wait(self, receipt: Receipt, error: Exception) -> None:
        def again() -> None:
            del self._waiting[receipt]
            self._again(receipt)

        self._logger.error("a dead letter was refused, tried again within %g s: %s", BURY_AGAIN, error)
        self._waiting[receipt] = self._clock.after(BURY_AGAIN * (1 - 0.25 * random()), again)
        self._brief.add(receipt)  # its own headers may be what makes it too long
        self._refusal = f"{self._link.what} refused one: {text(error)}"

    def forget(self) -> None:
        """Try none again: their originals are given back."""
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        self._brief.clear()
