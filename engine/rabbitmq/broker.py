"""`RabbitMQ`: a RabbitMQ server; its queues and exchanges as endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

from actors import TopologyError
from engine.brokers.endpoint import INBOX
from engine.rabbitmq.declare import ExchangeSpec, ExchangeType, Overflow, QueueSpec
from engine.rabbitmq.endpoints import RabbitExchange, RabbitQueue, replies
from engine.rabbitmq.messages import Publishing
from engine.rabbitmq.server import Server


class RabbitMQ(Server):
    """A RabbitMQ server; opens nothing when it is made.

    `url` is `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS; for the options see `RabbitMQOptions`.
    All sources of an event loop share one connection and all sinks another, each with a channel of its own.
    """

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
        bind: RabbitExchange | Sequence[RabbitExchange] = (),
        arguments: Mapping[str, Any] | None = None,
        declare: bool = True,
        mandatory: bool = True,
        persistent: bool = True,
        priority: int | None = None,
        expiration: float | None = None,
    ) -> RabbitQueue:
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
        exchanges = (bind,) if isinstance(bind, RabbitExchange) else tuple(bind)
        for exchange in exchanges:
            if not isinstance(exchange, RabbitExchange):
                raise TopologyError(
                    f"queue({name!r}, bind={bind!r:.60}): expected exchanges",
                    remedy='write bind=rabbit.exchange("events", routing_key="order.*"), or a list of those',
                )
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
    ) -> RabbitExchange:
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

    def inbox(self) -> RabbitQueue:
        """A new endpoint for replies. It outlives a lost connection, and goes when its source is closed."""
        return self.replies(f"{INBOX}{uuid4().hex}")

    def replies(self, name: str) -> RabbitQueue:
        """The endpoint behind a message's `reply_to`."""
        return replies(self, name)
