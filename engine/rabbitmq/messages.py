"""Messages as AMQP has them: how one that came is read, and how one that goes is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import error as unreadable
from typing import Any, Protocol, TypeVar

import aiormq
from aiormq.abc import DeliveredMessage

from actors import Message, delivered
from engine.brokers import wire
from engine.rabbitmq import frames

T = TypeVar("T", int, float)

KEY = "headrace-key"
"""The header that carries a message's key, for which AMQP has no place."""
PRIORITY = "amqp-priority"
"""The header that stands for a message's priority."""
EXPIRATION = "amqp-expiration"
"""The header that says after how many seconds in a queue a message is dropped; who reads it does not see it."""
CARRIED: Mapping[str, str] = {"CC": "headrace-cc", "BCC": "headrace-bcc"}
"""Headers by which RabbitMQ routes copies, or closes the channel where they are text, and what carries them for us."""
CONTENT_TYPE, CONTENT_ENCODING = "content-type", "content-encoding"
"""The headers that stand for these properties; the content types of `_TYPES` and JSON's are not worth one."""

_JSON = "application/json"
_TYPES: Mapping[type, str | None] = {type(None): None, bytes: "application/octet-stream", str: "text/plain"}
"""The content type of what is sent as it is, by the type of its body; where there is none, `raw` is passed on."""
_PLAIN = frozenset({_JSON, *_TYPES.values()})
_GOING, _BACK = tuple(CARRIED.items()), tuple((carried, name) for name, carried in CARRIED.items())
_COUNT = "x-delivery-count"
"""Set by quorum queues: how often the message was delivered before. Theirs alone: it is never passed on."""
_LONGEST = 2**32 / 1000
"""Seconds that RabbitMQ takes as an expiration."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """How an endpoint's messages are published. `expiration` is in seconds."""

    mandatory: bool = True
    persistent: bool = True
    priority: int | None = None
    expiration: float | None = None

    @property
    def milliseconds(self) -> int | None:
        """The expiration as AMQP has it."""
        return None if self.expiration is None else round(self.expiration * 1000)


class Consuming(Protocol):
    """What a delivery came through."""

    @property
    def channel(self) -> aiormq.Channel: ...

    def source_of(self, exchange: str, routing_key: str) -> str: ...


class Delivery:
    """Where a message came from, and by what it is acknowledged."""

    __slots__ = (
        "attempts",
        "body",
        "consumer",
        "correlation_id",
        "header",
        "held",
        "id",
        "method",
        "tag",
        "timestamp",
    )

    partition: int | None = None
    offset: int | str | None = None
    id: str | None
    timestamp: float | None
    correlation_id: str | None

    def __init__(self, consumer: Consuming, method: bytes, header: bytes, body: bytes) -> None:
        self.consumer = consumer
        self.tag = int.from_bytes(method[5 + method[4] : 13 + method[4]], "big")
        self.method = method
        self.header = header
        self.body = body
        self.held = False
        """Whether the engine has it in hand."""
        self.attempts = 0
        """How often it was given back without the server's knowing."""

    @property
    def source(self) -> str:
        """The queue; for a queue that an exchange's endpoint stands for, the exchange and the routing key."""
        exchange, at = frames.read_short(self.method, 14 + self.method[4])
        return self.consumer.source_of(exchange, frames.read_short(self.method, at)[0])

    @property
    def record(self) -> Any:
        """An `aio_pika.IncomingMessage`, made when it is asked for. It can be read, and not acknowledged."""
        import aio_pika  # here: hardly anybody asks, and it takes a while
        from pamqp.header import ContentHeader

        method, header = aiormq.spec.Basic.Deliver(), ContentHeader()
        method.unmarshal(self.method[4:])
        header.unmarshal(self.header)
        return aio_pika.IncomingMessage(DeliveredMessage(method, header, self.body, self.consumer.channel), no_ack=True)

    def message(self) -> Message:
        """The message as the engine knows it."""
        try:
            properties = frames.read_properties(self.header)
        except (ValueError, IndexError, RecursionError, unreadable):
            properties = frames.Properties()  # those cannot be read; the body can
        self.id = properties.id
        self.timestamp = properties.timestamp
        self.correlation_id = properties.correlation_id
        redelivered = self.method[13 + self.method[4]]
        attempt = 1 + self.attempts + redelivered
        headers: dict[str, str | bytes] = {}
        key: str | bytes | None = None
        if (table := properties.headers) is not None:
            count = table.pop(_COUNT, None)
            if redelivered and isinstance(count, int):
                attempt = 1 + self.attempts + max(count, 1)
            headers = {name: frames.text(value) for name, value in table.items()}
            key = headers.pop(KEY, None)
            _rename(headers, _BACK)
        if properties.content_type not in _PLAIN:
            headers[CONTENT_TYPE] = properties.content_type or ""
        if properties.content_encoding:
            headers[CONTENT_ENCODING] = properties.content_encoding
        if properties.priority:
            headers[PRIORITY] = str(properties.priority)
        return delivered(self.body, key, headers, self, attempt, properties.reply_to)


