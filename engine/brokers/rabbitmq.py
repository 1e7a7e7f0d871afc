"""`RabbitMQ`: a RabbitMQ server; its queues and exchanges as endpoints."""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal
from uuid import uuid4
from weakref import WeakKeyDictionary

from actors import Capabilities, TopologyError
from engine.brokers.endpoint import INBOX, Enterable, Reachable
from engine.brokers.rabbitmq_declare import (
    EXCHANGE_TYPES,
    Binding,
    ExchangeSpec,
    ExchangeType,
    QueueSpec,
    declare_exchange,
    declare_queue,
)
from engine.brokers.rabbitmq_options import RabbitMQOptions
from engine.brokers.rabbitmq_sink import Declare, Manner, RabbitSink, Route
from engine.brokers.rabbitmq_source import RabbitSource
from engine.brokers.rabbitmq_wire import Shared, Wire

QUEUE = Capabilities(persistent=True, replies=True)
"""What a queue can do."""
ALONE = replace(QUEUE, partitioned=True)
"""The same with `single_active_consumer`: one engine at a time has all of it, so order by key holds across engines."""
EXCHANGE = replace(QUEUE, groups=True)
"""What an exchange can do: each group has a queue of its own."""
REPLY_EXPIRY = 60.0
"""Seconds that answers wait for one who has asked and is not connected."""


class RabbitMQ(Enterable):
    """A RabbitMQ server; opens nothing when it is made.

    `url` is `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS; for the options see `RabbitMQOptions`.
    All sources of an event loop share one connection and all sinks another, each with a channel of its own.
    """

    system = "rabbitmq"

    def __init__(self, url: str = "amqp://guest:guest@localhost/", **options: Any) -> None:
        self._options = RabbitMQOptions.of(url, options)
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Shared]] = WeakKeyDictionary()

    def queue(
        self,
        name: str,
        *,
        kind: Literal["quorum", "classic"] = "quorum",
        durable: bool = True,
        ttl: float | None = None,
        max_length: int | None = None,
        overflow: Literal["reject-publish", "drop-head", "reject-publish-dlx"] = "reject-publish",
        max_priority: int | None = None,
        single_active_consumer: bool = False,
        delivery_limit: int | None = None,
        bind: "RabbitExchange | Sequence[RabbitExchange]" = (),
        arguments: Mapping[str, Any] | None = None,
        declare: bool = True,
        mandatory: bool = True,
        persistent: bool = True,
        priority: int | None = None,
        expiration: float | None = None,
    ) -> "RabbitQueue":
        """A queue as an endpoint: publishing goes to it by the default exchange. The name may be a template.

        It is declared when it is first used, with these options; `declare=False` takes it as it is. Quorum queues count
        how often a message was delivered, classic ones only know of a second time; priorities are the classic ones'
        (`max_priority`). `bind` names exchanges whose messages it gets, by their `routing_key`; a binding
        once made stays until somebody removes it. `ttl` and `expiration` are in seconds, after which a
        message is dropped: `ttl` of any in this queue, `expiration` of those published by this endpoint; for one message
        there are the headers `amqp-expiration` and `amqp-priority`. A full queue refuses messages, unless `overflow` says
        otherwise. RabbitMQ 4 drops what it delivered 20 times in vain; Headrace declares no limit
        (`delivery_limit`).

        The server takes a message back from a consumer that holds it for more than 30 minutes (`consumer_timeout`),
        those that only wait in the stage included: raise it there for handlers that take so long.
        """
        bound = (bind,) if isinstance(bind, RabbitExchange) else tuple(bind)
        spec = QueueSpec(
            kind=kind,
            durable=durable,
            ttl=ttl,
            max_length=max_length,
            overflow=overflow,
            max_priority=max_priority,
            single_active_consumer=single_active_consumer,
            delivery_limit=delivery_limit,
            arguments=dict(arguments or {}),
            bind=tuple(exchange.binding() for exchange in bound),
            declare=declare,
        )
        spec.check(name)
        publishing = Publishing(mandatory, persistent, priority, expiration)
        return RabbitQueue(self, name, spec, publishing)

    def exchange(
        self,
        name: str,
        *,
        type: ExchangeType = "topic",
        routing_key: str | None = None,
        durable: bool = True,
        match: Mapping[str, Any] | None = None,
        group: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        declare: bool = True,
        mandatory: bool = True,
        persistent: bool = True,
        priority: int | None = None,
        expiration: float | None = None,
    ) -> "RabbitExchange":
        """An exchange as an endpoint. Its name, for people and for templates, is `exchange/routing_key`.

        Published to it is with the routing key, which may be a template: `rabbit.exchange("orders",
        routing_key="eu.{customer}")`; without one, with the message's key. What no queue takes is an error of its
        message, unless `mandatory=False`. A subscriber gets a durable quorum queue for its group, `{group}.{exchange}`
        (or what `group` says), bound by the routing key; without one a topic exchange by `#`, a consistent-hash exchange
        with weight 1; a headers exchange by the headers in `match`. For a queue of other options write
        `rabbit.queue("name", ..., bind=rabbit.exchange(...))`.
        """
        if type not in EXCHANGE_TYPES:
            raise TopologyError(f"exchange({name!r}, type={type!r})", remedy=f"known are: {', '.join(EXCHANGE_TYPES)}")
        spec = ExchangeSpec(name, type, durable, dict(arguments or {}), declare)
        publishing = Publishing(mandatory, persistent, priority, expiration)
        return RabbitExchange(self, spec, routing_key, dict(match or {}), group, publishing)

    def inbox(self) -> "RabbitQueue":
        """A new endpoint for replies. It survives a lost connection, and goes when its source is closed, or a minute
        after nobody reads it any more.
        """
        return self._replies(f"{INBOX}{uuid4().hex}")

    def _replies(self, name: str) -> "RabbitQueue":
        spec = QueueSpec(kind="classic", expires=REPLY_EXPIRY)
        return RabbitQueue(self, name, spec, Publishing(mandatory=False, persistent=False), passing=True)

    def _shared(self, purpose: str) -> Shared:
        """The connection for that purpose in the running event loop."""
        mine = self._connections.setdefault(asyncio.get_running_loop(), {})
        if purpose not in mine:
            mine[purpose] = Shared(self._options, purpose)
        return mine[purpose]

    def _reading(self) -> Shared:
        return self._shared("consuming")

    def _writing(self) -> Shared:
        return self._shared("publishing")

    def __repr__(self) -> str:
        return f"RabbitMQ({self._options.where})"


