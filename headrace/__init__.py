"""Headrace: a stream processing engine. Everything that a topology is written with is imported from here."""

from headrace import floors

floors.check()

from actors import (  # noqa: E402 - not before it is known that they are ours
    Actor,
    Batch,
    BatchError,
    BrokerError,
    BrokerUnavailable,
    Crash,
    DecodeError,
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
from engine import Engine, Harness, Memory, broker  # noqa: E402
from topologies import Context, Depends, Header, Logger, Topology  # noqa: E402

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
    "Depends",
    "DrainTimeout",
    "Drop",
    "Engine",
    "Harness",
    "Header",
    "HeadraceError",
    "IntensityExceeded",
    "Logger",
    "Memory",
    "Message",
    "PublishError",
    "Reject",
    "Retry",
    "RoutingError",
    "Send",
    "Supervision",
    "SupervisionError",
    "Topology",
    "TopologyError",
    "broker",
]
