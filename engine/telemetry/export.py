"""Spans on their way to a collector: `Bounded` keeps a dead or slow one from being felt."""

from collections.abc import Sequence
from logging import getLogger
from threading import Lock
from time import monotonic

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

logger = getLogger("headrace")
TELL_EVERY = 60.0
"""Seconds between two lines about spans that were dropped."""


class _Telling(SpanExporter):
    """Tells how many spans an exporter is through with, whatever came of them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter = exporter
        self.through = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            return self.exporter.export(spans)
        finally:
            self.through += len(spans)

    def shutdown(self) -> None:
        self.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.exporter.force_flush(timeout_millis)


class Bounded(SpanProcessor):
    """The SDK's batch processor behind a bound: at most `room` spans wait or are on their way, and more are dropped.

    The SDK's own bound drops too, and writes a line of the log for every span, which costs more than the span.
    """

    def __init__(self, exporter: SpanExporter, room: int) -> None:
        self.room = room
        self.dropped = 0
        self._exporter = _Telling(exporter)
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=room)
        self._taken = 0
        self._told = -TELL_EVERY
        self._taking = Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span goes when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Have it exported if it is sampled and there is room; never waits."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._taking:  # spans end in handlers' threads too
            full = self._taken - self._exporter.through >= self.room
            if full:
                self.dropped += 1
            else:
                self._taken += 1
        if not full:
            self._batches.on_end(span)
        elif monotonic() - self._told > TELL_EVERY:
            self._told = monotonic()
            logger.warning("%d spans dropped so far: the collector does not take them fast enough", self.dropped)

    def shutdown(self) -> None:
        """Export what waits, and end; how long that may take is the exporter's to say."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        return self._batches.force_flush(timeout_millis)
