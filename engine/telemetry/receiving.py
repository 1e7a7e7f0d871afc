"""Where messages come in, traced: `TracedSource`, in front of a broker's own."""

from collections.abc import Sequence
from logging import getLogger
from time import time_ns
from typing import Any

from opentelemetry.trace import NonRecordingSpan, Span, SpanKind

from actors import Message, Source
from engine.telemetry.attributes import Place, of_run
from engine.telemetry.contexts import with_span
from engine.telemetry.ending import finish
from engine.telemetry.sampling import LOW_BITS
from engine.telemetry.spans import Shape, sampled
from engine.telemetry.starting import Asked, Lazily
from engine.telemetry.trail import NOTHING, Carrier, Trail, span_in, trail_of

logger = getLogger("headrace")


class TracedSource:
    """A source whose messages have a trail where they are traced; what it fetches and settles are spans.

    A span about several messages is recorded where one of them is sampled.
    """

    def __init__(self, source: Source, place: Place, start: Lazily | Asked, carrier: Carrier) -> None:
        self._source = source
        self._place = place
        self._start = start
        self._carrier = carrier
        self._receive = _of_source(place, "receive", "receive")
        self._ack, self._nack = _of_source(place, "ack", "settle"), _of_source(place, "nack", "settle")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)  # what only some sources have

    async def open(self) -> None:
        await self._source.open()

    async def close(self) -> None:
        await self._source.close()

    def pending(self) -> int | None:
        return self._source.pending()

    @property
    def drain(self) -> Any:
        """What a source with a buffer of its own has at its end; AttributeError where it has none."""
        drain = self._source.drain  # type: ignore[attr-defined]

        async def drained() -> list[Message]:
            return self._traced(await drain(), time_ns())

        return drained

    async def fetch(self, limit: int) -> list[Message]:
        began = time_ns()
        return self._traced(await self._source.fetch(limit), began)

    def _traced(self, run: list[Message], began: int) -> list[Message]:
        try:
            traced = self._follow(run)
            if traced:
                links = [each.above for each in traced]
                self._start(self._receive, NOTHING, None, (len(run),), links, began).end()
        except Exception:  # a propagator's, or a sampler's: no reason to lose what was fetched
            logger.exception("messages of %s go on without their traces", self._place.name)
        return run

    def _follow(self, run: list[Message]) -> list[Trail]:
        """Give a trail to each message that is traced, or whose sender says what is to go on with it."""
        start, carrier, place = self._start, self._carrier, self._place
        if isinstance(start, Asked):
            trails = [_begun(message, carrier, place) for message in run]
            return [trail for trail in trails if trail.above is None or sampled(trail.above)]
        fields, follows, roots, left = carrier.fields, start.rule.follows, start.roots, start.roots.left
        traced = []
        for message in run:
            headers = message.headers
            if headers and not fields.isdisjoint(headers):
                if follows and carrier.passes(headers):
                    continue
                trail = _begun(message, carrier, place)
                if trail.above is None:
                    decide(trail, start)
                if sampled(trail.above):
                    traced.append(trail)
            elif left:
                left -= 1
            else:
                if (trace_id := roots.trace_id()) is not None:
                    message.origin = trail = trail_of(message.origin, NOTHING, trace_id, place)
                    traced.append(trail)
                left = roots.passed_over()
        roots.left = left
        return traced

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        spans = []
        for shape, run in ((self._ack, done), (self._nack, returned)):
            if trails := _let_go(run):
                spans.append(self._settling(shape, run, trails))
        if not spans:
            await self._source.settle(done, returned)
            return
        error: BaseException | None = None
        try:
            await self._source.settle(done, returned)
        except BaseException as problem:
            error = problem
            raise
        finally:
            for span in spans:
                finish(span, error)

    def _settling(self, shape: Shape, run: Sequence[Message], trails: list[Trail]) -> Span:
        of_one = len(run) == 1
        parent, above = (trails[0].context, trails[0].above) if of_one else (NOTHING, None)
        return self._start(shape, parent, above, (len(run),), [each.above for each in trails])

    def __repr__(self) -> str:
        return f"<traced {self._source!r}>"


def _of_source(place: Place, operation: str, kind: str) -> Shape:
    return Shape(f"{operation} {place.shown}", SpanKind.CLIENT, place.attributes(operation, kind), of_run)


def _begun(message: Message, carrier: Carrier, place: Place) -> Trail:
    """The trail of a message as it comes in, as far as its headers tell."""
    context = carrier.extract(message.headers)
    trail = trail_of(message.origin, context, span_in(context), place)
    message.origin = trail  # it reads as the origin does
    return trail


def decide(trail: Trail, start: Lazily) -> None:
    """Whether a trace begins with a message that has none yet."""
    trace_id = start.trace_id()
    if trace_id & LOW_BITS < start.rule.bound:
        trail.above = trace_id
        return
    trail.above = start.unsampled(trace_id)
    trail.context = with_span(NonRecordingSpan(trail.above), trail.context)


def _let_go(run: Sequence[Message]) -> list[Trail]:
    """Give messages their own origins back, by which their source knows them; the trails of those that are sampled."""
    trails = []
    for message in run:
        trail = message.origin
        if type(trail) is Trail:
            message.origin = trail.origin
            if sampled(trail.above):
                trails.append(trail)
    return trails
