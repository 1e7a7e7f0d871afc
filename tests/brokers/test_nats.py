"""NATS: the contract for JetStream and for core subjects."""

from typing import Any
from uuid import uuid4

import anyio
import pytest

from engine.nats.broker import CORE, STREAM, Nats
from tests.brokers.contract import BrokerContract
from tests.servers.nats import Nats as Server

pytestmark = pytest.mark.anyio


class NatsContract(BrokerContract):
    capabilities = STREAM

    async def quiet(self) -> None:
        await anyio.sleep(0.05)


class TestStreamContract(NatsContract):
    capabilities = STREAM
    moment = 0.2

    @pytest.fixture
    async def endpoint(self, nats_server: Server) -> Any:
        name = uuid4().hex
        return Nats(nats_server.url).stream(f"S-{name}", subject=f"s.{name}")


class TestStreamContractByTheWaysOfTheClient(TestStreamContract):
    """With a release of nats-py that has nothing of what the short ways use."""

    @pytest.fixture(autouse=True)
    def without_short_ways(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("engine.nats.direct.PARSER", "_gone")
        monkeypatch.setattr("engine.nats.direct.APPEND", "_gone")


class TestSubjectContract(NatsContract):
    capabilities = CORE
    moment = 0.2

    @pytest.fixture
    async def endpoint(self, nats_server: Server) -> Any:
        return Nats(nats_server.url).subject(f"c.{uuid4().hex}")
