"""What a graph's stages do at its brokers, one record for each: receive, send, and send dead letters."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal

from actors import Described, Description, Endpoint, Server
from topologies.asyncapi_definitions import as_data
from topologies.asyncapi_schemas import Wanted, schema_of, variants
from topologies.graph import Graph, Stage
from topologies.handler import Handler
from topologies.hints import accepts_none
from topologies.inject import Header, marker
from topologies.signature import MISSING, Parameter


@dataclass(frozen=True, slots=True)
class Operation:
    """What one stage does at one endpoint."""

    topology: str
    stage: Stage
    action: Literal["receive", "send", "bury"]
    endpoint: Endpoint
    at: Description
    summary: str
    details: str = ""
    bodies: tuple[Any, ...] = ()
    """Annotations, each of a kind of message; `Any` where nothing is known."""
    headers: dict[str, Any] = field(default_factory=dict)
    """What is asked for: their schemas by name."""
    required: tuple[str, ...] = ()
    replies: tuple[Any, ...] = ()

    def wanted(self) -> Iterator[Wanted]:
        """The bodies that need a schema."""
        for body in self.bodies:
            yield body, "validation" if self.action == "receive" else "serialization"
        for reply in self.replies:
            yield reply, "serialization"


def operations(graphs: Sequence[Graph]) -> Iterator[Operation]:
    """All that they do, in the order of the stream."""
    for graph in graphs:
        for stage in graph.stages:
            if stage.handler is not None:
                yield from _received(graph, stage, stage.handler)
            if stage.endpoint is not None:
                yield _sent(graph, stage, stage.endpoint)
            yield from _buried(graph, stage)


def _received(graph: Graph, stage: Stage, handler: Handler) -> Iterator[Operation]:
    headers, required = _headers(handler)
    for source in stage.sources:
        yield Operation(
            topology=graph.name,
            stage=stage,
            action="receive",
            endpoint=source,
            at=described(source, f"{graph.name}.{stage.name}"),
            summary=stage.description,
            details=_rest_of_doc(handler.function),
            bodies=variants(handler.body),
            headers=headers,
            required=required,
            replies=_replies(stage, handler, source),
        )


def _sent(graph: Graph, stage: Stage, endpoint: Endpoint) -> Operation:
    upstream = [graph.stage(name) for name in stage.upstream]
    bodies: list[Any] = []
    for before in upstream:
        if before.handler is not None:
            bodies += [body for body in variants(before.handler.passes) if body not in bodies and body is not NoneType]
    what = [f"what {before.name} {'returns' if before.kind == 'subscriber' else 'sends here'}" for before in upstream]
    return Operation(
        topology=graph.name,
        stage=stage,
        action="send",
        endpoint=endpoint,
        at=described(endpoint, None),
        summary=f"Publishes {', and '.join(what)}." if what else "",
        bodies=tuple(bodies) or (Any,),
    )


def _buried(graph: Graph, stage: Stage) -> Iterator[Operation]:
    if stage.kind == "publisher":
        return
    named = stage.settings.dead_letter
    graves = [named] if named is not None else [source.dead_letter() for source in stage.sources]
    for grave in graves:
        yield Operation(
            topology=graph.name,
            stage=stage,
            action="bury",
            endpoint=grave,
            at=described(grave, None),
            summary=f"Messages that {stage.name} failed on, each with the reason in its headers.",
        )


def _replies(stage: Stage, handler: Handler, source: Endpoint) -> tuple[Any, ...]:
    """What goes back to those who asked; nothing where it is not known that anything does."""
    if stage.kind != "subscriber" or not source.capabilities.replies:
        return ()
    return tuple(body for body in variants(handler.returns) if body is not Any and body is not NoneType)


def described(endpoint: Endpoint, group: str | None) -> Description:
    """What it says of itself; of one that does not, what there is to see."""
    if isinstance(endpoint, Described):
        return endpoint.describe(group)
    return Description(Server(endpoint.broker.system, endpoint.broker.system), "destination", endpoint.name)


def _headers(handler: Handler) -> tuple[dict[str, Any], tuple[str, ...]]:
    wants = [*handler.wants, *(want for step in handler.steps for want in step.wants)]
    found: dict[str, Any] = {}
    required: dict[str, None] = {}
    for parameter in [want.parameter for want in wants if want.kind == "header"]:
        name = _header_name(parameter)
        schema = schema_of(parameter.hint)
        if parameter.default is MISSING:
            if not accepts_none(parameter.hint.__origin__):
                required[name] = None
        elif parameter.default is not None:
            schema["default"] = as_data(parameter.default)
        found.setdefault(name, schema)
    return found, tuple(required)


def _header_name(parameter: Parameter) -> str:
    found = marker(parameter)
    return (found.name if isinstance(found, Header) else "") or parameter.name.replace("_", "-")


def _rest_of_doc(function: Any) -> str:
    """What a docstring says after its first line. An instance or a partial has none of its own."""
    if not (inspect.isroutine(function) or inspect.isclass(function)) or not function.__doc__:
        return ""
    return inspect.cleandoc(function.__doc__).partition("\n")[2].strip()
