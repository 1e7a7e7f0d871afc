"""`Places`: the endpoints that topologies under test take from, publish to and bury in; any other is a slip. Pure."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from actors import Endpoint, TopologyError
from topologies import Graph

LISTED = 8
"""Endpoints that an error names."""


class Places:
    """What graphs know of endpoints, by their broker object and their name.

    A test that asks for a place that no stage knows would be told of no messages, whatever the stages do.
    """

    def __init__(self, graphs: Iterable[Graph]) -> None:
        stages = [stage for graph in graphs for stage in graph.stages]
        self._sources = [source for stage in stages for source in stage.sources]
        self._graves = [stage.settings.dead_letter for stage in stages if stage.settings.dead_letter is not None]
        self._graves += [source.dead_letter() for source in self._sources]
        self._targets = [
            (stage.endpoint, stage.destination)
            for stage in stages
            if stage.endpoint is not None and stage.destination is not None
        ]

    def check_source(self, asked: str, endpoint: Any) -> None:
        """Raise `TopologyError` for an endpoint that no stage takes from; `asked` is what the test called."""
        if not _among(self._sources, _endpoint(asked, endpoint)):
            raise _unknown(f"{asked}({endpoint!r}): no stage takes from it", endpoint, self._sources)

    def check(self, asked: str, endpoint: Any, answered: Callable[[Endpoint], bool]) -> None:
        """Raise `TopologyError` for an endpoint that no stage takes from, publishes to or buries in.

        Replies go where no stage declares it: `answered` says whether they were wanted there, or are there.
        """
        if _among([*self._sources, *self._graves], _endpoint(asked, endpoint)) or answered(endpoint):
            return
        if any(each.broker is endpoint.broker and place.matches(endpoint.name) for each, place in self._targets):
            return
        known = [*(each for each, _ in self._targets), *self._sources, *self._graves]
        problem = f"{asked}({endpoint!r}): no stage publishes to it, takes from it or has its dead letters there"
        raise _unknown(problem, endpoint, known)


def _endpoint(asked: str, value: Any) -> Endpoint:
    if not isinstance(value, Endpoint):
        raise TopologyError(f"{asked}({value!r:.60}): expected an endpoint", remedy='write broker.topic("orders")')
    return value


def _covers(source: Endpoint, endpoint: Endpoint) -> bool:
    covers: Callable[[str], bool] | None = getattr(source, "covers", None)
    return covers is not None and source.broker is endpoint.broker and covers(endpoint.name)


def _among(known: Iterable[Endpoint], endpoint: Endpoint) -> bool:
    return any(each.broker is endpoint.broker and each.name == endpoint.name for each in known)


def _unknown(problem: str, endpoint: Endpoint, known: Iterable[Endpoint]) -> TopologyError:
    by_name = {repr(each): each for each in known}
    over = [name for name, each in by_name.items() if _covers(each, endpoint)]
    if _among(by_name.values(), endpoint):
        hint = "it is a template: ask for what it was filled in to; "
    elif any(each.name == endpoint.name for each in by_name.values()):
        hint = "a broker made anew is another one, so name the object that the topology was declared with; "
    elif over:
        hint = f"a Harness knows a pattern by itself alone: name {over[0]}; "
    else:
        close = get_close_matches(repr(endpoint), by_name, n=1, cutoff=0.8)
        hint = f"did you mean {close[0]}? " if close else ""
    listed = ", ".join([*by_name][:LISTED]) + (", ..." if len(by_name) > LISTED else "")
    return TopologyError(problem, remedy=f"{hint}known are: {listed or 'none'}")
