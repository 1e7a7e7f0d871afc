"""What queues and exchanges are declared as, and the declaring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, Literal, get_args

import aiormq

from actors import BrokerRefused, TopologyError
from engine.rabbitmq.methods import ExchangeDeclare, QueueBind, QueueDeclare, QueueDelete
from engine.rabbitmq.wire import Wire

logger = getLogger("headrace")

ExchangeType = Literal["topic", "direct", "fanout", "headers", "x-consistent-hash"]
Overflow = Literal["reject-publish", "drop-head", "reject-publish-dlx"]
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

    def check(self) -> None:
        """Raise `TopologyError` for what no server would declare."""
        known = get_args(ExchangeType)
        if self.type not in known:
            raise TopologyError(
                f"exchange({self.name!r}, type={self.type!r})",
                remedy=f"known are {', '.join(known)}; declare=False takes one of any other type as it is",
            )
        _check_name("exchange", self.name)


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
    overflow: Overflow = "reject-publish"
    max_priority: int | None = None
    single_active_consumer: bool = False
    delivery_limit: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    bind: tuple[Binding, ...] = ()
    declare: bool = True

    def check(self, name: str) -> None:
        """Raise `TopologyError` for what no server would declare."""
        _check_name("queue", name)
        quorum, limit, most = self.kind == "quorum", self.delivery_limit, self.max_priority
        wrong = {
            f"kind={self.kind!r}": self.kind not in ("quorum", "classic"),
            "durable=False": quorum and not self.durable,
            f"max_priority={most!r}": most is not None and (quorum or not 1 <= most <= 255),
            f"delivery_limit={limit!r}": limit is not None and not quorum,
            f"ttl={self.ttl!r}": self.ttl is not None and self.ttl < 0,
            f"max_length={self.max_length!r}": self.max_length is not None and self.max_length < 1,
            f"overflow={self.overflow!r}": self.overflow not in get_args(Overflow),
        }
        for what, is_wrong in wrong.items():
            if is_wrong:
                raise TopologyError(f"queue({name!r}, {what})", remedy=_REMEDIES[what.partition("=")[0]])

    @property
    def alone(self) -> bool:
        """Whether one consumer at a time gets everything."""
        return self.single_active_consumer or bool(self.arguments.get("x-single-active-consumer"))

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


_REMEDIES = {
    "kind": 'write kind="quorum" or kind="classic"; streams cannot be read yet',
    "durable": 'a quorum queue is always durable: take kind="classic"',
    "max_priority": 'only kind="classic" has priorities, from 1 to 255',
    "delivery_limit": "only quorum queues count deliveries",
    "ttl": "seconds, 0 or more",
    "max_length": "messages, 1 or more",
    "overflow": f"write one of {', '.join(get_args(Overflow))}",
}


def _check_name(what: str, name: str) -> None:
    if not name or len(name.encode()) > 255:
        raise TopologyError(f"{what}({name[:40]!r})", remedy="a name has 1 to 255 bytes")


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
    async with wire.channel() as channel:
        if spec.declare:
            declared = QueueDeclare(queue=name, durable=spec.durable, arguments=table)
        else:
            declared = QueueDeclare(queue=name, passive=True)
        await wire.ask(channel.rpc(declared), about=about)
        for binding in spec.bind:
            exchange, arguments = binding.exchange, dict(binding.arguments)
            await _declare_exchange(wire, channel, about, exchange)
            bound = QueueBind(queue=name, exchange=exchange.name, routing_key=binding.routing_key, arguments=arguments)
            await wire.ask(channel.rpc(bound), about=about)


async def declare_exchange(wire: Wire, about: object, spec: ExchangeSpec) -> None:
    """Declare an exchange; with `declare=False` see that it is there. Raises `BrokerRefused`, as for a queue."""
    async with wire.channel() as channel:
        await _declare_exchange(wire, channel, about, spec)


async def _declare_exchange(wire: Wire, channel: aiormq.Channel, about: object, spec: ExchangeSpec) -> None:
    # Those of the server's own may not be declared by anybody.
    if spec.declare and not spec.name.startswith("amq."):
        arguments = dict(spec.arguments)
        declared = ExchangeDeclare(
            exchange=spec.name, exchange_type=spec.type, durable=spec.durable, arguments=arguments
        )
    else:
        declared = ExchangeDeclare(exchange=spec.name, passive=True)
    await wire.ask(channel.rpc(declared), about=about)


async def delete_queue(wire: Wire, about: object, name: str) -> None:
    """Remove a queue, with all that is in it."""
    async with wire.channel() as channel:
        await wire.ask(channel.rpc(QueueDelete(queue=name)), about=about)
