"""Running: brokers, the engine that brings topologies to life, its telemetry and its command line.

An adapter is imported when it is first asked for, and its client library with it: nobody pays for those not used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.deadletters import graves, redrive
from engine.engine import Engine
from engine.health.health import Health, StageHealth
from engine.health.status import StageStatus
from engine.memory import Memory
from engine.testing import Harness
from engine.urls import broker

if TYPE_CHECKING:  # for type checkers and editors alone
    from engine.http.app import http_app
    from engine.kafka import Kafka
    from engine.nats import Nats
    from engine.rabbitmq import RabbitMQ
    from engine.redis import Redis

ADAPTERS = {"Kafka": "engine.kafka", "Nats": "engine.nats", "RabbitMQ": "engine.rabbitmq", "Redis": "engine.redis"}
LATER = {**ADAPTERS, "http_app": "engine.http.app"}
"""What is imported when it is first asked for, and where it is."""

__all__ = [
    "Engine",
    "Harness",
    "Health",
    "Kafka",
    "Memory",
    "Nats",
    "RabbitMQ",
    "Redis",
    "StageHealth",
    "StageStatus",
    "broker",
    "graves",
    "http_app",
    "redrive",
]


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LATER[name]), name)
