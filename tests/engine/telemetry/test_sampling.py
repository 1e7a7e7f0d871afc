"""What is sampled: the SDK's samplers as plain numbers, and what becomes of messages that are not sampled."""

from random import getrandbits, seed
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from engine.telemetry.sampling import Roots, rule_of
from headrace import Harness, Memory, Message, Topology
from tests.engine.telemetry.traced import SENDER, TRACE, Other, Spans, own

pytestmark = pytest.mark.anyio
UNSAMPLED = {"traceparent": f"00-{TRACE:032x}-{SENDER:016x}-00"}

rates = st.floats(0, 1)
samplers: st.SearchStrategy[Sampler] = st.one_of(
    st.sampled_from([ALWAYS_ON, ALWAYS_OFF, DEFAULT_ON, DEFAULT_OFF]),
    rates.map(TraceIdRatioBased),
    rates.map(ParentBasedTraceIdRatio),
    rates.map(lambda rate: ParentBased(TraceIdRatioBased(rate))),
)


@given(samplers, st.integers(1, 2**128 - 1), st.sampled_from([None, False, True]), st.booleans())
def test_a_rule_decides_as_its_sampler_does(sampler: Sampler, trace_id: int, parent: bool | None, remote: bool) -> None:
    rule = rule_of(sampler)
    assert rule is not None
    context = Context()
    if parent is not None:
        above = SpanContext(trace_id, 1, remote, TraceFlags(parent))
        context = set_span_in_context(NonRecordingSpan(above), context)
    decision = sampler.should_sample(context, trace_id, "process in").decision
    assert rule.samples(trace_id, parent) is decision.is_sampled()


@pytest.mark.parametrize("sampler", [Other(), ParentBased(ALWAYS_ON, remote_parent_sampled=ALWAYS_OFF)])
def test_a_sampler_that_decides_otherwise_has_no_rule(sampler: Sampler) -> None:
    assert rule_of(sampler) is None


def echo(memory: Memory, found: list[Any]) -> Topology:
    topology = Topology("shop")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> Message:
        found.append((baggage.get_baggage("tenant"), trace.get_current_span().get_span_context()))
        return Message(number, headers={"mine": "1"} if number else None)

    return topology


async def sent(spans: Spans, number: int, headers: dict[str, str], found: list[Any] | None = None) -> Message:
    memory = Memory()
    async with Harness(echo(memory, [] if found is None else found), tracer_provider=spans.provider) as running:
        await running.publish(memory.topic("in"), number, headers=headers)
        await running.settle()
        (message,) = running.messages(memory.topic("out"))
        return message


@pytest.mark.parametrize("sampler", [DEFAULT_ON, Other()])
async def test_what_its_sender_did_not_sample_goes_on_unsampled(sampler: Sampler) -> None:
    spans = Spans(sampler)
    message = await sent(spans, 0, UNSAMPLED)
    version, trace_id, _, flags = str((message.headers or {})["traceparent"]).split("-")
    assert (version, trace_id, flags) == ("00", f"{TRACE:032x}", "00")
    assert spans.all == ()


async def test_unsampled_messages_of_a_ratio_say_so_to_those_behind() -> None:
    spans = Spans(ParentBased(TraceIdRatioBased(0.0)))
    for number in (0, 1):
        message = await sent(spans, number, {})
        assert str((message.headers or {})["traceparent"]).endswith("-00")
    assert spans.all == ()


async def test_spans_of_a_handlers_own_are_not_sampled_where_its_message_is_not() -> None:
    spans = Spans(ParentBased(TraceIdRatioBased(0.0)))
    found: list[Any] = []
    await sent(spans, 0, {}, found)
    ((_, current),) = found
    assert current.is_valid
    assert not current.trace_flags.sampled


async def test_baggage_reaches_the_handler_of_a_message_that_is_not_sampled() -> None:
    for headers in (UNSAMPLED, {}):
        spans = Spans(ParentBased(TraceIdRatioBased(0.0)))
        found: list[Any] = []
        message = await sent(spans, 1, headers | {"baggage": "tenant=acme"}, found)
        assert found[0][0] == "acme"
        assert (message.headers or {})["baggage"] == "tenant=acme"
        assert str((message.headers or {})["traceparent"]).endswith("-00")
        assert spans.all == ()


async def test_a_ratio_samples_about_as_many_and_each_of_them_whole() -> None:
    spans = Spans(ParentBased(TraceIdRatioBased(0.25)))
    memory = Memory()
    async with Harness(echo(memory, []), tracer_provider=spans.provider) as running:
        for number in range(400):
            await running.publish(memory.topic("in"), number)
        await running.settle()
    processed = {own(span).trace_id for span in spans.named("process in")}
    assert 50 <= len(processed) <= 150
    assert {own(span).trace_id for span in spans.named("send out")} == processed


async def test_a_ratio_without_parents_goes_by_the_id_of_the_trace() -> None:
    for rate, expected in ((0.0, 0), (1.0, 1)):
        spans = Spans(TraceIdRatioBased(rate))
        await sent(spans, 0, {"traceparent": f"00-{TRACE:032x}-{SENDER:016x}-{1 - expected:02x}"})
        assert len(spans.named("process in")) == expected


@given(st.floats(0.01, 1), st.booleans())
def test_roots_begin_about_as_many_traces_as_the_ratio_has_and_only_of_ids_that_are_sampled(
    rate: float, looked_at: bool
) -> None:
    rule = rule_of(TraceIdRatioBased(rate))
    assert rule is not None
    roots = Roots(rule, (lambda: getrandbits(128)) if looked_at else None)
    seed(42)
    begun, messages = [], 4000
    left = roots.passed_over()
    for _ in range(messages):
        if left:
            left -= 1
            continue
        begun.append(roots.trace_id())
        left = roots.passed_over()
    ids = [each for each in begun if each is not None]
    assert all(rule.samples(each, None) for each in ids)
    assert len(set(ids)) == len(ids)
    assert abs(len(ids) - messages * rate) <= 6 * (messages * rate * (1 - rate)) ** 0.5 + 1


def test_a_ratio_of_nothing_begins_no_trace() -> None:
    rule = rule_of(ALWAYS_OFF)
    assert rule is not None
    assert Roots(rule).left > 10**12
