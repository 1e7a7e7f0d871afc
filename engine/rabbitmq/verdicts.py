"""What queues and exchanges, as they are, make of an edge. Pure: the asking is done elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.brokers.findings import Edge, Found, Verdict
from engine.rabbitmq.declare import QueueSpec
from engine.rabbitmq.endpoints import RabbitExchange

_DROPS_SINCE = (4,)
"""From this version on a quorum queue drops what was delivered 20 times, unless it is told otherwise."""
_MANAGEMENT = 'RabbitMQ(url, management="http://host:15672")'


@dataclass(frozen=True, slots=True)
class Node:
    """The server: whether its management API told of it, why not, and its alarms."""

    version: tuple[int, ...] = (0,)
    told: bool = False
    why: str = ""
    alarms: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is, or as it will be declared. `there` is None where that could not be asked."""

    there: bool | None
    problem: str = ""
    kind: str | None = None
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments and what a policy adds to them, without `x-`."""
    members: int | None = None
    declares: bool = True
    policies: bool = False
    """Whether what policies say is among the settings."""

    @classmethod
    def told(cls, told: Mapping[str, Any]) -> "Queue":
        """As the management API tells of it. Of a limit that is set twice the lower one counts."""
        settings = {name.removeprefix("x-"): value for name, value in (told.get("arguments") or {}).items()}
        for name, value in (told.get("effective_policy_definition") or {}).items():
            both = isinstance(value, int) and isinstance(settings.get(name), int)
            settings[name] = min(value, settings[name]) if both else settings.get(name, value)
        members = told.get("members")
        return cls(
            True,
            kind=told.get("type", "classic"),
            durable=bool(told.get("durable", True)),
            exclusive=bool(told.get("exclusive")),
            auto_delete=bool(told.get("auto_delete")),
            settings=settings,
            members=len(members) if isinstance(members, list) else None,
            policies=True,
        )

    @classmethod
    def declared(cls, spec: QueueSpec, version: tuple[int, ...], there: bool | None, problem: str = "") -> "Queue":
        """As it is declared here: one that is otherwise would be refused. With `declare=False` nothing is known."""
        if not spec.declare:
            return cls(there, problem, declares=False)
        settings = {name.removeprefix("x-"): value for name, value in spec.table(version).items()}
        return cls(there, problem, spec.kind, spec.durable, settings=settings)


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange; `bindings` counts what is bound to it, None where that is not told."""

    there: bool | None
    problem: str = ""
    bindings: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def judge(edge: Edge, node: Node, queue: Queue | None, exchange: Exchange | None = None) -> Verdict:
    """What an edge has: with its queue, or with an exchange that is published to."""
    found = Found()
    publishes = edge.role != "source"
    if node.alarms and publishes:
        means = f"the server takes no messages: it is short of {' and '.join(node.alarms)}"
        found.add("refused", "alarms", means, "free some, or raise vm_memory_high_watermark or disk_free_limit")
    if exchange is not None:
        _exchange(found, edge, exchange)
    if queue is not None:
        _existence(found, edge, queue)
        if queue.kind is not None:
            _stored(found, edge, queue)
            _dropped(found, queue, node)
    if publishes:
        _published(found, edge, queue)
    elif queue is not None:
        _consumed(found, edge, queue)
    _untold(found, node, queue, exchange)
    return found.verdict(edge)


def _exchange(found: Found, edge: Edge, exchange: Exchange) -> None:
    assert isinstance(edge.endpoint, RabbitExchange)
    spec = edge.endpoint.spec
    if exchange.problem:
        found.add("refused", f"exchange {spec.name}", exchange.problem)
    elif exchange.there is False and not spec.declare:
        found.add("refused", f"exchange {spec.name}", "there is none, and declare=False", "declare it, or declare=True")
    elif exchange.there is False:
        found.add("note", f"exchange {spec.name}", "there is none yet: it is declared when first used")
    if edge.role == "source":
        return
    unbound = exchange.bindings == 0 or exchange.there is False
    elsewhere = exchange.arguments.get("alternate-exchange")
    if unbound and edge.endpoint.manner.mandatory and elsewhere is None:
        means = "no queue is bound to it: every message comes back, and becomes a dead letter"
        found.add("refused" if exchange.there else "note", f"exchange {spec.name}", means, "bind a queue to it")


def _existence(found: Found, edge: Edge, queue: Queue) -> None:
    name = f"queue {edge.endpoint.name}"
    if queue.problem:
        found.add("refused", name, queue.problem)
    elif queue.there is False and not queue.declares:
        found.add("refused", name, "there is none, and declare=False", "declare it, or declare=True")
    elif queue.there is False:
        found.add("note", name, f"there is none yet: it is declared when first used, as a {queue.kind} queue")
    if queue.exclusive:
        found.add("refused", "exclusive=true", "it belongs to another connection alone", "another queue")