@dataclass(frozen=True, slots=True)
class Publishing:
    """How an endpoint's messages are published."""

    mandatory: bool = True
    persistent: bool = True
    priority: int | None = None
    expiration: float | None = None

    def manner(self, route: Route, declare: Declare | None) -> Manner:
        """The same with where to."""
        return Manner(route, declare, self.mandatory, self.persistent, self.priority, self.expiration)


@dataclass(frozen=True, slots=True)
class RabbitQueue(Reachable):
    """A queue, as a value."""

    broker: RabbitMQ
    name: str
    spec: QueueSpec = QueueSpec()
    publishing: Publishing = Publishing()
    passing: bool = False
    """Whether it is for replies: there while somebody waits for them, no error when nobody does any more."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return ALONE if self.spec.single_active_consumer else QUEUE

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        return _declared(self.spec) | _declared(self.publishing)

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves all queues with the same options."""
        return replace(self, name="")

    def source(self, group: str, bound: int = 256) -> RabbitSource:
        """A new source; those of all groups share what the queue has."""
        _no_template(self, self.name)
        return RabbitSource(self.broker._reading, self, self.name, self.spec, bound, self._source_of, self.passing)

    def _source_of(self, exchange: str, routing_key: str) -> str:
        return self.name

    def sink(self) -> RabbitSink:
        """A new sink; it declares the queues that it publishes to."""
        manner = self.publishing.manner(_to_queue, None if self.passing else self._declare)
        return RabbitSink(self.broker._writing, self, self.name, manner)

    async def _declare(self, wire: Wire, name: str) -> None:
        await declare_queue(wire, self, name, self.spec)

    def dead_letter(self) -> "RabbitQueue":
        """The quorum queue `{name}.dead`; it is declared when there is a first dead letter."""
        return RabbitQueue(self.broker, f"{self.name}.dead")

    def reply_to(self, destination: str) -> "RabbitQueue":
        """The queue of that name; what it does not take any more is dropped."""
        return self.broker._replies(destination)

    def __repr__(self) -> str:
        return f"{self.broker!r}.queue({self.name!r})"


