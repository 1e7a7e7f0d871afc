"""Brokers: each an adapter that offers endpoints, sources and sinks, and nothing else, to what is above.

An adapter is imported when it is first asked for, and its client library with it: nobody pays for those not used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.brokers.memory import Memory, MemoryStatistics, MemoryTopic
from engine.brokers.memory_log import GroupStatistics, LogStatistics
from engine.brokers.urls import broker

if TYPE_CHECKING:  # for type checkers and editors alone
    from engine.brokers.kafka import Kafka
    from engine.brokers.nats import Nats
    from engine.brokers.rabbitmq import RabbitMQ
    from engine.brokers.redis import Redis

ADAPTERS = {"Kafka": "kafka", "Nats": "nats", "RabbitMQ": "rabbitmq", "Redis": "redis"}

__all__ = [
    "GroupStatistics",
    "Kafka",
    "LogStatistics",
    "Memory",
    "MemoryStatistics",
    "MemoryTopic",
    "Nats",
    "RabbitMQ",
    "Redis",
    "broker",
]


def __getattr__(name: str) -> Any:
    if name not in ADAPTERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{ADAPTERS[name]}"), name)
