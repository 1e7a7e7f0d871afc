"""NATS: streams of JetStream, subjects of core NATS."""

from engine.nats.broker import Nats

__all__ = ["Nats"]