@dataclass(frozen=True, slots=True)
class RabbitExchange(Reachable):
    """An exchange and a routing key, as a value."""

    broker: RabbitMQ
    spec: ExchangeSpec
    routing_key: str | None = None
    match: Mapping[str, Any] = field(default_factory=dict, hash=False)
    group: str | None = None
    publishing: Publishing = Publishing()

    @property
    def name(self) -> str:
        """`exchange/routing_key`, or the exchange alone; for a publisher it may be a template."""
        return f"{self.spec.name}/{self.routing_key}" if self.routing_key else self.spec.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return EXCHANGE

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        own = {"group": self.group, "match": self.match or None}
        return (
            _declared(self.spec) | _declared(self.publishing) | {name: it for name, it in own.items() if it is not None}
        )

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves all routing keys."""
        return replace(self, routing_key="{}" if self.routing_key else None)

    def binding(self) -> Binding:
        """What a queue is bound by. `TopologyError` where that is not said."""
        key = self.routing_key or _BINDING_KEYS.get(self.spec.type)
        if key is None:
            raise TopologyError(
                f"{self!r} says not which messages are wanted of a direct exchange",
                remedy='name their routing key: routing_key="..."',
            )
        _no_template(self, self.name)
        return Binding(self.spec, key, self.match)

    def source(self, group: str, bound: int = 256) -> RabbitSource:
        """A new source: of the queue `{group}.{exchange}`, or of the one that `group` of the endpoint says."""
        queue = self.group or f"{group}.{self.spec.name}"
        spec = QueueSpec(bind=(self.binding(),))
        return RabbitSource(self.broker._reading, self, queue, spec, bound, self._source_of)

    def _source_of(self, exchange: str, routing_key: str) -> str:
        if not exchange:
            return self.name
        return f"{exchange}/{routing_key}" if routing_key else exchange

    def sink(self) -> RabbitSink:
        """A new sink; it declares the exchange, and no queue."""
        route = partial(_to_exchange, self.spec.name.count("/") + 1) if self.routing_key else _to_exchange_by_key
        return RabbitSink(self.broker._writing, self, self.name, self.publishing.manner(route, self._declare))

    async def _declare(self, wire: Wire, name: str) -> None:
        await declare_exchange(wire, self, replace(self.spec, name=name))

    def dead_letter(self) -> RabbitQueue:
        """The quorum queue `{name}.dead`; it is declared when there is a first dead letter."""
        return RabbitQueue(self.broker, f"{self.name}.dead")

    def reply_to(self, destination: str) -> RabbitQueue:
        """The queue of that name; what it does not take any more is dropped."""
        return self.broker._replies(destination)

    def __repr__(self) -> str:
        key = f", routing_key={self.routing_key!r}" if self.routing_key else ""
        return f"{self.broker!r}.exchange({self.spec.name!r}{key})"


_BINDING_KEYS = {"topic": "#", "fanout": "", "headers": "", "x-consistent-hash": "1"}
"""What a queue is bound by where its endpoint has no routing key."""


def _to_queue(destination: str, key: str | bytes | None) -> tuple[str, str]:
    return "", destination


def _to_exchange(slashes: int, destination: str, key: str | bytes | None) -> tuple[str, str]:
    *exchange, routing_key = destination.split("/", slashes)
    return "/".join(exchange), routing_key


def _to_exchange_by_key(destination: str, key: str | bytes | None) -> tuple[str, str]:
    return destination, key.decode() if isinstance(key, bytes) else key or ""


def _no_template(endpoint: object, name: str) -> None:
    if "{" in name:
        raise TopologyError(
            f"{endpoint!r} is a template: it can be published to, and not read", remedy="name one queue"
        )


def _declared(of: Any) -> dict[str, Any]:
    """What differs from the defaults."""
    return {
        each.name: value
        for each in fields(of)
        if each.name != "name" and (value := getattr(of, each.name)) != _default(each)
    }


def _default(of: "Field[Any]") -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()
