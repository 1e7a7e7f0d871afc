"""A topology on trial: its embedded brokers are fed from outside, and all that it publishes is shown."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import anyio

from actors import (
    DEAD_LETTER_PREFIX,
    Clock,
    Deduplicate,
    Endpoint,
    Message,
    PublishError,
    Seen,
    SeenHere,
    Sink,
    Source,
)
from engine.engine import Engine
from topologies import Graph

Show = Callable[[Message], None]


class Trial:
    """Runs a graph until it has handled the messages that it is fed; shows each one that it publishes.

    Dead letters are among those shown: `is_dead` tells them apart.
    """

    def __init__(self, graph: Graph, endpoint: Endpoint, show: Show) -> None:
        self.engine = Engine(graph, connect=self)
        self.endpoint = endpoint
        self.show = show
        self.fed = 0
        self.feeding = True

    async def run(self, runs: AsyncIterator[list[Message]]) -> None:
        """Feed it these runs of messages; return when all is settled. Raises what `Engine.run` and `publish` do."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._feed, runs)
            await self.engine.run(burst=True)

    async def _feed(self, runs: AsyncIterator[list[Message]]) -> None:
        # Not before the groups are there: a topic that nobody reads lets its oldest messages go.
        await self.engine.started.wait()
        sink = self.endpoint.sink()
        await sink.open()
        async for run in runs:
            await sink.publish(run)
            self.fed += len(run)
        await sink.close()
        self.feeding = False

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source:
        """The endpoint's own source; it is not empty before the feeding is over."""
        return _Fed(endpoint.source(group, bound), self)

    def sink(self, endpoint: Endpoint) -> Sink:
        """The endpoint's own sink, watched."""
        return _Watched(endpoint.sink(), self.show)

    def seen(self, given: Deduplicate, name: str, clock: Clock) -> Seen:
        """What was done in this trial, and never before it."""
        return SeenHere(given.window, given.most, clock)


def is_dead(message: Message) -> bool:
    """Whether a message that was published is a dead letter."""
    return f"{DEAD_LETTER_PREFIX}reason" in (message.headers or {})


class _Fed:
    def __init__(self, source: Source, trial: Trial) -> None:
        self._source = source
        self._trial = trial
        self.open, self.fetch, self.settle, self.close = source.open, source.fetch, source.settle, source.close

    def pending(self) -> int | None:
        return 1 if self._trial.feeding else self._source.pending()


class _Watched:
    def __init__(self, sink: Sink, show: Show) -> None:
        self._sink = sink
        self._show = show
        self.open, self.close = sink.open, sink.close

    @property
    def destination(self) -> str:
        return self._sink.destination

    async def publish(self, run: Sequence[Message]) -> None:
        try:
            await self._sink.publish(run)
        except PublishError as refused:
            self._shown(message for index, message in enumerate(run) if index not in refused.failures)
            raise
        self._shown(run)

    def _shown(self, run: Iterable[Message]) -> None:
        for message in run:
            self._show(message)
