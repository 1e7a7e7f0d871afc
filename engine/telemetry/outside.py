"""Publishing and asking from outside of an engine, traced: below the span that is the caller's current one."""

from functools import lru_cache
from time import time_ns

from opentelemetry.context import get_current
from opentelemetry.trace import SpanKind, TracerProvider

from actors import Endpoint, Message, Sink
from engine.telemetry.attributes import INBOX_NAME, of_fetched, place_of
from engine.telemetry.publishing import TracedSink
from engine.telemetry.receiving import decide
from engine.telemetry.spans import Shape
from engine.telemetry.starting import Lazily
from engine.telemetry.tracing import Tracing, tracing_of
from engine.telemetry.trail import span_in, trail_of


class Outside:
    """What traces the publishing of one provider's program."""

    def __init__(self, tracing: Tracing) -> None:
        self._start, self._carrier = tracing.start, tracing.carrier

    async def publish(self, sink: Sink, endpoint: Endpoint, message: Message) -> None:
        """Publish one message as a span of its own.

        Its parent is the current span, else what the message's own headers name, else it begins a trace.
        """
        context = get_current()
        if span_in(context) is None and message.headers:
            context = self._carrier.extract(message.headers) or context
        trail = trail_of(message.origin, context, span_in(context))
        if isinstance(self._start, Lazily) and trail.above is None:
            decide(trail, self._start)
        message.origin = trail  # it reads as the origin does
        await TracedSink(sink, place_of(endpoint), self._start, self._carrier).publish([message])

    def replied(self, endpoint: Endpoint, reply: Message, began: int) -> None:
        """Tell of the wait for a reply, which began at that time, in nanoseconds since the epoch."""
        parent = get_current()
        above, sender = span_in(parent), span_in(self._carrier.extract(reply.headers))
        if above is None:
            return  # nobody's question: the reply's own spans tell of it
        place = place_of(endpoint)
        fixed = place.attributes("receive", "receive") | {"messaging.destination.temporary": True}
        facts = place, reply.origin, reply.key, False, 1
        shape = Shape(f"receive {INBOX_NAME}", SpanKind.CLIENT, fixed, of_fetched)
        self._start(shape, parent, above, facts, [sender], began).end(time_ns())


@lru_cache(maxsize=4)
def outside_by(provider: TracerProvider) -> Outside | None:
    """What traces by a provider, made once; None where it makes no spans."""
    tracing = tracing_of(provider)
    return None if tracing is None else Outside(tracing)
