"""Running: brokers, the engine that brings topologies to life, its telemetry and its command line."""

from typing import TYPE_CHECKING, Any

from engine import brokers
from engine.brokers import Memory, broker
from engine.deadletters import graves, redrive
from engine.engine import Engine
from engine.status import StageStatus
from engine.testing import Harness

if TYPE_CHECKING:  # for type checkers and editors alone; see engine.brokers
    from engine.brokers import Kafka, Nats, RabbitMQ, Redis

__all__ = [
    "Engine",
    "Harness",
    "Kafka",
    "Memory",
    "Nats",
    "RabbitMQ",
    "Redis",
    "StageStatus",
    "broker",
    "graves",
    "redrive",
]


def __getattr__(name: str) -> Any:
    if name in brokers.ADAPTERS:
        return getattr(brokers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
