"""The embedded broker: bounded topics and groups, in process."""

from engine.memory.broker import Memory, MemoryStatistics, MemoryTopic
from engine.memory.log import GroupStatistics, LogStatistics

__all__ = ["GroupStatistics", "LogStatistics", "Memory", "MemoryStatistics", "MemoryTopic"]
