"""Sinks made of sinks: one that opens when it is first used, and one that answers on the broker that asked."""

from collections.abc import Awaitable, Callable, Sequence
from logging import Logger, LoggerAdapter, getLogger
from typing import Any

from anyio import Lock

from actors import BrokerRefused, Message, Pipelined, PublishError, Sent, Sink

LOGGER = getLogger("headrace")


class OnDemand:
    """Opens the sink behind it once, when it is first needed: a dead letter may never be."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.ping: Callable[[], Awaitable[None]] | None = getattr(sink, "ping", None)
        """What asks the broker whether it is there, where the sink behind can."""
        self._pipelined = sink if isinstance(sink, Pipelined) else None
        self._lock = Lock()
        self._opened = False

    @property
    def destination(self) -> str:
        return self.sink.destination

    async def open(self) -> None:
        if self._opened:
            return
        async with self._lock:
            if not self._opened:
                await self.sink.open()
                self._opened = True

    async def publish(self, run: Sequence[Message]) -> None:
        if not self._opened:
            await self.open()
        await self.sink.publish(run)

    @property
    def in_flight(self) -> int:
        return 1 if self._pipelined is None else self._pipelined.in_flight

    async def send(self, run: Sequence[Message]) -> Sent | None:
        return None if self._pipelined is None or not self._opened else await self._pipelined.send(run)

    async def close(self) -> None:
        if self._opened:
            self._opened = False
            await self.sink.close()


class Replies:
    """Publishes each answer on the broker whose ledger the question came through.

    Who asked may be gone, or may have named a place that nobody can answer to: such an answer is counted, logged and
    dropped. It is no failure of the message, and holds up nobody.
    """

    destination = "replies"

    def __init__(self, sinks: dict[int, Sink], logger: "Logger | LoggerAdapter[Any]" = LOGGER) -> None:
        self._sinks = sinks
        """By the `id` of the ledger."""
        self._logger = logger
        self.undelivered = 0

    async def open(self) -> None:
        for sink in self._sinks.values():
            await sink.open()

    async def publish(self, run: Sequence[Message]) -> None:
        groups: dict[int, list[int]] = {}
        for index, message in enumerate(run):
            groups.setdefault(id(message.receipt.owner), []).append(index)
        for owner, indices in groups.items():
            try:
                await self._sinks[owner].publish([run[index] for index in indices])
            except PublishError as refused:
                for index, error in refused.failures.items():
                    self._drop(run[indices[index]], error)
            except BrokerRefused as error:
                for index in indices:
                    self._drop(run[index], error)

    def _drop(self, answer: Message, error: Exception) -> None:
        self.undelivered += 1
        if self.undelivered.bit_count() == 1:  # the 1st, 2nd, 4th, 8th: whoever asks must not fill the log
            told = "no answer to %.200r, which is dropped (%d so far): %s"
            self._logger.warning(told, answer.destination, self.undelivered, error)

    async def close(self) -> None:
        for sink in self._sinks.values():
            await sink.close()
