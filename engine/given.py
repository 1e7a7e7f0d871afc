"""What an engine and its handlers were given, checked: what cannot be is told by its name before anything runs."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from actors import Clock, TopologyError
from topologies import Graph, Topology


def graphs_of(given: Iterable[Any]) -> tuple[Graph, ...]:
    """The graphs of topologies. Raises what `graph_of` does, and `TopologyError` where two of them have one name.

    They would share consumer groups, series of metrics, and what they are told.
    """
    graphs = tuple(map(graph_of, given))
    names = [graph.name for graph in graphs]
    for name in names:
        if names.count(name) > 1:
            raise TopologyError(f"two topologies are called {name}", remedy="give each Topology a name of its own")
    return graphs


def graph_of(given: Any) -> Graph:
    """The graph of a topology. Raises `TypeError`, and whatever `TopologyError` its declarations do."""
    if isinstance(given, Topology):
        return given.graph()
    if isinstance(given, Graph):
        return given
    hint = "; give them one by one: Engine(*topologies)" if isinstance(given, list | tuple | set) else ""
    raise TypeError(f"Engine({given!r:.60}): expected a Topology, or the graph of one{hint}")


def seconds(name: str, given: Any, *, zero: bool = False) -> float:
    """A length of time. Raises `TypeError` for what is no number and `ValueError` for one that is no time."""
    told = f"Engine({name}={given!r:.60}): expected seconds, {'0 or more' if zero else 'more than 0'}"
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(told)
    if not isfinite(given) or given < 0 or (given == 0 and not zero):
        raise ValueError(told)
    return given


def offers(name: str, given: Any, methods: tuple[str, ...], expected: str) -> None:
    """Raise `TypeError` unless it is None or has those methods."""
    if given is not None and (
        isinstance(given, type) or not all(callable(getattr(given, each, None)) for each in methods)
    ):
        raise TypeError(f"Engine({name}={given!r:.60}): expected {expected}, or None")


def clock_of(given: Any) -> Clock:
    """The clock, or the machine's. Raises `TypeError`."""
    if given is not None and not isinstance(given, Clock):
        raise TypeError(f"Engine(clock={given!r:.60}): expected a Clock, or None for the machine's")
    return given or Clock()


def check_context(graph: Graph, context: Mapping[str, Any]) -> None:
    """Raise `TopologyError` where its lifespans have left something out that a handler asks for."""
    for stage in graph.stages:
        missing = sorted(stage.handler.needs - context.keys()) if stage.handler is not None else []
        if missing:
            raise TopologyError(
                f'stage {stage.name} asks for Context("{missing[0]}"), which no lifespan has set',
                remedy=f'set context["{missing[0]}"] in a function decorated with @topology.lifespan',
                place=stage.place,
            )