def body_of(message: Message, most: int) -> bytes:
    """The bytes to be published; TypeError or ValueError for what cannot be. A tombstone is an empty body here."""
    raw = message.raw
    if raw is None:
        return b""
    if type(raw) is not bytes:
        raise TypeError(f"the body is {type(raw).__name__}: expected bytes, it is encoded before it is published")
    if len(raw) > most:
        raise ValueError(f"the body has {len(raw)} bytes, the server takes max_message_size={most}")
    return raw


def header_of(message: Message, channel: int, size: int, id: str, now: int, manner: Publishing) -> bytes:
    """The content header frame of a message. TypeError or ValueError for headers that no frame can carry."""
    table, key = b"", message.key
    content_type = encoding = None
    priority, milliseconds = manner.priority, manner.milliseconds
    if message.headers or key is not None:
        headers: dict[str, Any] = dict(message.headers or ())
        content_type, encoding = _text(headers, CONTENT_TYPE), _text(headers, CONTENT_ENCODING)
        priority = _number(headers, PRIORITY, int, priority, 255)
        expiration = _number(headers, EXPIRATION, float, None, _LONGEST)
        milliseconds = milliseconds if expiration is None else round(expiration * 1000)
        headers.pop(_COUNT, None)
        _rename(headers, _GOING)
        if key is not None:
            headers[KEY] = wire.text(key, "the key")
        table = frames.table(wire.headers(headers))
    kind = type(message.body)
    if kind in _TYPES:
        content_type = content_type or _TYPES[kind]
    else:  # the engine has encoded it, whatever the message that it was made of was
        content_type = content_type if content_type and "json" in content_type else _JSON
        encoding = None
    return frames.content_header(
        channel,
        size,
        table,
        content_type,
        encoding,
        manner.persistent,
        priority,
        message.origin.correlation_id,
        message.reply_to,
        milliseconds,
        id,
        now,
    )


def plain_type(body: object) -> str | None:
    """The content type of a message without headers."""
    return _TYPES.get(type(body), _JSON)


def _rename(headers: dict[str, Any], names: tuple[tuple[str, str], ...]) -> None:
    for name, other in names:
        if name in headers:
            headers[other] = headers.pop(name)


def _text(headers: dict[str, Any], name: str) -> str | None:
    given = headers.pop(name, None)
    return given.decode() if isinstance(given, bytes) else given


def _number(headers: dict[str, Any], name: str, kind: type[T], default: T | None, most: float) -> T | None:
    """Take a number out of the headers; ValueError for one that is none, or out of bounds."""
    given = headers.pop(name, None)
    if given is None:
        return default
    number = kind(given)
    if not 0 <= number <= most:
        raise ValueError(f"header {name} is {given!r}: expected a number from 0 to {most:g}")
    return number
