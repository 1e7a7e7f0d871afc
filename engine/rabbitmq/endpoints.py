"""`RabbitQueue` and `RabbitExchange`: what is read and published to, as values."""

from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import partial
from typing import Any

from actors import Capabilities, Description, TopologyError
from engine.brokers.endpoint import Reachable
from engine.rabbitmq.declare import Binding, ExchangeSpec, QueueSpec, declare_exchange, declare_queue
from engine.rabbitmq.described import describe_exchange, describe_queue
from engine.rabbitmq.messages import Publishing
from engine.rabbitmq.server import Server
from engine.rabbitmq.sink import RabbitSink
from engine.rabbitmq.source import RabbitSource
from engine.rabbitmq.wire import Wire

QUEUE = Capabilities(persistent=True, replies=True)
"""What a queue can do."""
ALONE = replace(QUEUE, partitioned=True)
"""The same with `single_active_consumer`: one engine at a time has all of it, so order by key holds across engines."""
EXCHANGE = replace(QUEUE, groups=True)
"""What an exchange can do: each group has a queue of its own."""
_ANY = "{reply_to}"
"""Where a sink for replies publishes to: to what each of them names; one such that is full holds up no other."""
REPLY_EXPIRY = 60.0
"""Seconds that answers wait for one who has asked and has lost the connection."""


@dataclass(frozen=True, slots=True)
class RabbitQueue(Reachable):
    """A queue, as a value."""

    broker: Server
    name: str
    spec: QueueSpec = field(default_factory=QueueSpec)
    manner: Publishing = field(default_factory=Publishing)
    passing: bool = False
    """Whether it is for replies: there while somebody waits for them, and no error when nobody does any more."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return ALONE if self.spec.single_active_consumer else QUEUE

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        bound = [f"{each.exchange.name}/{each.routing_key}" for each in self.spec.bind]
        return _declared(self.spec) | _declared(self.manner) | ({"bind": bound} if bound else {})

    def describe(self, group: str | None) -> Description:
        """The queue as AsyncAPI has it."""
        return describe_queue(self.broker.told, self.name, self.spec, None if group is not None else self.manner)

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves all queues with the same options."""
        return replace(self, name="")

    def source(self, group: str, bound: int = 256) -> RabbitSource:
        """A new source. All groups share what the queue has: each message goes to one of them."""
        _check_no_template(self, self.name)
        return RabbitSource(self.broker.reading, self, self.name, self.spec, bound, self._source_of, self.passing)

    def _source_of(self, exchange: str, routing_key: str) -> str:
        return self.name

    def sink(self) -> RabbitSink:
        """A new sink; it declares the queues that it publishes to."""
        declare = None if self.passing else self._declare
        return RabbitSink(self.broker.writing, self, self.name, _to_queue, self.manner, declare)

    async def _declare(self, wire: Wire, name: str) -> None:
        await declare_queue(wire, self, name, self.spec)

    def dead_letter(self) -> "RabbitQueue":
        """The quorum queue `{name}.dead`, declared when there is a first dead letter."""
        return RabbitQueue(self.broker, f"{self.name}.dead")

    def as_it_is(self) -> "RabbitQueue":
        """The same queue, never declared."""
        return replace(self, spec=replace(self.spec, declare=False))

    def reply_to(self, destination: str) -> "RabbitQueue":
        """The queue of that name; a reply that it does not take any more is dropped."""
        return replies(self.broker, _ANY if destination == self.name else destination)

    def __repr__(self) -> str:
        return f"{self.broker!r}.queue({self.name!r})"


