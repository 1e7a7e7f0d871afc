"""What an assembly asks of whatever traces it: ports, so that it knows nothing of OpenTelemetry, nor imports it."""

from collections.abc import Callable
from typing import Any, Protocol

from actors import Bound, Clock, Emit, Endpoint, Ledger, Message, Retries, Sink, Source
from topologies import Stage

PassOn = Callable[[Message, Any], None]


class TracesStage(Protocol):
    """Makes the parts of one stage, traced."""

    def retries(self, *arguments: Any) -> Retries:
        """Of the same arguments as `Retries`."""
        ...

    def ledger(self, *arguments: Any) -> Ledger:
        """Of the same arguments as `Ledger`."""
        ...

    def passing_on(self, pass_on: PassOn) -> PassOn:
        """What results are passed on by."""
        ...

    def bind(
        self, bind: Callable[[Emit], Bound], clock: Clock, timeout: float | None, batch: bool, emit: Emit
    ) -> Bound:
        """A handler made ready for one worker, its timeout included; called in the worker's task."""
        ...


class Traces(Protocol):
    """Puts what traces in front of sources and sinks, and into stages."""

    def source(self, source: Source, endpoint: Endpoint, group: str) -> Source:
        """A source whose messages are followed."""
        ...

    def sink(self, sink: Sink, endpoint: Endpoint, replies: bool = False) -> Sink:
        """A sink whose messages carry their traces on; `replies` go to whoever asked."""
        ...

    def stage(self, topology: str, stage: Stage, late: bool) -> TracesStage:
        """For one stage; `late` says that passing on a result may fail."""
        ...
