"""Spans on their way out: in batches, bounded, and never waited for."""

import logging
from collections.abc import Sequence
from threading import Event, current_thread

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, AlwaysRecordSampler, Sampler

from engine.telemetry.export import Outbound

PATIENCE = 10.0


class Slow(SpanExporter):
    """Exports when it is let; `failing` makes it raise."""

    def __init__(self, failing: bool = False) -> None:
        self.runs: list[int] = []
        self.begun, self.let = Event(), Event()
        self.failing = failing
        self.threads: set[str] = set()
        self.closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.begun.set()
        assert self.let.wait(PATIENCE)
        self.threads.add(current_thread().name)
        self.runs.append(len(spans))
        if self.failing:
            raise RuntimeError("no such host")
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.closed = True


def ended(outbound: Outbound, count: int, sampler: Sampler | None = None) -> None:
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    provider.add_span_processor(outbound)
    for number in range(count):
        provider.get_tracer("t").start_span(f"span {number}").end()


def test_spans_beyond_the_room_are_dropped_while_the_exporter_hangs(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Slow()
    outbound = Outbound(exporter, room=20, batch=10)
    ended(outbound, 10)
    assert exporter.begun.wait(PATIENCE)  # ten are on their way now, and none of them waits
    ended(outbound, 50)
    assert outbound.dropped == 30
    assert [record.levelno for record in caplog.records] == [logging.WARNING], "one line for all of them"
    exporter.let.set()
    outbound.shutdown()
    assert sum(exporter.runs) == 30
    assert exporter.threads == {"headrace-spans"}
    assert exporter.closed


def test_what_waits_goes_out_in_batches_when_it_ends_and_when_it_is_flushed() -> None:
    exporter = Slow()
    exporter.let.set()
    outbound = Outbound(exporter, room=100, batch=40, delay=1000)
    ended(outbound, 3)
    assert outbound.force_flush()
    assert exporter.runs == [3]
    ended(outbound, 5)
    outbound.shutdown()
    assert exporter.runs == [3, 5]


def test_an_exporter_that_fails_loses_its_spans_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Slow(failing=True)
    exporter.let.set()
    outbound = Outbound(exporter, delay=1000)
    ended(outbound, 2)
    outbound.force_flush()
    ended(outbound, 1)
    outbound.shutdown()
    assert exporter.runs == [2, 1]
    assert [record.message for record in caplog.records] == [
        "2 spans are lost: the exporter failed",
        "1 spans are lost: the exporter failed",
    ]


def test_what_is_recorded_and_not_sampled_stays_here() -> None:
    exporter = Slow()
    exporter.let.set()
    outbound = Outbound(exporter)
    ended(outbound, 2, AlwaysRecordSampler(ALWAYS_OFF))
    outbound.shutdown()
    assert exporter.runs == []
