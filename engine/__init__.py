"""Running: brokers, the engine that brings topologies to life, its telemetry and its command line."""

from engine.brokers import Memory, broker
from engine.deadletters import graves, redrive
from engine.engine import Engine
from engine.status import StageStatus
from engine.testing import Harness

__all__ = ["Engine", "Harness", "Memory", "StageStatus", "broker", "graves", "redrive"]
