"""What queues and exchanges are declared as, and the declaring."""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, Literal

from aiormq.abc import AbstractChannel

from actors import BrokerRefused, TopologyError
from engine.brokers.rabbitmq_wire import Wire

logger = getLogger("headrace")

ExchangeType = Literal["topic", "direct", "fanout", "headers", "x-consistent-hash"]
EXCHANGE_TYPES = ("topic", "direct", "fanout", "headers", "x-consistent-hash")
_LIMITED_SINCE = (4,)
"""From this version on a quorum queue drops a message that was delivered 20 times, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """What an exchange is."""

    name: str
    type: ExchangeType = "topic"
    durable: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    declare: bool = True


@dataclass(frozen=True, slots=True)
class Binding:
    """What a queue gets from an exchange."""

    exchange: ExchangeSpec
    routing_key: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What a queue is. Times are in seconds."""

    kind: Literal["quorum", "classic"] = "quorum"
    durable: bool = True
    ttl: float | None = None
    expires: float | None = None
    max_length: int | None = None
    overflow: str = "reject-publish"
    max_priority: int | None = None
    single_active_consumer: bool = False
    delivery_limit: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    bind: tuple[Binding, ...] = ()
    declare: bool = True

    def check(self, name: str) -> None:
        """Raise `TopologyError` for what no server would declare."""
        wrong = {
            f"kind={self.kind!r}": self.kind not in ("quorum", "classic") and 'write kind="quorum" or kind="classic"',
            "durable=False": not self.durable and self.kind == "quorum" and 'a quorum queue is durable: kind="classic"',
            f"max_priority={self.max_priority!r}": self.max_priority is not None
            and (self.kind == "quorum" or not 1 <= self.max_priority <= 255)
            and 'priorities from 1 to 255 are what kind="classic" has',
            f"delivery_limit={self.delivery_limit!r}": self.delivery_limit is not None
            and self.kind == "classic"
            and "classic queues do not count deliveries",
            f"ttl={self.ttl!r}": self.ttl is not None and self.ttl < 0 and "seconds, 0 or more",
            f"max_length={self.max_length!r}": self.max_length is not None and self.max_length < 1 and "1 or more",
        }
        if not name or len(name.encode()) > 255:
            raise TopologyError(f"queue({name[:40]!r})", remedy="a name has 1 to 255 bytes")
        for what, remedy in wrong.items():
            if remedy:
                raise TopologyError(f"queue({name!r}, {what})", remedy=remedy)

    def table(self, version: tuple[int, ...]) -> dict[str, Any]:
        """The arguments that a server of that version is told."""
        limit = self.delivery_limit
        if limit is None and self.kind == "quorum" and version >= _LIMITED_SINCE:
            limit = -1
        told = {
            "x-queue-type": self.kind,
            "x-message-ttl": _milliseconds(self.ttl),
            "x-expires": _milliseconds(self.expires),
            "x-max-length": self.max_length,
            "x-overflow": self.overflow if self.max_length is not None else None,
            "x-max-priority": self.max_priority,
            "x-single-active-consumer": self.single_active_consumer or None,
            "x-delivery-limit": limit,
        }
        return {name: value for name, value in told.items() if value is not None} | dict(self.arguments)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


async def declare_queue(wire: Wire, about: object, name: str, spec: QueueSpec) -> None:
    """Declare a queue, what it is bound to, and the bindings; with `declare=False` see that it is there.

    Raises `BrokerRefused` where it was declared otherwise, is missing, or may not be declared.
    """
    table = spec.table(wire.version)
    try:
        await _declare(wire, about, name, spec, table)
    except BrokerRefused as error:
        # A queue made before its server was upgraded has no limit of its own, and could not get one by declaring.
        if "x-delivery-limit" not in str(error) or spec.delivery_limit is not None:
            raise
        logger.warning("%r: what this queue delivers in vain too often, the server drops", about)
        del table["x-delivery-limit"]
        await _declare(wire, about, name, spec, table)


async def _declare(wire: Wire, about: object, name: str, spec: QueueSpec, table: dict[str, Any]) -> None:
    async with wire.channel(about) as channel:

        async def ask(question: Coroutine[Any, Any, Any]) -> None:
            await wire.ask(question, about=about)

        if not spec.declare:
            await ask(channel.queue_declare(name, passive=True))
        else:
            await ask(channel.queue_declare(name, durable=spec.durable, arguments=table))
        for binding in spec.bind:
            exchange = binding.exchange
            await _declare_exchange(wire, channel, about, exchange)
            await ask(channel.queue_bind(name, exchange.name, binding.routing_key, arguments=dict(binding.arguments)))


async def declare_exchange(wire: Wire, about: object, spec: ExchangeSpec) -> None:
    """Declare an exchange; with `declare=False` see that it is there. Raises `BrokerRefused`, as for a queue."""
    async with wire.channel(about) as channel:
        await _declare_exchange(wire, channel, about, spec)


async def _declare_exchange(wire: Wire, channel: AbstractChannel, about: object, spec: ExchangeSpec) -> None:
    # Those of the server's own may not be declared by anybody.
    passive = not spec.declare or spec.name.startswith("amq.")
    declared = channel.exchange_declare(
        spec.name, exchange_type=spec.type, passive=passive, durable=spec.durable, arguments=dict(spec.arguments)
    )
    await wire.ask(declared, about=about)
