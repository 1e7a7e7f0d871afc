"""Redis: the contract for streams, lists and pub/sub, and what is particular to it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from pydantic import BaseModel

from actors import Retry
from engine import Engine
from engine.redis.broker import Redis
from engine.redis.endpoints import CHANNEL, LIST, STREAM
from tests.brokers.contract import BrokerContract, fetched, opened
from tests.brokers.surviving import eventually
from tests.servers.redis import Redis as Server
from topologies import Topology

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


class Order(BaseModel):
    """What goes through a whole engine."""

    id: int
    customer: str


@pytest.mark.parametrize("kind", ["stream", "list"])
async def test_an_engine_between_two_places_keeps_order_and_buries_what_fails(redis_server: Server, kind: str) -> None:
    redis, unique = Redis(redis_server.url), uuid4().hex
    endpoint: Callable[[str], Any] = getattr(redis, kind)
    source, target = endpoint(f"{unique}.in"), endpoint(f"{unique}.out")
    topology = Topology("orders")

    @topology.publisher(target)
    @topology.subscriber(source, max_workers=8, key="customer", retry=Retry(attempts=2, first=0.01))
    async def check(order: Order) -> Order:
        if order.id % 100 == 7:
            raise ValueError(f"{order.id} is unlucky")
        return order

    async with redis:
        for number in range(500):
            await source.publish(Order(id=number, customer=f"c{number % 5}"))
        await source.publish(b"no JSON")
    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)

        async def settled() -> bool:
            return sum(status.settled for status in engine.status()) == 501

        await eventually(settled)
        engine.drain()
    out, dead = target.source("test"), source.dead_letter().source("test")
    async with opened(out, dead):
        published = [Order.model_validate_json(each.raw or b"") for each in await fetched(out, 495)]
        letters = await fetched(dead, 6)
    for customer in range(5):
        ids = [order.id for order in published if order.customer == f"c{customer}"]
        assert ids == sorted(ids)
    assert {order.id for order in published} == {number for number in range(500) if number % 100 != 7}
    bodies = {each.raw or b"" for each in letters}
    assert bodies == {b"no JSON"} | {Order(id=n, customer="c2").model_dump_json().encode() for n in range(7, 500, 100)}
    assert {(each.headers or {})["headrace-origin-destination"] for each in letters} == {source.name}
    async with opened(again := source.source("orders.check")):
        await RedisContract().nothing_comes(again)
