"""A graph as plain data: what every drawing shows of it, and the form it has as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any, Literal

from actors import Broker, Endpoint, Retry
from topologies.graph import Graph, Kind, Stage

VERSION = 1
"""Of the JSON form. Fields may be added under the same number; one that changes or goes raises it."""


@dataclass(frozen=True, slots=True)
class EndpointOutline:
    """Where messages come from or go to. `side` says which; one that is both stands on both sides."""

    id: str
    """`source:memory:orders`; two servers of one kind are told apart as `memory` and `memory~2`."""
    side: Literal["source", "destination"]
    name: str
    """As declared: of a publisher it may be a template, `tenant.{tenant_id}`."""
    system: str
    """memory, kafka, rabbitmq, nats or redis."""
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StageOutline:
    """One stage, with what it was declared with."""

    id: str
    """`stage:enrich`."""
    kind: Kind
    name: str
    place: str
    """`file:line` of its declaration."""
    description: str
    workers: int | tuple[int, int] | Literal["auto"]
    """How many, from how many to how many, or `auto`."""
    mailbox: int
    ordered: bool
    """It keeps messages of one key in order."""
    attempts: int | None
    """How often a message is tried in all; null where that is until it is handled."""
    timeout: float | None
    """Seconds that a handler may take for a message."""
    batch: int | None
    """The most messages that its handler gets at once; null where it gets one."""
    dead_letter: str | None
    """The id of the endpoint for its dead letters; null where each source has its own, `{name}.dead`."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`flow`: the results of `start` go to `end`. `dead`: the dead letters of `start` do."""

    start: str
    end: str
    kind: Literal["flow", "dead"] = "flow"


@dataclass(frozen=True, slots=True)
class Outline:
    """The whole of it, in the order of the stream. The same graph always gives the same ids."""

    name: str
    endpoints: tuple[EndpointOutline, ...]
    stages: tuple[StageOutline, ...]
    edges: tuple[Edge, ...]

    def as_json(self) -> dict[str, Any]:
        """Made of what JSON knows; `version` comes first and says what to expect of the rest."""
        made = asdict(self)
        for endpoint in made["endpoints"]:
            endpoint["options"] = {name: plain(value) for name, value in endpoint["options"].items()}
        return {"version": VERSION, **made}


def outline(graph: Graph) -> Outline:
    """What there is to draw of a graph."""
    endpoints = _Endpoints()
    stages: list[StageOutline] = []
    edges: list[Edge] = []
    for stage in graph.stages:
        own = _stage_id(stage.name)
        edges += [Edge(endpoints.id("source", source), own) for source in stage.sources]
        edges += [Edge(_stage_id(upstream), own) for upstream in stage.upstream]
        if stage.endpoint is not None:
            edges.append(Edge(own, endpoints.id("destination", stage.endpoint)))
        dead = stage.settings.dead_letter
        dead_id = None if dead is None else endpoints.id("destination", dead)
        if dead_id is not None:
            edges.append(Edge(own, dead_id, "dead"))
        stages.append(_stage(stage, dead_id))
    return Outline(graph.name, tuple(endpoints.found), tuple(stages), tuple(edges))


def summary(stage: StageOutline) -> list[str]:
    """A stage's numbers in one or two short lines for a drawing; the second has what is not the default."""
    first = f"{_workers(stage.workers)} · mailbox {stage.mailbox}"
    more = [
        "in order by key" if stage.ordered else "",
        f"batches of {stage.batch}" if stage.batch else "",
        "" if stage.attempts == 1 else f"{stage.attempts or 'endless'} attempts",
        f"at most {stage.timeout:g} s" if stage.timeout else "",
    ]
    second = " · ".join(word for word in more if word)
    return [first, second] if second else [first]


def _stage(stage: Stage, dead_letter: str | None) -> StageOutline:
    settings = stage.settings
    return StageOutline(
        id=_stage_id(stage.name),
        kind=stage.kind,
        name=stage.name,
        place=stage.place,
        description=stage.description,
        workers=settings.max_workers,
        mailbox=settings.mailbox,
        ordered=stage.lane is not None,
        attempts=_attempts(settings.retry),
        timeout=settings.timeout,
        batch=settings.batch.size if settings.batch else None,
        dead_letter=dead_letter,
    )


def _stage_id(name: str) -> str:
    return f"stage:{name}"


def _workers(workers: int | tuple[int, int] | Literal["auto"]) -> str:
    if workers == "auto":
        return "workers: auto"
    if isinstance(workers, tuple):
        return f"{workers[0]} to {workers[1]} workers"
    return f"{workers} workers" if workers != 1 else "1 worker"


def _attempts(retry: Retry | None) -> int | None:
    if retry is None:
        return 1
    return int(retry.attempts) if retry.attempts < inf else None


def plain(value: Any) -> Any:
    """An option's value made of what JSON knows; text of anything else."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


@dataclass(slots=True)
class _Endpoints:
    """Gives each endpoint an id; equal ones on one side share it."""

    found: list[EndpointOutline] = field(default_factory=list)
    _brokers: list[tuple[Broker, str]] = field(default_factory=list)
    _known: dict[tuple[str, str], list[tuple[Endpoint, str]]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def id(self, side: Literal["source", "destination"], endpoint: Endpoint) -> str:
        same = self._known.setdefault((side, endpoint.name), [])
        # Compared one by one: endpoints are values, but their options need not be hashable.
        for known, name in same:
            if known == endpoint:
                return name
        name = self._free(f"{side}:{self._broker(endpoint.broker)}:{endpoint.name}")
        same.append((endpoint, name))
        system = endpoint.broker.system
        self.found.append(EndpointOutline(name, side, endpoint.name, system, dict(endpoint.options)))
        return name

    def _broker(self, broker: Broker) -> str:
        for known, name in self._brokers:
            if known is broker:
                return name
        name = self._free(broker.system)
        self._brokers.append((broker, name))
        return name

    def _free(self, name: str) -> str:
        free, count = name, 1
        while free in self._taken:
            count += 1
            free = f"{name}~{count}"
        self._taken.add(free)
        return free
