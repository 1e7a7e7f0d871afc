"""From declarations to nodes: named, their references to one another resolved, in the order of the stream."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from inspect import ismethod
from typing import Any

from actors import Broker, Endpoint
from topologies.checks import check_name
from topologies.declare import Declarations, Declared, Publisher
from topologies.handler import Middleware
from topologies.place import Where
from topologies.signature import name_of


def _identity(target: Any) -> Hashable:
    """What a target is known by: itself, and of a method, which is made anew each time it is named, what it is of."""
    return (id(target.__self__), id(target.__func__)) if ismethod(target) else id(target)


@dataclass(eq=False, slots=True)
class Scope:
    """The stages of one included topology; what is not found in it is looked for in those around it."""

    around: "Scope | None"
    stages: dict[Hashable, list["Node"]] = field(default_factory=dict)

    def find(self, target: Any) -> list["Node"]:
        """The stages that this function, class or publisher was declared as."""
        found = self.stages.get(_identity(target))
        if found is None and self.around is not None:
            return self.around.find(target)
        return found or []

    def add(self, node: "Node") -> None:
        """Make a stage known here and in all that is around."""
        scope: Scope | None = self
        while scope is not None:
            scope.stages.setdefault(_identity(node.declared.target), []).append(node)
            scope = scope.around


@dataclass(eq=False, slots=True)
class Node:
    """One stage to be: what was declared, its name, and what it hangs on."""

    declared: Declared
    where: Where
    scope: Scope
    middleware: tuple[Middleware, ...]
    sources: list[Endpoint] = field(default_factory=list)
    upstream: list["Node"] = field(default_factory=list)
    targets: dict[Hashable, "Node"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.where.stage

    def after(self, node: "Node") -> None:
        """Take what that one passes on."""
        if node not in self.upstream:
            self.upstream.append(node)


def resolve(declarations: Declarations) -> list[Node]:
    """All stages with their references resolved; sources first, else in the order they were declared.

    Raises `TopologyError` for names that clash, references to nothing, loose ends and cycles.
    """
    nodes = list(_gather(declarations, "", (), None))
    if not nodes:
        raise Where(declarations.place).error(
            f"topology {declarations.name} declares no stage", "put @topology.subscriber(endpoint) above a function"
        )
    _check_names(nodes)
    for node in nodes:
        _LINKS[node.declared.kind](node)
    for node in nodes:
        _check_fed(node)
    return _in_order(nodes)


def _gather(
    declarations: Declarations, prefix: str, middleware: tuple[Middleware, ...], around: Scope | None
) -> Iterator[Node]:
    scope = Scope(around)
    middleware += tuple(function for function, _ in declarations.middleware)
    taken: dict[str, int] = {}
    for declared in declarations.stages:
        if declared.target is None:
            raise Where(declared.place).error(
                f"this {declared.kind} decorates nothing",
                f"write `@topology.{declared.kind}(...)` right above a function or an Actor",
            )
        name = _name(declared, scope, taken)
        node = Node(declared, Where(declared.place, prefix + name), scope, middleware)
        scope.add(node)
        yield node
    for each in declarations.included:
        yield from _gather(each.other, prefix + each.prefix, middleware, scope)


def _name(declared: Declared, scope: Scope, taken: dict[str, int]) -> str:
    """The name given; else the function's, numbered where that function is a stage more than once.

    Publishers are named by destination, and numbered where several go there.
    """
    given, publishes = declared.options.get("name"), declared.kind == "publisher"
    name = f"to:{getattr(declared.endpoint, 'name', '?')}" if publishes else name_of(declared.target)
    check_name(given, name, declared.place)
    if isinstance(given, str):
        return given
    if publishes:
        taken[name] = number = taken.get(name, 0) + 1
    else:
        number = len(scope.stages.get(_identity(declared.target), ())) + 1
    return name if number == 1 else f"{name}-{number}"


def _check_names(nodes: Iterable[Node]) -> None:
    places: dict[str, str] = {}
    for node in nodes:
        if node.name in places:
            raise node.where.error(
                f"there is another stage of this name, declared at {places[node.name]}",
                'give one of them a name of its own: name="..."',
            )
        places[node.name] = node.declared.place


def _link_inputs(node: Node) -> None:
    for given in node.declared.inputs:
        if isinstance(given, Endpoint):
            node.sources.append(given)
            continue
        found = node.scope.find(given)
        if not found or isinstance(given, Publisher):
            raise _no_source(node, given)
        for upstream in found:
            if upstream.declared.kind == "router":
                raise node.where.error(
                    f"takes from {upstream.name}, which is a router",
                    f"declare it without sources, and name it in the to=[...] of {upstream.name}",
                )
            node.after(upstream)


def _no_source(node: Node, given: Any) -> Exception:
    if isinstance(given, Publisher):
        return node.where.error(
            f"takes from {given!r}", "take from the endpoint that it publishes to, or from the stage before it"
        )
    if isinstance(given, Broker):
        return node.where.error(
            f"{given!r:.60} is a broker, not an endpoint", 'name a destination on it: broker.topic("orders")'
        )
    if callable(given):
        return node.where.error(
            f"takes from {name_of(given)}, which is no stage of this topology",
            f"put @topology.subscriber(...) on {name_of(given)}, or include the topology that it belongs to",
        )
    return node.where.error(f"{given!r:.60} is no endpoint", 'name a destination on a broker: broker.topic("orders")')


def _link_router(node: Node) -> None:
    _link_inputs(node)
    targets = node.declared.to
    if not isinstance(targets, list | tuple) or not targets:
        raise node.where.error(
            "is a router without targets" if not targets else f"to={targets!r:.60} is no list",
            "name the publishers and stages that it may return: to=[urgent, normal]",
        )
    for target in targets:
        found = node.scope.find(target)
        if not found:
            plain = callable(target) and not isinstance(target, Publisher)
            what = name_of(target) if plain else f"{target!r:.60}"
            raise node.where.error(
                f"names {what} in its to=, which is no publisher or stage of this topology",
                "declare it first: urgent = topology.publisher(endpoint), or @topology.subscriber() on a function",
            )
        if not isinstance(target, Hashable):
            raise node.where.error(
                f"names {name_of(target)} in its to=, which cannot be hashed", "give its class a __hash__, or eq=False"
            )
        # Of a function that is several stages the one that waits for routers is meant.
        chosen = next((each for each in found if not each.declared.inputs), found[0])
        node.targets[target] = chosen
        chosen.after(node)


def _link_publisher(node: Node) -> None:
    if not isinstance(node.declared.endpoint, Endpoint):
        raise _no_source(node, node.declared.endpoint)
    for function in node.declared.inputs:
        found = node.scope.find(function)
        if not found:
            raise node.where.error(
                f"decorates {name_of(function)}, which is no stage: nothing would be published",
                f"put @topology.subscriber(...) on {name_of(function)} too",
            )
        for upstream in found:
            if upstream.declared.kind == "router":
                raise node.where.error(
                    f"decorates {upstream.name}, which is a router",
                    "name the publisher in the router's to=[...] instead, and return it",
                )
            node.after(upstream)


_LINKS: dict[str, Callable[[Node], None]] = {
    "subscriber": _link_inputs,
    "router": _link_router,
    "publisher": _link_publisher,
}


def _check_fed(node: Node) -> None:
    if node.sources or node.upstream:
        return
    if node.declared.kind == "publisher":
        raise node.where.error(
            "nothing reaches this publisher", "put it above a subscriber as a decorator, or into a router's to=[...]"
        )
    raise node.where.error(
        "takes from nothing", "name an endpoint or a stage to take from, or name it in a router's to=[...]"
    )


def _in_order(nodes: list[Node]) -> list[Node]:
    """Kahn's algorithm; among those that could be next, the one declared first is."""
    waits = {node: len(node.upstream) for node in nodes}
    behind: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for upstream in node.upstream:
            behind[upstream].append(node)
    ready = [node for node in nodes if not waits[node]]
    for node in ready:
        for other in behind[node]:
            waits[other] -= 1
            if not waits[other]:
                ready.append(other)
    if len(ready) < len(nodes):
        raise _cycle([node for node in nodes if waits[node]])
    return ready


def _cycle(left: list[Node]) -> Exception:
    """Each of these waits for another of them: going upstream among them must come round."""
    among = set(left)
    trail = [left[0]]
    while (before := next(node for node in trail[-1].upstream if node in among)) not in trail:
        trail.append(before)
    circle = [*trail[trail.index(before) :], before][::-1]
    return circle[0].where.error(
        f"a cycle: {' -> '.join(node.name for node in circle)}",
        "publish to an endpoint and subscribe to that, or leave one of these edges out",
    )
