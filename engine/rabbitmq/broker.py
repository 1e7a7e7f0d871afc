"""`RabbitMQ`: a RabbitMQ server; its queues and exchanges as endpoints."""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal
from uuid import uuid4
from weakref import WeakKeyDictionary

from actors import Capabilities, Description, TopologyError
from engine.brokers.endpoint import INBOX, Enterable, Reachable
from engine.rabbitmq.declare import (
    Binding,
    ExchangeSpec,
    ExchangeType,
    Overflow,
    QueueSpec,
    declare_exchange,
    declare_queue,
)
from engine.rabbitmq.described import describe_exchange, describe_queue
from engine.rabbitmq.messages import Publishing
from engine.rabbitmq.options import RabbitMQOptions
from engine.rabbitmq.shared import Shared
from engine.rabbitmq.sink import RabbitSink
from engine.rabbitmq.source import RabbitSource
from engine.rabbitmq.wire import Wire

QUEUE = Capabilities(persistent=True, replies=True)
"""What a queue can do."""
ALONE = replace(QUEUE, partitioned=True)
"""The same with `single_active_consumer`: one engine at a time has all of it, so order by key holds across engines."""
EXCHANGE = replace(QUEUE, groups=True)
"""What an exchange can do: each group has a queue of its own."""
REPLY_EXPIRY = 60.0
"""Seconds that answers wait for one who has asked and has lost the connection."""


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
        overflow: Overflow = "reject-publish",
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
        """A queue as an endpoint: it is published to by the default exchange. The name may be a template.

        It is declared when it is first used, with these options; `declare=False` takes it as it is. Quorum queues
        count how often a message was delivered; classic ones know only that it was not the first time, and alone have
        priorities (`max_priority`). `bind` names exchanges whose messages it gets, by their `routing_key`; a
        binding once made stays until somebody removes it. A full queue refuses messages, unless `overflow` says
        otherwise. `ttl` and `expiration` are seconds after which a message is dropped: `ttl` any in this
        queue, `expiration` one that this endpoint published; a single message may have the headers `amqp-expiration`
        and `amqp-priority`. RabbitMQ 4 drops what it has delivered in vain 20 times: queues declared here
        have no such limit, unless `delivery_limit` is given.

        The server takes back what a consumer holds for more than 30 minutes (`consumer_timeout`), also what only waits
        in a mailbox: raise that in its configuration where handlers take so long.
        """
        exchanges = (bind,) if isinstance(bind, RabbitExchange) else bind
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
            bind=tuple(exchange.binding() for exchange in exchanges),
            declare=declare,
        )
        spec.check(name)
        return RabbitQueue(self, name, spec, Publishing(mandatory, persistent, priority, expiration))

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
        """An exchange as an endpoint. Its name, for templates and for people, is `exchange/routing_key`.

        A publisher publishes with the routing key, which may be a template: `rabbit.exchange("orders",
        routing_key="eu.{customer}")`; without one, with the message's key. What no queue takes is an error of
        that message, unless `mandatory=False`.

        A subscriber reads a quorum queue of its group's own, `{group}.{exchange}` or what `group` says, bound by the
        routing key; without one by `#` to a topic exchange, with weight 1 to a consistent-hash exchange, and by
        the headers in `match` to a headers exchange. For a queue with options of its own write
        `rabbit.queue("name", ..., bind=rabbit.exchange(...))`.
        """
        spec = ExchangeSpec(name, type, durable, dict(arguments or {}), declare)
        spec.check()
        manner = Publishing(mandatory, persistent, priority, expiration)
        return RabbitExchange(self, spec, routing_key, dict(match or {}), group, manner)

    def inbox(self) -> "RabbitQueue":
        """A new endpoint for replies. It outlives a lost connection, and goes when its source is closed."""
        return self.replies(f"{INBOX}{uuid4().hex}")

    def replies(self, name: str) -> "RabbitQueue":
        """The endpoint behind a message's `reply_to`: a queue that somebody reads, or does not read any more."""
        spec = QueueSpec(kind="classic", expires=REPLY_EXPIRY)
        return RabbitQueue(self, name, spec, Publishing(mandatory=False, persistent=False), passing=True)

    def asking(self) -> Shared:
        """A new connection, for looking at what there is; it reads nothing and publishes nothing."""
        return Shared(self._options, "pre-flight")

    @property
    def told(self) -> RabbitMQOptions:
        """What it was told of its server."""
        return self._options

    def reading(self) -> Shared:
        """The connection of all sources in the running event loop."""
        return self._shared("consuming")

    def writing(self) -> Shared:
        """The connection of all sinks in the running event loop. A server that is short of memory stops this one."""
        return self._shared("publishing")

    def _shared(self, purpose: str) -> Shared:
        mine = self._connections.setdefault(asyncio.get_running_loop(), {})
        if purpose not in mine:
            mine[purpose] = Shared(self._options, purpose)
        return mine[purpose]

    def __repr__(self) -> str:
        return f"RabbitMQ({self._options.where})"


@dataclass(frozen=True, slots=True)
class RabbitQueue(Reachable):
    """A queue, as a value."""

    broker: RabbitMQ
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
        return describe_queue(self.broker._options, self.name, self.spec, None if group is not None else self.manner)

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
        return self.broker.replies(destination)

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
    manner: Publishing = field(default_factory=Publishing)

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
        own = {name: value for name, value in (("group", self.group), ("match", self.match)) if value}
        return _declared(self.spec) | _declared(self.manner) | own

    def describe(self, group: str | None) -> Description:
        """The exchange as AsyncAPI has it."""
        reading = group is not None
        key = self.routing_key or (_BOUND_BY.get(self.spec.type) if reading else None) or None
        queue = self.queue_of(group) if group is not None else ""
        return describe_exchange(self.broker._options, self.spec, key, queue, None if reading else self.manner)

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
        return self.broker.replies(destination)

    def __repr__(self) -> str:
        return f"{self.broker!r}.exchange({self.name!r})"


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
