"""Publishing and asking from outside of an engine, within a user's span."""

from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from headrace import Engine, Memory, Topology
from tests.engine.telemetry.traced import PARENT, SENDER, TRACE, Spans, linked, own, said

pytestmark = pytest.mark.anyio


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """A provider that is the global one for as long as the test runs."""
    spans = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
    return spans


def headers(memory: Memory) -> dict[str, Any]:
    (message,) = memory.messages("in")
    return dict(message.headers or {})


async def test_what_is_published_within_a_span_carries_its_trace(spans: Spans) -> None:
    memory = Memory()
    async with memory:
        with spans.provider.get_tracer("shop").start_as_current_span("checkout") as checkout:
            await memory.topic("in").publish(1, headers={"mine": "1"}, id="m-1")
    send = spans.one("send in")
    assert (send.parent, send.kind) == (checkout.get_span_context(), SpanKind.PRODUCER)
    assert said(send)["messaging.message.id"] == "m-1"
    assert headers(memory) == {"mine": "1", "traceparent": f"00-{own(send).trace_id:032x}-{own(send).span_id:016x}-03"}


async def test_what_is_published_outside_of_any_span_begins_a_trace_or_goes_on_with_its_own(spans: Spans) -> None:
    memory = Memory()
    async with memory:
        await memory.topic("in").publish(1)
        await memory.topic("in").publish(1, headers=PARENT)
    first, second = spans.named("send in")
    assert first.parent is None
    assert second.parent is not None
    assert (second.parent.trace_id, second.parent.span_id) == (TRACE, SENDER)


async def test_a_request_and_its_reply_are_one_trace(spans: Spans) -> None:
    memory = Memory()
    topology = Topology("prices")

    @topology.subscriber(memory.topic("price"))
    async def price(item: str) -> int:
        return len(item)

    async with memory, anyio.create_task_group() as tasks:
        engine = Engine(topology.graph())  # by the global provider
        tasks.start_soon(engine.run)
        await engine.started.wait()
        with spans.provider.get_tracer("shop").start_as_current_span("checkout") as checkout:
            reply = await memory.topic("price").request("apple", timeout=5)
        engine.drain()
    assert reply.body == 5
    answer = spans.one("send (temporary)")
    assert spans.way(answer) == ["checkout", "send price", "process price", "send (temporary)"]
    received = spans.one("receive (temporary)")
    assert (received.parent, received.kind) == (checkout.get_span_context(), SpanKind.CLIENT)
    assert linked(received) == [own(answer).span_id]
    assert said(received)["messaging.message.conversation_id"] == reply.correlation_id


async def test_without_a_provider_nothing_is_added() -> None:
    memory = Memory()
    async with memory:
        await memory.topic("in").publish(1)
    assert headers(memory) == {}


async def test_an_engine_without_a_provider_has_nothing_of_tracing_in_it() -> None:
    memory = Memory()
    topology = Topology("plain")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> int:
        return number

    async with memory:
        await memory.topic("in").publish(1)
        engine = Engine(topology.graph())
        await engine.run(burst=True)
    assert engine.assemblies[0].tracing is None
    parts = [engine.assemblies[0].ledgers[0].source, *engine.assemblies[0].sinks, engine.running[0].retries]
    assert not [part for part in parts if "Traced" in type(part).__name__]
    (message,) = memory.messages("out")
    assert not message.headers
