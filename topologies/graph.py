"""The compiled topology: stages and edges as frozen data, and the checks that they make sense."""

from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from actors import Batch, Deduplicate, Endpoint, Identify, Message, Retry, Supervision
from topologies.handler import Handler
from topologies.template import Template

Workers = int | tuple[int, int] | Literal["auto"]
MOST_WORKERS = 1024
"""The most workers that a pool can have: a slip of the finger must not start a million."""
Kind = Literal["subscriber", "router", "publisher"]
Lifespan = Callable[[dict[str, Any]], AsyncIterator[None]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a stage was declared with."""

    max_workers: Workers = 1
    mailbox: int = 256
    retry: Retry | None = None
    dead_letter: Endpoint | None = None
    timeout: float | None = None
    batch: Batch | None = None
    max_body: int = 64 * 1024 * 1024
    deduplicate: Deduplicate | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: a pool of actors behind a mailbox."""

    name: str
    kind: Kind
    place: str
    """`file:line` of its declaration."""
    settings: Settings
    handler: Handler | None = None
    """Of subscribers and routers."""
    sources: tuple[Endpoint, ...] = ()
    """What a subscriber takes from; empty where it takes from stages alone."""
    upstream: tuple[str, ...] = ()
    """The names of the stages whose results it takes."""
    endpoint: Endpoint | None = None
    """Of publishers: where to."""
    destination: Template | None = None
    """Of publishers: the endpoint's name, compiled."""
    lane: Callable[[Message], Hashable] | None = None
    """Of subscribers and routers with `key=`: what order is kept by."""
    identities: Callable[[str], Identify] | None = None
    """Of subscribers and routers with `deduplicate=`: of an endpoint's name, what makes two messages from it one."""
    key: Callable[[Message], str | bytes | None] | None = None
    """Of publishers with `key=`: the key that a message is published with."""
    key_field: str = ""
    """Of publishers whose key is a field of the body: its path."""
    targets: Mapping[Hashable, str] = field(default_factory=dict)
    """Of routers: what a handler may return, to the name of the stage meant."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """A topology that has passed its checks: stages in the order of the stream, sources first."""

    name: str
    stages: tuple[Stage, ...]
    supervision: Supervision
    lifespans: tuple[Lifespan, ...] = ()
    _named: dict[str, Stage] = field(init=False, repr=False, compare=False)
    _behind: dict[str, list[Stage]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        behind: dict[str, list[Stage]] = {stage.name: [] for stage in self.stages}
        for stage in self.stages:
            for name in dict.fromkeys(stage.upstream):
                behind.setdefault(name, []).append(stage)
        object.__setattr__(self, "_named", {stage.name: stage for stage in self.stages})
        object.__setattr__(self, "_behind", behind)

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError if there is none."""
        return self._named[name]

    def downstream(self, name: str) -> tuple[Stage, ...]:
        """The stages that take what this one makes; of a router, its targets."""
        return tuple(self._behind.get(name, ()))
