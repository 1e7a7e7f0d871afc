"""Contexts travel through every broker's own headers."""

from typing import Any
from uuid import uuid4

import pytest

from headrace import Engine, Kafka, Memory, Message, Nats, RabbitMQ, Redis, Topology
from tests.engine.telemetry.traced import PARENT, SENDER, TRACE, Spans, own, said

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
CONTEXT = PARENT | {"tracestate": "vendor=x", "baggage": "tenant=acme"}


def places(kind: str, request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    """A broker, and two fresh endpoints on it."""
    name = f"traces-{uuid4().hex[:8]}"
    if kind == "memory":
        memory = Memory()
        return memory, memory.topic(name), memory.topic(f"{name}-out")
    server = request.getfixturevalue(f"{kind}_server")
    if kind == "kafka":
        kafka = Kafka(server.bootstrap)
        return kafka, kafka.topic(name), kafka.topic(f"{name}-out")
    if kind == "rabbitmq":
        rabbit = RabbitMQ(server.url)
        return rabbit, rabbit.queue(name), rabbit.queue(f"{name}-out")
    if kind == "nats":
        nats = Nats(server.url)
        return nats, nats.stream(name, subject=f"{name}.in"), nats.stream(f"{name}-out", subject=f"{name}.out")
    redis = Redis(server.url)
    if kind == "redis" and request.node.callspec.params["form"] == "list":
        return redis, redis.list(name), redis.list(f"{name}-out")
    return redis, redis.stream(name), redis.stream(f"{name}-out")


@pytest.mark.parametrize(
    ("kind", "form"),
    [("memory", ""), ("kafka", ""), ("rabbitmq", ""), ("nats", ""), ("redis", "stream"), ("redis", "list")],
)
async def test_a_context_goes_through(kind: str, form: str, request: pytest.FixtureRequest) -> None:
    broker, source, target = places(kind, request)
    spans, arrived = Spans(), []
    topology = Topology("through")

    @topology.publisher(target)
    @topology.subscriber(source)
    async def first(number: int) -> int:
        return number

    @topology.subscriber(target)
    async def second(number: int, message: Message) -> None:
        arrived.append(message)
        engine.drain()

    engine = Engine(topology.graph(), tracer_provider=spans.provider)
    async with broker:
        await source.publish(1, headers=CONTEXT, id="m-1")
        await engine.run()
    (message,) = arrived
    process, send = spans.one(f"process {source.name}"), spans.one(f"send {target.name}")
    assert process.parent is not None
    assert (process.parent.trace_id, process.parent.span_id) == (TRACE, SENDER)
    assert send.parent == own(process)
    last = spans.one(f"process {target.name}")
    assert last.parent is not None
    assert last.parent.span_id == own(send).span_id
    assert last.parent.trace_state == {"vendor": "x"}
    assert (message.headers or {})["baggage"] == "tenant=acme"
    assert said(process)["messaging.system"] == kind
    if kind != "memory":
        assert said(process)["server.port"] == request.getfixturevalue(f"{kind}_server").port
    assert {own(spans.one(f"ack {source.name}")).trace_id} == {TRACE}
