"""Spans on their way to a collector: `Outbound` keeps a dead or slow one from being felt."""

from collections import deque
from logging import getLogger
from threading import Event, Lock, Thread
from time import monotonic

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from engine.telemetry.spans import LazySpan

logger = getLogger("headrace")
TELL_EVERY = 60.0
"""Seconds between two lines about spans that were dropped."""


class Outbound(SpanProcessor):
    """Exports spans from a thread of its own, up to `batch` at once, every `delay` seconds or when a batch is full.

    At most `room` spans wait; more are dropped, and counted. Ending a span takes an append, whatever the exporter does:
    the SDK's own batch processor asks for the process's number each time, and logs a line for every span that it drops.
    """

    def __init__(self, exporter: SpanExporter, room: int = 2048, batch: int = 512, delay: float = 5.0) -> None:
        self.exporter = exporter
        self.room = room
        self.dropped = 0
        self._batch = min(batch, room)
        self._delay = delay
        self._waiting: deque[ReadableSpan] = deque()
        self._news = Event()
        self._exporting = Lock()
        self._ended = False
        self._told = -TELL_EVERY
        self._thread = Thread(target=self._run, name="headrace-spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Have it exported if there is room; never waits."""
        waiting = self._waiting
        if len(waiting) < self.room:
            waiting.append(span)
            if len(waiting) == self._batch:
                self._news.set()
            return
        self.dropped += 1
        if monotonic() - self._told > TELL_EVERY:
            self._told = monotonic()
            logger.warning("%d spans dropped so far: the collector does not take them fast enough", self.dropped)

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # what the exporter's client does is not traced again
        while not self._ended:
            self._news.wait(self._delay)
            self._news.clear()
            self._export()

    def _export(self) -> None:
        """Export what waits now, and what comes meanwhile as long as that fills a batch."""
        with self._exporting:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
                spans = [span for span in taken if type(span) is LazySpan or _is_sampled(span)]
                try:
                    if spans:
                        self.exporter.export(spans)
                except Exception:
                    logger.exception("%d spans are lost: the exporter failed", len(spans))
                if len(self._waiting) < self._batch and not self._ended:
                    return

    def shutdown(self) -> None:
        """Export what waits, and end; how long that may take is the exporter's to say."""
        self._ended = True
        self._news.set()
        self._thread.join()
        self._export()
        self.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        self._export()
        return True


def _is_sampled(span: ReadableSpan) -> bool:
    """Whether it is to be exported; those of the engine's own kind are not even made where they are not."""
    context = span.get_span_context()
    return context is not None and context.trace_flags.sampled
