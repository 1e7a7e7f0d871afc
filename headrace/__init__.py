"""Headrace: a stream processing engine. Everything that a topology is written with is imported from here."""

from typing import TYPE_CHECKING, Any

from headrace import floors

floors.check()

import engine  # noqa: E402
from actors import (  # noqa: E402 - not before it is known that they are ours
    Actor,
    Batch,
    BatchError,
    BrokerError,
    BrokerUnavailable,
    Crash,
    DecodeError,
    Deduplicate,
    DrainTimeout,
    Drop,
    HeadraceError,
    IntensityExceeded,
    Message,
    PublishError,
    Reject,
    Retry,
    RoutingError,
    Send,
    Supervision,
    SupervisionError,
    TopologyError,
)
from engine import Engine, Harness, Memory, broker, graves, redrive  # noqa: E402
from topologies import Context, Depends, Header, Logger, Topology  # noqa: E402

if TYPE_CHECKING:  # for type checkers and editors alone; see engine
    from engine import Kafka, Nats, RabbitMQ, Redis, http_app

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "Batch",
    "BatchError",
    "BrokerError",
    "BrokerUnavailable",
    "Context",
    "Crash",
    "DecodeError",
    "Deduplicate",
    "Depends",
    "DrainTimeout",
    "Drop",
    "Engine",
    "Harness",
    "Header",
    "HeadraceError",
    "IntensityExceeded",
    "Kafka",
    "Logger",
    "Memory",
    "Message",
    "Nats",
    "PublishError",
    "RabbitMQ",
    "Redis",
    "Reject",
    "Retry",
    "RoutingError",
    "Send",
    "Supervision",
    "SupervisionError",
    "Topology",
    "TopologyError",
    "broker",
    "graves",
    "http_app",
    "redrive",
]


def __getattr__(name: str) -> Any:
    if name in engine.LATER:
        return getattr(engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
