"""What is made again of the same message after a crash is stored once in JetStream; what only looks the same is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from pydantic import BaseModel

from headrace import Engine, Message, Nats, Redis, Topology
from tests.brokers.at_nats import client, names, publish, state
from tests.brokers.kafkas import fresh, near
from tests.brokers.surviving import eventually
from tests.engine.telemetry.traced import Spans
from tests.servers.kafka import Kafka as KafkaServer
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy
from tests.servers.redis import Redis as RedisServer

__all__ = ["client"]  # fixtures
pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int


def copying(name: str, source: Any, sink: Any) -> Topology:
    topology = Topology(name)

    @topology.publisher(sink)
    @topology.subscriber(source)
    async def copy(order: Order) -> Order:
        return order

    return topology


@asynccontextmanager
async def unconfirmed(
    topology: Topology, proxy: Proxy, client: Any, stream: str, provider: Any = None
) -> AsyncIterator[None]:
    """Run an engine on what the block publishes until the server has stored some and told nobody; then it is gone."""
    engine = Engine(topology.graph(), drain=0.1, tracer_provider=provider)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.healthy(20)
        intakes = [intake for assembly in engine.assemblies for intake in assembly.intakes]
        for intake in intakes:
            intake.pause()
        yield
        proxy.stall("answers")
        for intake in intakes:
            intake.resume()
        await eventually(lambda: stored(client, stream), 20)
        assert (engine.status()[-1].published, engine.status()[0].settled) == (0, 0)
        tasks.cancel_scope.cancel()
    proxy.reset()
    proxy.mend()
    assert proxy.resets > 0


async def stored(client: Any, stream: str) -> bool:
    return bool((await state(client, stream)).messages)


@pytest.mark.parametrize(
    ("bodies", "sampler"),
    [(range(50), None), ([7] * 50, None), (range(50), ALWAYS_ON), (range(50), ALWAYS_OFF)],
    ids=["different", "all the same", "traced", "traced but not sampled"],
)
async def test_of_a_stream_of_nats(
    nats_server: Server, client: Any, bodies: Any, sampler: Sampler | None, caplog: Any
) -> None:
    caplog.set_level("INFO", "headrace")
    provider = Spans(sampler).provider if sampler else None
    (source, source_subject), (sink, sink_subject) = names(), names()
    here = Nats(nats_server.url, ack_wait=1)
    taken = here.stream(source, subject=source_subject)
    async with Proxy(nats_server) as proxy:
        cut = Nats(proxy.url).stream(sink, subject=sink_subject)
        async with unconfirmed(copying(source, taken, cut), proxy, client, sink, provider):
            await publish(taken, *(b'{"id": %d}' % body for body in bodies))
    topology = copying(source, taken, here.stream(sink, subject=sink_subject))
    again = Engine(topology.graph(), tracer_provider=provider)
    with anyio.fail_after(40):
        await again.run(burst=True)
    assert again.status()[-1].published == 50
    assert (await state(client, sink)).messages == 50
    assert "published before, and are there once" in caplog.text


async def test_of_a_topic_of_kafka(kafka_server: KafkaServer, nats_server: Server, client: Any) -> None:
    name, (sink, subject) = fresh(), names()
    topic = near(kafka_server).topic(name, partitions=2)
    async with Proxy(nats_server) as proxy:
        cut = Nats(proxy.url).stream(sink, subject=subject)
        async with unconfirmed(copying(name, topic, cut), proxy, client, sink), topic.broker:
            for number in range(50):
                await topic.publish(Order(id=number))
    again = Engine(copying(name, topic, Nats(nats_server.url).stream(sink, subject=subject)).graph())
    with anyio.fail_after(40):
        await again.run(burst=True)
    assert again.status()[-1].published == 50
    assert (await state(client, sink)).messages == 50


async def test_of_a_stream_of_redis(redis_server: RedisServer, nats_server: Server, client: Any) -> None:
    sink, subject = names()
    taken = Redis(redis_server.url, min_idle=0.4).stream(sink)
    async with Proxy(nats_server) as proxy:
        cut = Nats(proxy.url).stream(sink, subject=subject)
        async with unconfirmed(copying(sink, taken, cut), proxy, client, sink), taken.broker:
            for number in range(50):
                await taken.publish(Order(id=number))
    again = Engine(copying(sink, taken, Nats(nats_server.url).stream(sink, subject=subject)).graph())
    with anyio.fail_after(40):
        await again.run(burst=True)
    assert again.status()[-1].published == 50
    assert (await state(client, sink)).messages == 50


async def test_equal_results_of_one_message_are_all_stored(nats_server: Server, client: Any) -> None:
    (source, source_subject), (sink, sink_subject) = names(), names()
    server = Nats(nats_server.url)
    taken = server.stream(source, subject=source_subject)
    topology = Topology(source)

    @topology.publisher(server.stream(sink, subject=sink_subject))
    @topology.subscriber(taken)
    async def unpack(order: Order) -> AsyncIterator[str]:
        for _ in range(order.id):
            yield "the same"

    @topology.publisher(server.stream(sink, subject=sink_subject))
    @topology.subscriber(unpack)
    async def copy(text: str) -> str:
        return text

    await publish(taken, b'{"id": 3}', b'{"id": 2}')
    with anyio.fail_after(20):
        await Engine(topology.graph()).run(burst=True)
    assert (await state(client, sink)).messages == 10


async def test_an_id_that_the_handler_gives_goes_before(nats_server: Server, client: Any) -> None:
    (source, source_subject), (sink, sink_subject) = names(), names()
    server = Nats(nats_server.url)
    taken = server.stream(source, subject=source_subject)
    topology = Topology(source)

    @topology.publisher(server.stream(sink, subject=sink_subject))
    @topology.subscriber(taken)
    async def name(order: Order) -> Message:
        return Message(order, headers={"Nats-Msg-Id": f"order-{order.id}"})

    await publish(taken, b'{"id": 3}', b'{"id": 2}', b'{"id": 3}')
    with anyio.fail_after(20):
        await Engine(topology.graph()).run(burst=True)
    assert (await state(client, sink)).messages == 2


async def test_without_it_what_is_made_again_is_another_message(nats_server: Server, client: Any) -> None:
    (source, source_subject), (sink, sink_subject) = names(), names()
    here = Nats(nats_server.url, ack_wait=1, idempotent=False)
    taken = here.stream(source, subject=source_subject)
    async with Proxy(nats_server) as proxy:
        cut = Nats(proxy.url, idempotent=False).stream(sink, subject=sink_subject)
        async with unconfirmed(copying(source, taken, cut), proxy, client, sink):
            await publish(taken, b'{"id": 1}')
    again = Engine(copying(source, taken, here.stream(sink, subject=sink_subject)).graph())
    with anyio.fail_after(40):
        await again.run(burst=True)
    assert (await state(client, sink)).messages == 2
