"""What spans a topology makes, how they hang together, and what they say. In memory, with both ways to start spans."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

from headrace import (
    Actor,
    Batch,
    BatchError,
    Crash,
    Drop,
    Engine,
    Harness,
    Memory,
    Message,
    Reject,
    Retry,
    Topology,
)
from tests.engine.telemetry.traced import PARENT, SENDER, TRACE, Other, Spans, events, linked, own, said

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["lazily", "asked"])
def spans(request: pytest.FixtureRequest) -> Spans:
    return Spans(Other() if request.param == "asked" else None)


@pytest.fixture
def memory() -> Memory:
    return Memory()


def harness(topology: Topology, spans: Spans) -> Harness:
    return Harness(topology, tracer_provider=spans.provider)


def plain(memory: Memory, **options: Any) -> Topology:
    topology = Topology("shop")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), name="double", **options)
    async def double(number: int) -> int:
        return number * 2

    return topology


async def test_a_message_is_processed_below_its_sender_and_sent_below_that(memory: Memory, spans: Spans) -> None:
    async with harness(plain(memory), spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT, id="m-1")
        await running.settle()
        (sent,) = running.messages(memory.topic("out"))
    process, send, ack, receive = (spans.one(name) for name in ("process in", "send out", "ack in", "receive in"))
    assert process.parent is not None
    assert (process.parent.trace_id, process.parent.span_id) == (TRACE, SENDER)
    assert process.kind is SpanKind.CONSUMER
    assert linked(process) == [SENDER]
    assert (send.parent, send.kind) == (own(process), SpanKind.PRODUCER)
    assert (ack.parent, ack.kind, linked(ack)) == (own(process), SpanKind.CLIENT, [own(process).span_id])
    assert (receive.parent, receive.kind, linked(receive)) == (None, SpanKind.CLIENT, [SENDER])
    assert (sent.headers or {})["traceparent"] == f"00-{TRACE:032x}-{own(send).span_id:016x}-01"
    assert {span.status.status_code for span in spans.all} == {StatusCode.UNSET}


async def test_spans_say_what_the_conventions_name(memory: Memory, spans: Spans) -> None:
    async with harness(plain(memory), spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT, id="m-1")
        await running.settle()
    common = {"messaging.system": "memory", "messaging.destination.name": "in"}
    reading = common | {"messaging.consumer.group.name": "shop.double"}
    of_stage = {"headrace.topology": "shop", "headrace.stage": "double"}
    assert said(spans.one("process in")) == reading | of_stage | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": "m-1",
    }
    assert said(spans.one("receive in")) == reading | {
        "messaging.operation.name": "receive",
        "messaging.operation.type": "receive",
        "messaging.batch.message_count": 1,
    }
    assert said(spans.one("ack in")) == reading | {
        "messaging.operation.name": "ack",
        "messaging.operation.type": "settle",
        "messaging.batch.message_count": 1,
    }
    assert said(spans.one("send out")) == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "out",
        "messaging.message.id": "m-1",
    }


async def test_a_message_without_a_sender_begins_a_trace(memory: Memory, spans: Spans) -> None:
    async with harness(plain(memory), spans) as running:
        await running.publish(memory.topic("in"), 1)
        await running.publish(memory.topic("in"), 2)
        await running.settle()
    first, second = spans.named("process in")
    assert first.parent is None
    assert own(first).trace_id != own(second).trace_id
    assert [spans.way(send) for send in spans.named("send out")] == [["process in", "send out"]] * 2


async def test_stages_inside_hang_below_the_stage_before(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")
    even, odd = topology.publisher(memory.topic("even")), topology.publisher(memory.topic("odd"))

    @topology.subscriber(memory.topic("in"))
    async def check(number: int) -> int:
        return number

    @topology.router(check, to=[even, odd])
    def route(number: int) -> object:
        return odd if number % 2 else even

    @topology.subscriber(check, name="audit")
    async def audit(number: int) -> None: ...

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT)
        await running.settle()
    assert spans.way(spans.one("send odd")) == ["process in", "process route", "send odd"]
    assert spans.way(spans.one("process audit")) == ["process in", "process audit"]
    assert spans.one("process route").kind is SpanKind.INTERNAL
    assert {own(span).trace_id for span in spans.all if not span.name.startswith("receive")} == {TRACE}


async def test_a_router_that_names_no_target_of_its_own_fails_on_its_span(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")
    out = topology.publisher(memory.topic("out"))

    @topology.router(memory.topic("in"), to=[out])
    def route(number: int) -> object:
        return "nowhere"

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT)
        await running.settle()
    process = spans.one("process in")
    assert said(process)["error.type"] == "RoutingError"
    assert events(process) == ["exception", "headrace.dead_letter"]


async def test_a_batch_is_a_trace_of_its_own_linked_to_each_message(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), batch=Batch(size=200, wait=1.0))
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    async with harness(topology, spans) as running:
        for number in range(1, 201):
            headers = {"traceparent": f"00-{TRACE + number:032x}-{number:016x}-01"}
            await running.publish(memory.topic("in"), number, headers=headers)
        await running.settle()
        assert running.published(memory.topic("out")) == [20_100]
    process = spans.one("process in")
    assert process.parent is None
    of_all = list(range(1, 201))
    # A sampler that has to be asked means the provider's own spans, and those keep 128 links unless they are told.
    assert linked(process) == (of_all[-128:] if isinstance(spans.provider.sampler, Other) else of_all)
    assert said(process)["messaging.batch.message_count"] == 200
    assert spans.one("send out").parent == own(process)


async def test_what_fails_in_a_batch_is_told_on_its_span(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"), batch=Batch(size=3, wait=1.0), retry=Retry(attempts=2, first=1))
    async def halves(numbers: list[int]) -> None:
        failed = {at: ValueError(f"{number} is odd") for at, number in enumerate(numbers) if number % 2}
        if failed:
            raise BatchError(failed)

    async with harness(topology, spans) as running:
        for number in (1, 2, 3):
            await running.publish(memory.topic("in"), number, headers=PARENT)
        await running.settle()
        dead = running.dead_letters(memory.topic("in"))
    first, second = spans.named("process in")
    assert events(first) == ["exception", "headrace.retry", "exception", "headrace.retry"]
    assert events(second) == ["exception", "headrace.dead_letter", "exception", "headrace.dead_letter"]
    assert linked(second) == [SENDER, own(first).span_id]
    assert [str((letter.headers or {})["traceparent"]).split("-")[1] for letter in dead] == [f"{TRACE:032x}"] * 2


async def test_a_generator_sends_each_item_below_its_span(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def count(number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 3, headers=PARENT)
        await running.settle()
    sent = spans.named("send out")
    assert [send.parent for send in sent] == [own(spans.one("process in"))] * 3


async def test_each_try_is_a_span_with_the_same_parent_linked_to_the_one_before(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=3, first=1))
    async def handle(number: int, message: Message) -> None:
        if message.attempt < 3:
            raise ValueError("not yet")

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT)
        await running.settle()
    first, second, third = spans.named("process in")
    assert [span.parent and span.parent.span_id for span in (first, second, third)] == [SENDER] * 3
    assert linked(second) == [SENDER, own(first).span_id]
    assert linked(third) == [SENDER, own(second).span_id]
    assert events(first) == events(second) == ["exception", "headrace.retry"]
    assert events(third) == []
    assert (said(first)["error.type"], first.status.status_code) == ("ValueError", StatusCode.ERROR)
    assert said(third)["headrace.message.attempt"] == 3
    assert third.status.status_code is StatusCode.UNSET


async def test_tries_without_a_sender_stay_in_one_trace(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=2, first=1))
    async def handle(number: int) -> None:
        raise ValueError("never")

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1)
        await running.settle()
    first, second = spans.named("process in")
    assert second.parent == own(first)
    assert linked(second) == [own(first).span_id]


async def test_a_dead_letter_carries_the_trace_and_a_redrive_goes_on_with_it(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> None:
        raise Reject("no good")

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1)
        await running.settle()
        (letter,) = running.dead_letters(memory.topic("in"))
        first, grave = spans.one("process in"), spans.one("send in.dead")
        assert events(first) == ["exception", "headrace.dead_letter"]
        assert grave.parent == own(first)
        await running.publish(memory.topic("in"), 1, headers=letter.headers)
        await running.settle()
    again = spans.named("process in")[1]
    assert again.parent is not None
    assert again.parent.span_id == own(grave).span_id
    assert linked(again) == [own(grave).span_id]
    assert own(again).trace_id == own(first).trace_id


async def test_what_cannot_be_decoded_is_told_on_a_span(memory: Memory, spans: Spans) -> None:
    async with harness(plain(memory), spans) as running:
        await running.publish(memory.topic("in"), b"none", headers=PARENT)
        await running.settle()
    process = spans.one("process in")
    assert said(process)["error.type"] == "DecodeError"
    assert events(process) == ["exception", "headrace.dead_letter"]
    assert spans.way(spans.one("send in.dead")) == ["process in", "send in.dead"]


async def test_a_drop_is_an_event_and_no_error(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> None:
        raise Drop("not for us")

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1)
        await running.settle()
    process = spans.one("process in")
    assert [(event.name, dict(event.attributes or {})) for event in process.events] == [
        ("headrace.drop", {"headrace.reason": "not for us"})
    ]
    assert process.status.status_code is StatusCode.UNSET


async def test_a_crash_and_a_push_back_are_told(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=3, first=1))
    async def handle(number: int, message: Message) -> None:
        if message.attempt == 1:
            raise Crash("the connection is in pieces")
        if message.attempt == 2:
            raise Retry.after(2)

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1)
        await running.settle()
    first, second, third = spans.named("process in")
    assert events(first) == ["exception", "headrace.crash", "headrace.retry"]
    assert said(second)["error.type"] == "RetryAfter"
    assert events(third) == []


async def test_a_timeout_is_an_error_of_its_span(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"), timeout=5)
    async def handle(number: int) -> None:
        await anyio.sleep_forever()

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1)
        await running.advance(6)
        await running.settle()
    assert said(spans.one("process in"))["error.type"] == "TimeoutError"


async def test_a_redelivery_is_an_event(memory: Memory, spans: Spans) -> None:
    async with memory:
        await memory.topic("in").publish(1, headers=PARENT)
        source = memory.topic("in").source("shop.double")
        await source.open()
        await source.fetch(1)
        await source.close()  # without having settled it
        await Engine(plain(memory).graph(), tracer_provider=spans.provider).run(burst=True)
    process = spans.one("process in")
    assert events(process) == ["headrace.redelivery"]
    assert said(process)["headrace.message.attempt"] == 2


async def test_what_is_put_back_when_the_engine_stops_is_told_and_nacked(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")
    begun = anyio.Event()

    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with memory:
        await memory.topic("in").publish(1, headers=PARENT)
        engine = Engine(topology.graph(), tracer_provider=spans.provider)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert events(spans.one("process in")) == ["headrace.put_back"]
    assert spans.one("nack in").parent == own(spans.one("process in"))


async def test_a_handler_finds_baggage_and_its_span_and_nests_its_own(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")
    tracer = spans.provider.get_tracer("mine")
    found: list[object] = []

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> Message:
        found.append(baggage.get_baggage("tenant"))
        trace.get_current_span().set_attribute("mine", number)
        with tracer.start_as_current_span("look up"):
            await anyio.lowlevel.checkpoint()
        return Message(number, headers={"x-mine": "1"})

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT | {"baggage": "tenant=acme", "tracestate": "a=b"})
        await running.settle()
        (sent,) = running.messages(memory.topic("out"))
    assert found == ["acme"]
    assert spans.one("look up").parent == own(spans.one("process in"))
    assert said(spans.one("process in"))["mine"] == 1
    headers = sent.headers or {}
    assert headers["x-mine"] == "1"
    assert headers["baggage"] == "tenant=acme"
    assert headers["tracestate"] == "a=b"
    assert headers["traceparent"] == f"00-{TRACE:032x}-{own(spans.one('send out')).span_id:016x}-01"
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_threads_generators_in_threads_and_actors_work_within_their_span(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")
    found: dict[str, list[int]] = {"thread": [], "generator": [], "actor": [], "start": []}

    def current() -> int:
        return trace.get_current_span().get_span_context().span_id

    @topology.subscriber(memory.topic("one"))
    def thread(number: int) -> None:
        found["thread"].append(current())

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("two"))
    def generator(number: int) -> Iterator[int]:
        for each in range(2):
            found["generator"].append(current())
            yield each

    @topology.subscriber(memory.topic("three"))
    class Keeper(Actor):
        async def on_start(self) -> None:
            found["start"].append(current())

        async def receive(self, number: int) -> None:
            found["actor"].append(current())

    async with harness(topology, spans) as running:
        for name in ("one", "two", "three"):
            await running.publish(memory.topic(name), 1, headers=PARENT)
        await running.settle()
    assert found["thread"] == [own(spans.one("process one")).span_id]
    assert found["generator"] == [own(spans.one("process two")).span_id] * 2
    assert found["actor"] == [own(spans.one("process three")).span_id]
    assert found["start"] == [0]


async def test_a_reply_is_sent_below_the_question(memory: Memory, spans: Spans) -> None:
    async with harness(plain(memory), spans) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT, reply_to="headrace.inbox.7")
        await running.settle()
    reply = spans.one("send (temporary)")
    assert reply.parent == own(spans.one("process in"))
    assert said(reply)["messaging.destination.temporary"] is True
    assert said(reply)["messaging.destination.name"] == "headrace.inbox.7"


async def test_a_template_is_the_name_and_the_destination_an_attribute(memory: Memory, spans: Spans) -> None:
    topology = Topology("shop")

    @topology.publisher(memory.topic("tenant.{tenant}"))
    @topology.subscriber(memory.topic("in"))
    async def handle(body: dict[str, str]) -> dict[str, str]:
        return body

    async with harness(topology, spans) as running:
        await running.publish(memory.topic("in"), {"tenant": "acme"})
        await running.settle()
    send = said(spans.one("send tenant.{tenant}"))
    assert send["messaging.destination.name"] == "tenant.acme"
    assert send["messaging.destination.template"] == "tenant.{tenant}"


async def test_what_is_refused_is_an_error_of_its_send_span(memory: Memory, spans: Spans) -> None:
    small = Memory(max_bytes=3)
    topology = Topology("shop")

    @topology.publisher(small.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> int:
        return number

    async with memory, small:
        for number in (1, 1_000_000):
            await memory.topic("in").publish(number)
        await Engine(topology.graph(), tracer_provider=spans.provider).run(burst=True)
    fine, refused = sorted(spans.named("send out"), key=lambda span: span.status.status_code.value)
    assert said(refused)["error.type"] == "ValueError"
    assert "error.type" not in said(fine)
    assert spans.one("send in.dead").parent == refused.parent


async def test_lines_of_the_log_name_the_trace_and_the_span(
    memory: Memory, spans: Spans, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.telemetry import logs

    topology = Topology("shop")

    @topology.subscriber(memory.topic("in"))
    async def handle(number: int) -> None:
        logging.getLogger("mine").warning("handling %d", number)

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("json")
        async with harness(topology, spans) as running:
            await running.publish(memory.topic("in"), 1, headers=PARENT)
            await running.settle()
        logging.getLogger("mine").warning("outside")
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
    lines = capsys.readouterr().err.splitlines()
    inside = next(line for line in lines if "handling 1" in line)
    assert f'"trace_id": "{TRACE:032x}"' in inside
    assert f'"span_id": "{own(spans.one("process in")).span_id:016x}"' in inside
    assert "trace_id" not in next(line for line in lines if "outside" in line)


async def test_sampler_that_is_not_the_sdks_own_is_asked_with_the_attributes(memory: Memory) -> None:
    sampler = Other()
    async with harness(plain(memory), Spans(sampler)) as running:
        await running.publish(memory.topic("in"), 1, headers=PARENT, id="m-1")
        await running.settle()
    asked = dict(sampler.asked)
    assert asked.keys() == {"receive in", "process in", "send out", "ack in"}
    assert asked["process in"]["messaging.message.id"] == "m-1"
