"""What every broker owes who asks whether it is there: `ping` of its sources, its sinks, and what remembers for it."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from uuid import uuid4

import anyio
import pytest

from actors import BrokerError
from headrace import Kafka, Memory, Nats, RabbitMQ, Redis
from tests.brokers.contract import opened

pytestmark = pytest.mark.anyio


class PingContract:
    """Subclass it once for each broker: `server` is the fixture of its server, `ports` are all that has a `ping`."""

    server: ClassVar[str]
    within: ClassVar[float] = 6.0
    """Seconds in which each ping returns or raises."""
    patience: ClassVar[float] = 30.0
    """Seconds after which it is known that the server is gone, or back."""

    def ports(self, server: Any) -> Mapping[str, Any]:
        """By name."""
        raise NotImplementedError

    async def ping(self, port: Any) -> bool:
        """Whether the server has answered. Nothing but a `BrokerError` says that it has not, in time."""
        with anyio.fail_after(self.within):
            try:
                await port.ping()
            except BrokerError:
                return False
        return True

    async def all_of(self, ports: Mapping[str, Any], there: bool) -> None:
        """Return when each of them has found the server there, or gone."""
        left = set(ports)

        async def ask(name: str) -> None:
            while await self.ping(ports[name]) is not there:
                await anyio.sleep(0.05)
            left.discard(name)

        with anyio.move_on_after(self.patience):
            async with anyio.create_task_group() as tasks:
                for name in ports:
                    tasks.start_soon(ask, name)
        assert not left, f"asked for {self.patience:g} s, and not found {'there' if there else 'gone'} by these"

    async def through(
        self, request: pytest.FixtureRequest, gone: Callable[[Any], Any], back: Callable[[Any], Any]
    ) -> None:
        """Have all of them ask a server that goes, and comes back."""
        server = request.getfixturevalue(self.server)
        ports = self.ports(server)
        async with opened(*ports.values()):
            for port in ports.values():
                assert await self.ping(port)
            await anyio.to_thread.run_sync(gone, server)
            await self.all_of(ports, there=False)
            await anyio.to_thread.run_sync(back, server)
            await self.all_of(ports, there=True)
            for port in ports.values():
                assert await self.ping(port)

    @pytest.mark.timeout(120)
    async def test_of_a_server_that_is_killed(self, request: pytest.FixtureRequest) -> None:
        await self.through(request, lambda server: server.kill(), lambda server: server.start())

    @pytest.mark.timeout(120)
    async def test_of_a_server_that_stands_still(self, request: pytest.FixtureRequest) -> None:
        await self.through(request, lambda server: server.pause(), lambda server: server.resume())


def ends(**endpoints: Any) -> dict[str, Any]:
    """A source and a sink of each."""
    sources = {f"source of the {kind}": endpoint.source("readers") for kind, endpoint in endpoints.items()}
    return sources | {f"sink of the {kind}": endpoint.sink() for kind, endpoint in endpoints.items()}


def fresh() -> str:
    return f"ping-{uuid4().hex}"


class TestRedisPing(PingContract):
    server = "redis_server"

    def ports(self, server: Any) -> Mapping[str, Any]:
        redis = Redis(server.url, timeout=2)
        found = ends(stream=redis.stream(fresh()), list=redis.list(fresh()), channel=redis.channel(fresh()))
        return found | {"sink of the inbox": redis.inbox().sink(), "store": redis.seen(fresh(), 60, 100)}


class TestNatsPing(PingContract):
    server = "nats_server"

    def ports(self, server: Any) -> Mapping[str, Any]:
        nats = Nats(server.url, timeout=2)
        name = fresh()
        return ends(stream=nats.stream(name, subject=name), subject=nats.subject(fresh()), inbox=nats.inbox())


class TestRabbitPing(PingContract):
    server = "rabbitmq_server"

    def ports(self, server: Any) -> Mapping[str, Any]:
        rabbit = RabbitMQ(server.url, timeout=4)
        found = ends(queue=rabbit.queue(fresh()), classic=rabbit.queue(fresh(), kind="classic"))
        return found | ends(exchange=rabbit.exchange(fresh(), routing_key="all"), inbox=rabbit.inbox())


class TestKafkaPing(PingContract):
    server = "kafka_server"

    def ports(self, server: Any) -> Mapping[str, Any]:
        kafka = Kafka(server.bootstrap, request_timeout=8)
        return ends(topic=kafka.topic(fresh())) | {"sink of the inbox": kafka.inbox().sink()}


async def test_what_lies_in_this_process_is_not_asked() -> None:
    memory = Memory()
    for port in ends(topic=memory.topic("a"), inbox=memory.inbox()).values():
        assert not hasattr(port, "ping")
