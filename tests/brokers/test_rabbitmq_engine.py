"""A whole engine on RabbitMQ: nothing is lost over broken connections, the dead have a place, who asks is answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.endpoints import RabbitQueue
from headrace import Engine, Topology
from tests.brokers.contract import message, opened
from tests.brokers.test_rabbitmq import fresh
from tests.brokers.test_rabbitmq_faults import until
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ as Server

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int
    customer: str


@asynccontextmanager
async def running(topology: Topology) -> AsyncIterator[Engine]:
    """The engine of a topology, drained at the end."""
    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        yield engine
        engine.drain()


def order(number: int) -> bytes:
    return Order(id=number, customer=f"c{number % 7}").model_dump_json().encode()


async def everything(queue: RabbitQueue, quiet: float = 0.5) -> list[Any]:
    """What is in a queue."""
    source, found = queue.source("g", 5000), list[Any]()
    async with opened(source):
        while True:
            run: list[Any] = []
            with anyio.move_on_after(quiet):
                run = await source.fetch(1000)
            if not run:
                return found
            found += run
            await source.settle(run, [])


async def test_nothing_is_lost_over_broken_connections_and_what_fails_is_dead(rabbitmq_server: Server) -> None:
    there = RabbitMQ(rabbitmq_server.url)
    names, sent = [fresh() for _ in range(2)], fresh("done")
    async with Proxy(rabbitmq_server) as proxy:
        rabbit, topology = RabbitMQ(proxy.url), Topology("shop")

        @topology.publisher(rabbit.exchange(sent, routing_key="by.{customer}"))
        @topology.subscriber(rabbit.queue(names[0]), max_workers=4, key="customer")
        async def take(order: Order) -> Order:
            if order.id % 100 == 99:
                raise ValueError(f"order {order.id} is poison")
            return order

        done, sink = there.queue(names[1], bind=there.exchange(sent, routing_key="by.*")), there.queue(names[0]).sink()
        engine = Engine(topology.graph())
        async with opened(done.sink(), sink), anyio.create_task_group() as tasks:
            await sink.publish([message(b"no JSON", names[0])])
            tasks.start_soon(partial(engine.run, burst=True))  # until nothing is left
            for start in range(0, 2000, 100):
                await sink.publish([message(order(number), names[0]) for number in range(start, start + 100)])
                if start % 500 == 400:
                    await until(lambda: proxy.connections == 2)
                    proxy.reset()
        assert proxy.resets >= 6
    arrived = [Order.model_validate_json(each.raw).id for each in await everything(done)]
    dead = await everything(there.queue(f"{names[0]}.dead"))
    poison = {number for number in range(2000) if number % 100 == 99}
    assert set(arrived) == set(range(2000)) - poison
    reasons = [each.headers["headrace-reason"] for each in dead]
    assert {int(reason.split()[1]) for reason in reasons if "poison" in reason} == poison
    assert any("JSON" in reason for reason in reasons)
    assert {each.headers["headrace-origin-destination"] for each in dead} == {names[0]}
    assert await everything(there.queue(names[0])) == []


def settled(engine: Engine) -> int:
    """How many messages the engine has settled, those included that came twice."""
    return sum(status.settled for status in engine.status())


async def test_the_place_of_the_dead_is_made_when_the_first_one_dies(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    queue, topology = rabbit.queue(fresh()), Topology("shop")

    @topology.subscriber(queue)
    async def take(number: int) -> None:
        pass

    async def names() -> str:
        return await anyio.to_thread.run_sync(rabbitmq_server.ctl, "list_queues", "name")

    async with running(topology) as engine, rabbit:
        await queue.publish(1)
        await until(lambda: settled(engine) == 1)
        assert f"{queue.name}.dead" not in await names()
        await queue.publish("no number")
        await until(lambda: settled(engine) == 2)
        assert f"{queue.name}.dead" in await names()


async def test_what_an_engine_leaves_unfinished_is_there_for_the_next(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    queue, started, seen = rabbit.queue(fresh()), anyio.Event(), list[int]()

    def shop(wait: bool) -> Topology:
        topology = Topology("shop")

        @topology.subscriber(queue, mailbox=4)
        async def take(number: int) -> None:
            if wait:
                started.set()
                await anyio.sleep_forever()
            seen.append(number)

        return topology

    async with rabbit:
        for number in range(10):
            await queue.publish(number)
    engine = Engine(shop(wait=True).graph(), drain=0.1)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            with pytest.raises(Exception, match="not drained"):
                await engine.run()

        tasks.start_soon(run)
        await started.wait()
        engine.drain()
    async with running(shop(wait=False)):
        await until(lambda: len(seen) == 10)
    assert seen == list(range(10))


async def test_a_question_is_answered_by_a_stage(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    queue, topology = rabbit.queue(fresh()), Topology("shop")

    @topology.subscriber(queue)
    async def double(number: int) -> int:
        return 2 * number

    async with running(topology), rabbit:
        assert (await queue.request(21, returns=int)).body == 42
        await queue.publish(1)
