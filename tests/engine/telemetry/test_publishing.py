"""`TracedSink` on a sink that has several runs on their way: each message has a span for each time that it was sent."""

from collections.abc import Sequence
from typing import Any

import pytest

from actors import BrokerUnavailable, Endpoint, Message, Origin, Pipelined, PublishError, Sink
from engine.telemetry.attributes import place_of
from engine.telemetry.publishing import TracedSink
from engine.telemetry.tracing import tracing_of
from engine.telemetry.trail import NOTHING, Trail, trail_of
from headrace import Memory
from tests.actors.fakes import Shelf
from tests.actors.test_pipelined import Chute, Parcel
from tests.engine.telemetry.traced import Spans, own, said

pytestmark = pytest.mark.anyio


class Sending:
    """A traced sink, and a run of two messages that have a trail each."""

    def __init__(self, shelf: Shelf) -> None:
        self.spans = Spans()
        tracing = tracing_of(self.spans.provider)
        assert tracing is not None
        endpoint: Endpoint = Memory().topic("out")
        sink: Sink = shelf
        self.sink = TracedSink(sink, place_of(endpoint), tracing.start, tracing.carrier)
        self.run = [self._message(body) for body in "ab"]

    def _message(self, body: str) -> Message:
        made = Message(body)
        made.raw, made.destination = body.encode(), "out"
        made.origin = trail_of(Origin(source="in"), NOTHING, None)
        return made

    @property
    def parents(self) -> Sequence[Any]:
        """The span that each message tells those who get it of."""
        return [str((each.headers or {})["traceparent"]).split("-")[2] for each in self.run]

    @property
    def ended(self) -> list[tuple[str, Any]]:
        return [(f"{own(span).span_id:016x}", said(span).get("error.type")) for span in self.spans.named("send out")]

    @property
    def traced(self) -> list[bool]:
        return [type(each.origin) is Trail for each in self.run]


async def sent(sending: Sending, chute: Chute) -> tuple[Any, Parcel]:
    parcel = await sending.sink.send(sending.run)
    assert parcel is not None
    return parcel, chute.parcels[-1]


async def test_the_spans_of_a_run_on_its_way_end_when_it_is_confirmed():
    chute = Chute()
    sending = Sending(chute)
    parcel, behind = await sent(sending, chute)
    assert sending.ended == []
    assert sending.traced == [False, False]
    behind.land()
    assert await parcel.confirmed()
    assert sending.ended == [(span, None) for span in sending.parents]


async def test_what_came_to_nothing_has_a_span_more_when_it_is_published_again():
    chute = Chute()
    sending = Sending(chute)
    parcel, behind = await sent(sending, chute)
    firsts = sending.parents
    behind.land(False)
    assert not await parcel.confirmed()
    assert sending.traced == [True, True]
    await sending.sink.publish(sending.run)
    assert sending.ended == [(span, "BrokerUnavailable") for span in firsts] + [
        (span, None) for span in sending.parents
    ]
    assert not set(firsts) & set(sending.parents)


@pytest.mark.parametrize(
    ("outcome", "errors"),
    [
        (BrokerUnavailable("gone"), ["BrokerUnavailable", "BrokerUnavailable"]),
        (PublishError({1: ValueError("too long")}), [None, "ValueError"]),
    ],
)
async def test_what_was_refused_or_lost_can_be_traced_again(outcome: Exception, errors: list[str | None]):
    chute = Chute()
    sending = Sending(chute)
    parcel, behind = await sent(sending, chute)
    behind.land(outcome)
    with pytest.raises(type(outcome)):
        await parcel.confirmed()
    assert sending.ended == list(zip(sending.parents, errors, strict=True))
    assert sending.traced == [True, True]


async def test_a_run_that_is_forgotten_can_be_traced_again():
    chute = Chute()
    sending = Sending(chute)
    parcel, behind = await sent(sending, chute)
    parcel.forget()
    assert behind.forgotten
    assert [error for _, error in sending.ended] == ["BrokerUnavailable", "BrokerUnavailable"]
    assert sending.traced == [True, True]


async def test_spans_end_once_whatever_is_asked_afterwards(caplog: pytest.LogCaptureFixture):
    chute = Chute()
    sending = Sending(chute)
    parcel, behind = await sent(sending, chute)
    behind.land(RuntimeError("a bug in the adapter"))
    with pytest.raises(RuntimeError):
        await parcel.confirmed()
    parcel.forget()
    assert [error for _, error in sending.ended] == ["RuntimeError", "RuntimeError"]
    assert not caplog.records


@pytest.mark.parametrize("barred", [True, BrokerUnavailable("gone")])
async def test_what_was_not_sent_has_no_span(barred: Any):
    chute = Chute()
    sending = Sending(chute)
    chute.barred = barred
    if barred is True:
        assert await sending.sink.send(sending.run) is None
    else:
        with pytest.raises(BrokerUnavailable):
            await sending.sink.send(sending.run)
    assert sending.ended == []
    assert sending.traced == [True, True]


async def test_a_sink_that_takes_one_run_at_a_time_stays_one():
    sending = Sending(Shelf())
    assert isinstance(sending.sink, Pipelined)
    assert sending.sink.in_flight == 1
    assert await sending.sink.send(sending.run) is None
    assert sending.traced == [True, True]
