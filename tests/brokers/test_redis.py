"""Redis: the contract for streams, lists and pub/sub, and what is particular to it."""

from typing import Any
from uuid import uuid4

import anyio
import pytest

from engine.brokers.redis import CHANNEL, LIST, STREAM, Redis
from tests.brokers.contract import BrokerContract
from tests.servers.redis import Redis as Server

pytestmark = pytest.mark.anyio


class RedisContract(BrokerContract):
    capabilities = STREAM

    async def quiet(self) -> None:
        await anyio.sleep(0.05)


class TestStreamContract(RedisContract):
    capabilities = STREAM
    moment = 0.1

    @pytest.fixture
    async def endpoint(self, redis_server: Server) -> Any:
        return Redis(redis_server.url).stream(f"s-{uuid4().hex}")


class TestListContract(RedisContract):
    capabilities = LIST
    moment = 0.1

    @pytest.fixture
    async def endpoint(self, redis_server: Server) -> Any:
        return Redis(redis_server.url).list(f"l-{uuid4().hex}")


class TestChannelContract(RedisContract):
    capabilities = CHANNEL
    moment = 0.1

    @pytest.fixture
    async def endpoint(self, redis_server: Server) -> Any:
        return Redis(redis_server.url).channel(f"c-{uuid4().hex}")
