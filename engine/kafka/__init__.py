"""Kafka: topics, in groups and by pattern; its wire, positions and rebalances."""

from engine.kafka.broker import Kafka, KafkaTopic

__all__ = ["Kafka", "KafkaTopic"]