def _stored(found: Found, edge: Edge, queue: Queue) -> None:
    if queue.auto_delete:
        means = "it goes with its last consumer, and all that is in it"
        found.add("warning", "auto-delete=true", means, 'kind="quorum"')
    if (expires := queue.settings.get("expires")) is not None:
        means = f"it goes when nobody uses it for {_span(expires)}, and all that is in it"
        found.add("warning", f"x-expires={expires}", means, "a queue without x-expires")
    if queue.kind == "stream" and edge.role == "source":
        found.add("refused", "x-queue-type=stream", "streams cannot be read yet", 'kind="quorum"')
    if not queue.durable:
        found.add("warning", "durable=false", "a restart of the server loses everything", 'kind="quorum"')
    elif queue.kind == "classic":
        means = "an acknowledged message goes with the disk of its node"
        found.add("limit", "x-queue-type=classic", means, 'kind="quorum", with three nodes')
    elif queue.members == 1:
        found.add("limit", "members=1", "an acknowledged message goes with the disk of its node", "three nodes")
    manner = getattr(edge.endpoint, "manner", None)
    if edge.role == "destination" and queue.kind == "classic" and manner is not None and not manner.persistent:
        found.add("warning", "persistent=False", "a restart of the server loses what is in it", "persistent=True")


def _dropped(found: Found, queue: Queue, node: Node) -> None:
    settings = queue.settings
    elsewhere = settings.get("dead-letter-exchange")

    def drop(setting: str, means: str, advice: str) -> None:
        if elsewhere is None:
            found.add("warning", setting, f"{means} dropped", advice)
        else:
            found.add("note", setting, f"{means} sent by the server to the exchange {elsewhere or '(default)'}", advice)

    for name in ("max-length", "max-length-bytes"):
        if (most := settings.get(name)) is not None:
            overflow = settings.get("overflow", "drop-head")
            if overflow == "drop-head":
                means = "when it is full, the oldest messages are"
                drop(f"x-{name}={most}, overflow={overflow}", means, 'overflow="reject-publish"')
            else:
                means = "a full queue refuses: the publisher's retry= decides"
                found.add("note", f"x-{name}={most}, overflow={overflow}", means)
    if (ttl := settings.get("message-ttl")) is not None:
        drop(f"x-message-ttl={ttl}", f"what waits for {_span(ttl)} is", "a queue without ttl=")
    limit = settings.get("delivery-limit")
    if limit is None and queue.kind == "quorum" and node.version >= _DROPS_SINCE and queue.policies:
        limit = 20
    if limit is not None and limit >= 0 and queue.kind == "quorum":
        means = f"what a crash has interrupted {limit} times is"
        drop(f"x-delivery-limit={limit}", means, "x-delivery-limit=-1: Retry and dead_letter= decide")


def _published(found: Found, edge: Edge, queue: Queue | None) -> None:
    manner = getattr(edge.endpoint, "manner", None)
    if edge.role != "destination" or manner is None:
        return
    if not manner.mandatory and isinstance(edge.endpoint, RabbitExchange):
        found.add("warning", "mandatory=False", "what no queue takes is dropped", "mandatory=True")
    if manner.expiration is not None:
        means = f"what is not read within {manner.expiration:g} s is dropped"
        found.add("warning", f"expiration={manner.expiration:g}", means, "no expiration=")


def _consumed(found: Found, edge: Edge, queue: Queue) -> None:
    timeout = queue.settings.get("consumer-timeout")
    if timeout is not None:
        found.add("note", f"consumer-timeout={timeout}", f"all that is held for {_span(timeout)} comes again")
    else:
        means = "all that is held for so long comes again: 30 minutes, unless it was configured, which is not told"
        found.add("note", "consumer_timeout", means, 'arguments={"x-consumer-timeout": ...} for slow handlers')
    if queue.policies and edge.ordered and queue.settings.get("single-active-consumer"):
        found.add("note", "x-single-active-consumer=true", "one engine at a time reads it: order holds across engines")
    if queue.kind == "classic":
        found.add("note", "x-queue-type=classic", "attempts are not counted across restarts", 'kind="quorum"')


def _untold(found: Found, node: Node, queue: Queue | None, exchange: Exchange | None) -> None:
    if node.why:
        found.unread("management", node.why, "management= with the right URL, and a user with the tag monitoring")
    elif not node.told:
        what = "policies, members and alarms" if queue is None or queue.kind else "kind, durability and limits"
        what = what if queue is not None or exchange is None else "bindings and alarms"
        found.unread(what, "AMQP has no way to ask", _MANAGEMENT)
    elif node.alarms is None:
        found.unread("alarms", "this user may not read them", "rabbitmqctl set_user_tags USER monitoring")


def _span(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s"