@dataclass(frozen=True, slots=True)
class RabbitExchange(Reachable):
    """An exchange and a routing key, as a value."""

    broker: Server
    spec: ExchangeSpec
    routing_key: str | None = None
    match: Mapping[str, Any] = field(default_factory=dict, hash=False)
    group: str | None = None
    manner: Publishing = field(default_factory=Publishing)

    @property
    def name(self) -> str:
        """`exchange/routing_key`, or the exchange alone; for a publisher it may be a template."""
        return f"{self.spec.name}/{self.routing_key}" if self.routing_key else self.spec.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. In a binding to a topic exchange `*` is a word, and `#` any number of them."""
        words = (self.routing_key or "").split(".") if self.spec.type == "topic" else []
        return replace(EXCHANGE, pattern=not {"*", "#"}.isdisjoint(words))

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        own = {name: value for name, value in (("group", self.group), ("match", self.match)) if value}
        return _declared(self.spec) | _declared(self.manner) | own

    def describe(self, group: str | None) -> Description:
        """The exchange as AsyncAPI has it."""
        reading = group is not None
        key = self.routing_key or (_BOUND_BY.get(self.spec.type) if reading else None) or None
        queue = self.queue_of(group) if group is not None else ""
        return describe_exchange(self.broker.told, self.spec, key, queue, None if reading else self.manner)

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves all routing keys."""
        return replace(self, routing_key="{}" if self.routing_key else None)

    def binding(self) -> Binding:
        """What a queue is bound by. Raises `TopologyError` where that is not said."""
        _check_no_template(self, self.name)
        key = self.routing_key or _BOUND_BY.get(self.spec.type)
        if key is None:
            raise TopologyError(
                f"{self!r} does not say which messages of a direct exchange are wanted",
                remedy='name their routing key: routing_key="..."',
            )
        return Binding(self.spec, key, self.match)

    def source(self, group: str, bound: int = 256) -> RabbitSource:
        """A new source: of the queue `{group}.{exchange}`, or of the one that the endpoint's `group` names."""
        spec = QueueSpec(bind=(self.binding(),))
        return RabbitSource(self.broker.reading, self, self.queue_of(group), spec, bound, self._source_of)

    def queue_of(self, group: str) -> str:
        """The name of the queue that a group reads."""
        return self.group or f"{group}.{self.spec.name}"

    def _source_of(self, exchange: str, routing_key: str) -> str:
        if not exchange:
            return self.name
        return f"{exchange}/{routing_key}" if routing_key else exchange

    def sink(self) -> RabbitSink:
        """A new sink; it declares the exchange, and no queue."""
        route_of = partial(_to_exchange, self.spec.name.count("/") + 1) if self.routing_key else _by_key
        return RabbitSink(self.broker.writing, self, self.name, route_of, self.manner, self._declare)

    async def _declare(self, wire: Wire, name: str) -> None:
        await declare_exchange(wire, self, replace(self.spec, name=name))

    def dead_letter(self) -> RabbitQueue:
        """The quorum queue `{name}.dead`, declared when there is a first dead letter."""
        return RabbitQueue(self.broker, f"{self.name}.dead")

    def as_it_is(self) -> "RabbitExchange":
        """The same exchange, never declared."""
        return replace(self, spec=replace(self.spec, declare=False))

    def covers(self, name: str) -> bool:
        """Whether what is read here may have come from there."""
        return name == self.spec.name or name.startswith(f"{self.spec.name}/")

    def reply_to(self, destination: str) -> RabbitQueue:
        """The queue of that name; a reply that it does not take any more is dropped."""
        return replies(self.broker, _ANY if destination == self.name else destination)

    def __repr__(self) -> str:
        return f"{self.broker!r}.exchange({self.name!r})"


def replies(broker: Server, name: str) -> RabbitQueue:
    """The endpoint behind a message's `reply_to`: a queue that somebody reads, or does not read any more."""
    spec = QueueSpec(kind="classic", expires=REPLY_EXPIRY)
    return RabbitQueue(broker, name, spec, Publishing(mandatory=False, persistent=False), passing=True)


_BOUND_BY = {"topic": "#", "fanout": "", "headers": "", "x-consistent-hash": "1"}
"""The routing key that a queue is bound by where its endpoint has none."""


def _to_queue(destination: str, key: str | bytes | None) -> tuple[str, str]:
    return "", destination


def _to_exchange(slashes: int, destination: str, key: str | bytes | None) -> tuple[str, str]:
    *exchange, routing_key = destination.split("/", slashes)
    if len(exchange) < slashes:
        raise ValueError(f"{destination!r} is no exchange/routing_key")
    return "/".join(exchange), routing_key


def _by_key(destination: str, key: str | bytes | None) -> tuple[str, str]:
    return destination, key.decode() if isinstance(key, bytes) else key or ""


def _check_no_template(endpoint: object, name: str) -> None:
    if "{" in name:
        raise TopologyError(
            f"{endpoint!r} is a template: it can be published to, and not read", remedy="name one place"
        )


def _declared(of: Any) -> dict[str, Any]:
    """What differs from the defaults."""
    optional = [each for each in fields(of) if each.name != "name"]
    return {each.name: getattr(of, each.name) for each in optional if getattr(of, each.name) != _made(each)}


def _made(of: "Field[Any]") -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()
