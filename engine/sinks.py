"""Sinks made of sinks: one that opens when it is first used, and one that answers on the broker that asked."""

from collections.abc import Sequence

from anyio import Lock

from actors import Message, PublishError, Sink


class OnDemand:
    """Opens the sink behind it once, when it is first needed: a dead letter may never be."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
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

    async def close(self) -> None:
        if self._opened:
            self._opened = False
            await self.sink.close()


class Replies:
    """Publishes each answer on the broker whose ledger the question came through."""

    destination = "replies"

    def __init__(self, sinks: dict[int, Sink]) -> None:
        self._sinks = sinks
        """By the `id` of the ledger."""

    async def open(self) -> None:
        for sink in self._sinks.values():
            await sink.open()

    async def publish(self, run: Sequence[Message]) -> None:
        groups: dict[int, list[int]] = {}
        for index, message in enumerate(run):
            groups.setdefault(id(message.receipt.owner), []).append(index)
        failures: dict[int, Exception] = {}
        for owner, indices in groups.items():
            try:
                await self._sinks[owner].publish([run[index] for index in indices])
            except PublishError as refused:
                failures |= {indices[index]: error for index, error in refused.failures.items()}
        if failures:
            raise PublishError(failures)

    async def close(self) -> None:
        for sink in self._sinks.values():
            await sink.close()
