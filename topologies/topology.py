"""`Topology`: how messages flow, declared."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

from actors import Endpoint, Supervision
from topologies.checks import check_include, check_topology
from topologies.compile import compile_graph
from topologies.declare import (
    Declarations,
    Declared,
    Function,
    Included,
    Publisher,
    PublisherOptions,
    StageOptions,
    give_send,
)
from topologies.graph import Graph
from topologies.place import Where, caller


class Topology:
    """Subscribers, routers and publishers by name, and how they hang together.

    Declaring starts nothing and checks nothing; `graph` does the checking. The decorators give back the function
    that they decorate, and in whatever order they stand they mean the same.
    """

    def __init__(self, name: str, supervision: Supervision = Supervision()) -> None:  # noqa: B008 - frozen
        place, _ = caller()
        check_topology(name, supervision, Where(place))
        self._declarations = Declarations(name, place, supervision)
        self._compiled: tuple[int, Graph] | None = None

    @property
    def name(self) -> str:
        """Part of the names of consumer groups, and of everything that is logged and counted."""
        return self._declarations.name

    def subscriber(
        self, *sources: Endpoint | Callable[..., Any], **options: Unpack[StageOptions]
    ) -> Callable[[Function], Function]:
        """Handle what comes from these endpoints and stages.

        What the handler returns goes to every stage and publisher behind it, None goes nowhere, and each item of a
        generator goes on as a message of its own. A second subscriber on the same function is a stage of its own,
        `name-2`; what is behind the function takes from both. Without sources it takes what routers send to it.
        """
        place, _ = caller()
        return self._stage(Declared("subscriber", place, options, list(sources)))

    def router(
        self,
        *sources: Endpoint | Callable[..., Any],
        to: Sequence[Publisher | Callable[..., Any]] = (),
        **options: Unpack[StageOptions],
    ) -> Callable[[Function], Function]:
        """Say where each message goes.

        The handler returns one of the publishers and stages in `to`, or `target.send(body, key=..., headers=...)`,
        or a list of those, or None. A `def` is called in the event loop, not in a thread: it must not block.
        """
        place, _ = caller()
        return self._stage(Declared("router", place, options, list(sources), to=to))

    def publisher(self, endpoint: Endpoint, **options: Unpack[PublisherOptions]) -> Publisher:
        """Publish what reaches it: the results of the functions that it decorates, and what routers send to it."""
        place, _ = caller()
        declared = Declared("publisher", place, options, [], endpoint=endpoint)
        declared.target = Publisher(declared, self._declarations.changed)
        self._add(declared)
        publisher: Publisher = declared.target
        return publisher

    def middleware(self, function: Function) -> Function:
        """Wrap every handler call: `async def timing(call_next, message)` awaits `call_next(message)`.

        The first declared is the outermost. It wraps the handlers of included topologies too, outside their own.
        """
        self._declarations.middleware.append((function, caller()[0]))
        self._declarations.changed()
        return function

    def lifespan(self, function: Function) -> Function:
        """Set up before the first message, tear down after the last: an async generator of `context` with one yield."""
        self._declarations.lifespans.append((function, caller()[0]))
        self._declarations.changed()
        return function

    def include(self, other: "Topology", prefix: str = "") -> None:
        """Take in all that another topology declares, now or later; `prefix` goes before its stages' names.

        Destinations stay as they are. The supervision is this topology's.
        """
        place, _ = caller()
        inner = getattr(other, "_declarations", None)
        check_include(self._declarations, inner, prefix, Where(place))
        self._declarations.included.append(Included(other._declarations, prefix))
        self._declarations.changed()

    def graph(self) -> Graph:
        """Compile and check. The same graph is given until something more is declared.

        Raises `TopologyError` for the first thing that cannot work.
        """
        state = self._declarations.state()
        if self._compiled is None or self._compiled[0] != state:
            self._compiled = (state, compile_graph(self._declarations))
        return self._compiled[1]

    def _stage(self, declared: Declared) -> Callable[[Function], Function]:
        self._add(declared)

        def decorate(function: Function) -> Function:
            _, names = caller()
            stage = declared
            if stage.target is not None:
                stage = replace(declared)
                self._add(stage)
            stage.target = function
            # Annotations in quotes may name what is local to the function around this one.
            stage.names = dict(names) if "<locals>" in getattr(function, "__qualname__", "") else {}
            give_send(function)
            self._declarations.changed()
            return function

        return decorate

    def _add(self, declared: Declared) -> None:
        self._declarations.stages.append(declared)
        self._declarations.changed()

    def __repr__(self) -> str:
        counts = []
        for kind in ("subscriber", "router", "publisher"):
            count = sum(each.kind == kind for part in self._declarations.everything() for each in part.stages)
            counts.append(f"{count} {kind}{'' if count == 1 else 's'}")
        return f"<Topology {self.name}: {', '.join(counts)}>"
