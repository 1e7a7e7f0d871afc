"""Queues and exchanges in AsyncAPI's words, for documents."""

from typing import Any

from actors import Description, Server
from engine.rabbitmq.declare import ExchangeSpec, QueueSpec
from engine.rabbitmq.messages import Publishing
from engine.rabbitmq.options import RabbitMQOptions

VERSION = "0.3.0"
"""Of the binding."""
_TYPES = ("topic", "direct", "fanout", "headers")
"""The types of exchange that the binding knows."""


def describe_queue(options: RabbitMQOptions, name: str, spec: QueueSpec, manner: Publishing | None) -> Description:
    """A queue; `manner` is how it is published to, None where it is read."""
    queue = {"name": name, "durable": spec.durable, "exclusive": False, "autoDelete": False, "vhost": options.vhost}
    return _description(options, "queue", name, {"is": "queue", "queue": queue}, manner)


def describe_exchange(
    options: RabbitMQOptions, spec: ExchangeSpec, key: str | None, queue: str, manner: Publishing | None
) -> Description:
    """An exchange and a routing key, read by a queue or published to in some manner."""
    exchange: dict[str, Any] = {"name": spec.name}
    exchange |= {"type": spec.type} if spec.type in _TYPES else {"x-type": spec.type}
    exchange |= {"durable": spec.durable, "autoDelete": False, "vhost": options.vhost}
    channel = {"is": "routingKey", "exchange": exchange}
    return _description(options, "exchange", key, channel, manner, {"x-queue": queue} if queue else {})


def _description(
    options: RabbitMQOptions,
    kind: str,
    address: str | None,
    channel: dict[str, Any],
    manner: Publishing | None,
    more: dict[str, Any] | None = None,
) -> Description:
    operation = {"ack": True} if manner is None else _published(manner)
    return Description(
        server=_server(options),
        kind=kind,
        address=address,
        binding="amqp",
        channel={**channel, "bindingVersion": VERSION},
        operation={**operation, **(more or {}), "bindingVersion": VERSION},
        reply_to="reply_to",
        correlation_id="correlation_id",
    )


def _published(manner: Publishing) -> dict[str, Any]:
    told = {
        "deliveryMode": 2 if manner.persistent else 1,
        "mandatory": manner.mandatory,
        "priority": manner.priority,
        "expiration": None if manner.expiration is None else round(manner.expiration * 1000),
    }
    return {name: value for name, value in told.items() if value is not None}


def _server(options: RabbitMQOptions) -> Server:
    host = f"[{options.host}]" if ":" in options.host else options.host
    security = ["X509"] if options.auth == "external" else ["userPassword"]
    if options.certfile is not None and options.tls and "X509" not in security:
        security.append("X509")
    path = "" if options.vhost == "/" else f"/{options.vhost}"
    return Server(f"{host}:{options.port}", "amqps" if options.tls else "amqp", path, tuple(security))
