"""What an engine holds stays its own for as long as it takes, and what holds it up is told, on real servers."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from headrace import Engine, Kafka, Nats, RabbitMQ, Redis, Retry, Topology
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ as RabbitMQServer

pytestmark = pytest.mark.anyio

QUICK = 0.6
"""Seconds without renewal after which a message goes to another engine."""
COUNT = 20


def place(server: Any, name: str) -> Any:
    if server.url.startswith("nats"):
        return Nats(server.url, ack_wait=QUICK).stream(name, subject=name.lower())
    if server.url.startswith("kafka"):
        return Kafka(server.bootstrap, session_timeout=1, request_timeout=8).topic(name)
    if server.url.startswith("amqp"):
        return RabbitMQ(server.url, timeout=3).queue(name, kind="classic")
    return Redis(server.url, min_idle=QUICK).stream(name)


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.healthy(10)
        try:
            yield engine
        finally:
            engine.drain()


async def until(there: Any) -> None:
    with anyio.fail_after(25):
        while not there():
            await anyio.sleep(0.01)


@pytest.mark.parametrize("broker", ["nats_server", "redis_server"])
async def test_in_mailboxes_in_handlers_waiting_for_a_retry_and_held_up_behind_it_stays_with_this_engine(
    broker: str, request: pytest.FixtureRequest, redis_server: Any
) -> None:
    server, unique = request.getfixturevalue(broker), uuid4().hex[:8]
    source, out = place(server, f"HELD{unique}"), Redis(redis_server.url).stream(f"out{unique}")
    release = anyio.Event()

    def topology(sink: Any) -> Topology:
        made = Topology(f"held{unique}")

        @made.publisher(sink, mailbox=4)
        @made.subscriber(source, max_workers=3, retry=Retry(attempts=5, first=QUICK * 3, jitter=0))
        async def work(number: int) -> int:
            if number == 0:
                await release.wait()
            if number == 1 and not release.is_set():
                raise ValueError("not yet")
            return number

        return made

    async with Proxy(redis_server) as proxy:
        one = Engine(topology(Redis(proxy.url).stream(out.name)).graph())
        other = Engine(topology(out).graph())
        async with running(one):
            proxy.stall()
            async with source.broker:
                for number in range(COUNT):
                    await source.publish(number)
            await until(lambda: one.status()[0].received == COUNT)
            await until(lambda: one.status()[0].waiting_for_retry == 1)
            async with running(other):
                with anyio.move_on_after(QUICK * 4):
                    await until(lambda: other.status()[0].received)
                assert other.status()[0].received == 0
            assert one.status()[0].depth > 0
            proxy.mend()
            release.set()
            await until(lambda: one.status()[0].settled == COUNT)
        assert one.status()[0].redelivered == 0


async def test_a_stall_is_told_once_with_the_stage_to_blame_and_so_is_its_end(
    nats_server: Any, redis_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    unique = uuid4().hex[:8]
    source, topology = place(nats_server, f"STALL{unique}"), Topology(f"stall{unique}")

    async with Proxy(redis_server) as proxy:
        out = topology.publisher(Redis(proxy.url).stream(f"out{unique}"), name="out")

        @topology.subscriber(source)
        async def work(number: int) -> int:
            return number

        @topology.router(work, to=[out])
        async def route(number: int) -> object:
            return out

        engine = Engine(topology.graph(), stalled_after=0.4)
        with caplog.at_level(logging.INFO, "headrace"):
            async with running(engine):
                assert engine.health().ready
                proxy.stall()
                async with source.broker:
                    await source.publish(1)
                await until(lambda: sum(stage.stalled for stage in engine.health().stages) == 2)
                health = engine.health()
                work_, _, out_ = health.stages
                assert (work_.waiting_for, out_.waiting_for) == ("downstream", "broker")
                assert "out has waited" in work_.told
                assert health.alive
                await until(lambda: "stalled: work" in caplog.text)
                proxy.mend()
                await until(lambda: engine.status()[0].settled == 1)
                await until(lambda: "work moves again" in caplog.text)
    for stage in ("work", "out"):
        told = [line for line in caplog.messages if line.startswith((f"stalled: {stage} ", f"{stage} moves again"))]
        assert len(told) == 2


@pytest.mark.parametrize("broker", ["redis_server", "nats_server", "rabbitmq_server", "kafka_server"])
async def test_a_broker_that_is_killed_makes_it_not_ready_and_alive_until_it_is_back_without_a_message(
    broker: str, request: pytest.FixtureRequest
) -> None:
    server, topology = request.getfixturevalue(broker), Topology("gone")

    @topology.subscriber(place(server, f"GONE{uuid4().hex[:8]}"))
    async def work(number: int) -> None: ...

    engine = Engine(topology.graph(), stalled_after=0.2)
    async with running(engine):
        if isinstance(server, RabbitMQServer):  # or it would lose the queue itself
            await anyio.to_thread.run_sync(server.write_down_declarations)
        server.kill()
        await until(lambda: not engine.health().ready)
        health = engine.health()
        assert health.alive
        assert health.stages[0].waiting_for == "broker"
        assert "is out of reach" in health.stages[0].told
        await server.async_start()
        await until(lambda: engine.health().ready)
