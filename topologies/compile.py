"""The graph made of declarations: every stage checked, its handler, keys and destinations compiled."""

from collections.abc import Iterable
from typing import Any

from topologies.checks import check_lifespans, check_middleware, check_timeout, settings_of
from topologies.declare import Declarations
from topologies.edges import check_dead_letters, check_destination, check_sources
from topologies.graph import Graph, Lifespan, Settings, Stage
from topologies.handler import Handler, compile_handler
from topologies.identities import identities_of
from topologies.keys import check_fields, lane_of, published_key
from topologies.resolve import Node, resolve
from topologies.template import Template


def compile_graph(declarations: Declarations) -> Graph:
    """Compile what was declared; raises `TopologyError` for the first thing that cannot work."""
    everything = list(dict.fromkeys(declarations.everything()))
    for part in everything:
        check_middleware(part.middleware)
        check_lifespans(part.lifespans)
    handlers: dict[Node, Handler] = {}
    stages = tuple(_stage(node, handlers) for node in resolve(declarations))
    return Graph(declarations.name, stages, declarations.supervision, tuple(_lifespans(everything)))


def _lifespans(everything: Iterable[Declarations]) -> list[Lifespan]:
    """Each once, however often its topology is included; those of whoever includes come first."""
    return [lifespan for part in everything for lifespan, _ in part.lifespans]


def _stage(node: Node, handlers: dict[Node, Handler]) -> Stage:
    settings = settings_of(node.declared, node.where)
    if node.declared.kind == "publisher":
        return _publisher(node, settings, [handlers[upstream] for upstream in node.upstream])
    check_sources(node.sources, node.where)
    check_dead_letters(settings, node.sources, node.where)
    handler = handlers[node] = compile_handler(
        node.declared.target,
        node.where,
        names=node.declared.names,
        router=node.declared.kind == "router",
        batch=settings.batch is not None,
        from_broker=bool(node.sources),
        middleware=node.middleware,
    )
    check_timeout(settings, handler, node.where)
    return Stage(
        name=node.name,
        kind=node.declared.kind,
        place=node.declared.place,
        settings=settings,
        handler=handler,
        sources=tuple(node.sources),
        upstream=tuple(upstream.name for upstream in node.upstream),
        lane=lane_of(node.declared.options.get("key"), handler, node.where),
        identities=identities_of(settings.deduplicate, node.sources, handler, node.where),
        targets={target: other.name for target, other in node.targets.items()},
        description=_first_line(node.declared.target),
    )


def _publisher(node: Node, settings: Settings, upstream: list[Handler]) -> Stage:
    endpoint = node.declared.endpoint
    check_destination(endpoint, node.where)
    try:
        destination = Template(endpoint.name)
    except ValueError as error:
        raise node.where.error(
            f"its destination cannot be read: {error}", "write {field}, or {{ and }} for braces that stay"
        ) from None
    key = node.declared.options.get("key")
    check_fields(destination.fields, upstream, node.where, f"destination {endpoint.name!r}")
    return Stage(
        name=node.name,
        kind="publisher",
        place=node.declared.place,
        settings=settings,
        upstream=tuple(other.name for other in node.upstream),
        endpoint=endpoint,
        destination=destination,
        key=published_key(key, upstream, node.where),
        key_field=key if isinstance(key, str) else "",
    )


def _first_line(function: Any) -> str:
    # Not inspect.getdoc: an actor without words of its own would have those of Actor.
    return (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
