"""Kafka: the contract of all brokers, and its own traps."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest

from engine.brokers.kafka import KAFKA, Kafka, KafkaTopic
from tests.brokers.contract import BrokerContract
from tests.servers.kafka import Kafka as KafkaServer

pytestmark = pytest.mark.anyio


def near(server: KafkaServer, **options: Any) -> Kafka:
    """A client that hears of rebalances at once, and gives partitions away without waiting for long."""
    quick = {"heartbeat_interval": 0.1, "session_timeout": 2.0, "revoke_drain": 0.2, "commit_interval": 0.1}
    return Kafka(server.bootstrap, **quick | options)


def fresh() -> str:
    """A name that no other test uses."""
    return f"t-{uuid4().hex}"


class TestKafkaContract(BrokerContract):
    capabilities = KAFKA
    moment = 2.0

    @pytest.fixture
    async def endpoint(self, kafka_server: KafkaServer) -> KafkaTopic:
        return near(kafka_server).topic(fresh())

    async def quiet(self) -> None:
        await asyncio.sleep(0.05)
