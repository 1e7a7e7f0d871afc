"""RabbitMQ: the contract of all brokers on a real server, and what is particular to it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest

from engine.brokers.rabbitmq import EXCHANGE, QUEUE, RabbitExchange, RabbitMQ, RabbitQueue
from tests.brokers.contract import BrokerContract
from tests.servers.rabbitmq import RabbitMQ as Server

pytestmark = pytest.mark.anyio


def fresh(what: str = "orders") -> str:
    return f"{what}-{uuid4().hex[:12]}"


class TestQuorumQueueContract(BrokerContract):
    capabilities = QUEUE
    moment = 0.5

    @pytest.fixture
    async def endpoint(self, rabbitmq_server: Server) -> RabbitQueue:
        return RabbitMQ(rabbitmq_server.url).queue(fresh())

    async def quiet(self) -> None:
        await anyio.sleep(0.1)
