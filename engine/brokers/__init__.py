"""Brokers: each an adapter that offers endpoints, sources and sinks, and nothing else, to what is above."""

from engine.brokers.memory import Memory, MemoryStatistics, MemoryTopic
from engine.brokers.memory_log import GroupStatistics, LogStatistics
from engine.brokers.urls import broker

__all__ = ["GroupStatistics", "LogStatistics", "Memory", "MemoryStatistics", "MemoryTopic", "broker"]
