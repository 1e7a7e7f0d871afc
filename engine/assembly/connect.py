"""`Connect`: how the endpoints of a topology become sources and sinks; `Ends`: those that were made."""

from typing import Protocol

from actors import Clock, Deduplicate, Endpoint, Seen, SeenHere, Sink, Source
from engine.assembly.sinks import OnDemand
from engine.assembly.tracing import Traces


class Connect(Protocol):
    """How endpoints become sources and sinks: by their own brokers, or all in memory for a test."""

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source: ...

    def sink(self, endpoint: Endpoint) -> Sink: ...

    def seen(self, given: Deduplicate, name: str, clock: Clock) -> Seen: ...


class ByBroker:
    """Each endpoint by its own broker."""

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source:
        return endpoint.source(group, bound)

    def sink(self, endpoint: Endpoint) -> Sink:
        return endpoint.sink()

    def seen(self, given: Deduplicate, name: str, clock: Clock) -> Seen:
        if given.store is None:
            return SeenHere(given.window, given.most, clock)
        return given.store.seen(name, given.window, given.most)


class Ends:
    """The sources and sinks of one topology, each with what traces it in front where something does."""

    def __init__(self, connect: Connect, tracing: Traces | None = None) -> None:
        self.sinks: list[Sink] = []
        """All that were made."""
        self._connect = connect
        self._tracing = tracing

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source:
        """One more source."""
        source = self._connect.source(endpoint, group, bound)
        return source if self._tracing is None else self._tracing.source(source, endpoint, group)

    def sink(self, endpoint: Endpoint, replies: bool = False) -> Sink:
        """One more sink, opened when it is first used; `replies` go to whoever asked."""
        sink: Sink = OnDemand(self._connect.sink(endpoint))
        if self._tracing is not None:
            sink = self._tracing.sink(sink, endpoint, replies)
        self.sinks.append(sink)
        return sink
