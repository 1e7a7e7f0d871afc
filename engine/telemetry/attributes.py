"""What spans say of messages: the names of OpenTelemetry's messaging conventions, 1.44."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from actors import Described, Endpoint
from engine.telemetry.spans import Value

SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
TEMPLATE = "messaging.destination.template"
TEMPORARY = "messaging.destination.temporary"
PARTITION = "messaging.destination.partition.id"
GROUP = "messaging.consumer.group.name"
MESSAGE_ID = "messaging.message.id"
CONVERSATION = "messaging.message.conversation_id"
BATCH_SIZE = "messaging.batch.message_count"
KAFKA_OFFSET = "messaging.kafka.offset"
KAFKA_KEY = "messaging.kafka.message.key"
KAFKA_TOMBSTONE = "messaging.kafka.message.tombstone"
ROUTING_KEY = "messaging.rabbitmq.destination.routing_key"
DELIVERY_TAG = "messaging.rabbitmq.message.delivery_tag"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
TOPOLOGY = "headrace.topology"
STAGE = "headrace.stage"
ATTEMPT = "headrace.message.attempt"

INBOXES = ("headrace.inbox.", "_INBOX.")
"""What the names of inboxes begin with: ours, and those of other NATS clients."""
INBOX_NAME = "(temporary)"
"""Stands in names for inboxes, each of which has a name of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, as spans tell of it."""

    system: str
    name: str
    server: tuple[str, int] | None = None
    group: str | None = None
    routing_key: str | None = None

    @property
    def shown(self) -> str:
        """Its name in names of spans, of which there shall be few."""
        return INBOX_NAME if is_inbox(self.name) else self.name

    def attributes(self, operation: str, kind: str, **more: str | None) -> dict[str, Value]:
        """What every span of an operation there says."""
        found: dict[str, Value | None] = {
            SYSTEM: self.system,
            OPERATION: operation,
            OPERATION_TYPE: kind,
            DESTINATION: self.name,
            GROUP: self.group if kind != "send" else None,
            ROUTING_KEY: self.routing_key,
            **more,
        }
        if is_inbox(self.name):
            found[TEMPORARY] = True
        if "{" in self.name:
            found[TEMPLATE] = self.name
        if self.server is not None:
            found[SERVER_ADDRESS], found[SERVER_PORT] = self.server
        return {name: value for name, value in found.items() if value is not None}


def is_inbox(name: str) -> bool:
    """Whether a destination is one that somebody waits at for a reply, and that is gone afterwards."""
    return name.startswith(INBOXES)


def place_of(endpoint: Endpoint, group: str | None = None) -> Place:
    """An endpoint as a place."""
    options = endpoint.options
    server = _first(endpoint.describe(group).server.host) if isinstance(endpoint, Described) else None
    named = options.get("group") or options.get("durable") or options.get("queue") or group
    key = options.get("routing_key")
    return Place(
        endpoint.broker.system,
        endpoint.name,
        server,
        str(named) if named and endpoint.capabilities.groups else None,
        str(key) if key else None,
    )


def _first(servers: str) -> tuple[str, int] | None:
    """Host and port of the first of several servers; None where it names no port."""
    first = servers.partition(",")[0]
    parts = urlsplit(first if "://" in first else f"//{first}")
    return (parts.hostname, parts.port) if parts.hostname and parts.port else None


def of_fetched(place: Place, origin: Any, key: str | bytes | None, tombstone: bool, attempt: int) -> dict[str, Value]:
    """What one message that was fetched says of itself."""
    found: dict[str, Value] = {}
    _identity(found, origin)
    if origin.source not in (None, place.name):
        found[DESTINATION], found[TEMPLATE] = origin.source, place.name
    if place.system == "kafka":
        if origin.partition is not None:
            found[PARTITION] = str(origin.partition)
        if isinstance(origin.offset, int):
            found[KAFKA_OFFSET] = origin.offset
        _kafka(found, key, tombstone)
    elif place.system == "rabbitmq" and type(tag := getattr(origin, "tag", None)) is int:
        found[DELIVERY_TAG] = tag
    if attempt > 1:
        found[ATTEMPT] = attempt
    return found


def of_made(origin: Any, attempt: int) -> dict[str, Value]:
    """What one message says of itself that a stage made for the stage behind it."""
    found: dict[str, Value] = {}
    _identity(found, origin)
    if attempt > 1:
        found[ATTEMPT] = attempt
    return found


def of_sent(place: Place, origin: Any, destination: str, key: str | bytes | None, tombstone: bool) -> dict[str, Value]:
    """What one message that is published says of itself."""
    found: dict[str, Value] = {}
    _identity(found, origin)
    if destination != place.name:
        found[DESTINATION] = destination
        if is_inbox(destination):
            found[TEMPORARY] = True
    if place.system == "kafka":
        _kafka(found, key, tombstone)
    return found


def of_run(size: int) -> dict[str, Value]:
    """What a span of several messages says of them."""
    return {BATCH_SIZE: size}


def _identity(found: dict[str, Value], origin: Any) -> None:
    if origin.id is not None:
        found[MESSAGE_ID] = origin.id
    if origin.correlation_id is not None:
        found[CONVERSATION] = origin.correlation_id


def _kafka(found: dict[str, Value], key: str | bytes | None, tombstone: bool) -> None:
    if key is not None:
        found[KAFKA_KEY] = key if isinstance(key, str) else key.hex()
    if tombstone:
        found[KAFKA_TOMBSTONE] = True
