"""`Trail`: the trace that a message is part of, carried from stage to stage; and how it travels in headers.

A trail takes the place of a message's origin, which everything made of the message shares already: so a trace goes
through every stage, and a message that is not traced costs nothing.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from random import getrandbits
from typing import Any

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from actors import Message, Provenance
from engine.telemetry.contexts import NO_STATE, parts
from engine.telemetry.spans import Above, LazySpan

TRACEPARENT = "traceparent"
W3C = frozenset((TRACEPARENT, "tracestate", "baggage"))
NOTHING = Context()
UNSAMPLED = "-00"
"""What a `traceparent` ends with whose trace is not sampled."""


class Trail:
    """Where a message came from, and the trace that it is part of. Reads as the origin that it is put in front of."""

    __slots__ = ("above", "below", "context", "fetched", "handling", "origin", "parent", "previous", "stage")

    origin: Provenance
    context: Context
    """What the next span on this message's way is a child of: its sender's, or that of the stage that made it."""
    above: Above
    """The span in that context; the id of the trace that is to begin here; None where there is neither."""
    fetched: Any
    """The source that it was fetched from; None for what a stage made."""
    stage: object
    """The stage that handles it, or did."""
    parent: Context
    below: Above
    """What that stage's spans of it are children of: that context, and the span in it."""
    previous: Above
    """The last of them."""
    handling: "Handling | None"
    """Where its handler has returned or failed, until it is known what becomes of it."""

    # As its origin reads. A `__getattr__` would make reading any attribute slow.
    id = property(attrgetter("origin.id"))
    timestamp = property(attrgetter("origin.timestamp"))
    source = property(attrgetter("origin.source"))
    partition = property(attrgetter("origin.partition"))
    offset = property(attrgetter("origin.offset"))
    correlation_id = property(attrgetter("origin.correlation_id"))
    record = property(attrgetter("origin.record"))
    named = property(attrgetter("origin.named"))
    place = property(attrgetter("origin.place"))

    def around(self, origin: Provenance) -> "Trail":
        """The same trail with another origin behind it."""
        trail = trail_of(origin, self.context, self.above, self.fetched)
        trail.stage, trail.parent, trail.below, trail.previous = self.stage, self.parent, self.below, self.previous
        return trail


_new: Callable[[type[Trail]], Trail] = object.__new__


def trail_of(origin: Provenance, context: Context, above: Above, fetched: Any = None) -> Trail:
    """A trail that no stage has handled yet; in half the time that a constructor takes."""
    trail = _new(Trail)
    trail.origin, trail.context, trail.above, trail.fetched = origin, context, above, fetched
    trail.parent = NOTHING
    trail.stage = trail.below = trail.previous = trail.handling = None
    return trail


class Handling:
    """A process span that is not ended until it is known what becomes of its message, or of all of its batch."""

    __slots__ = ("left", "noted", "returned", "span")

    def __init__(self, span: Span, left: int = 1) -> None:
        self.span = span
        self.left = left
        """Messages of which it is not known what becomes of them."""
        self.returned = False
        """Whether the handler has returned, and its result is still to be passed on."""
        self.noted: BaseException | None = None
        """The error that the span tells of already: a batch fails with one for all."""


def span_in(context: Context) -> SpanContext | None:
    """The span that is current in a context; None where there is none."""
    found = get_current_span(context).get_span_context()
    return found if found.is_valid else None


class _Text(Getter[Mapping[str, Any]]):
    """Reads headers; those that are not UTF-8 are none of a propagator's."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(key)
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return list(carrier)


_TEXT = _Text()
_FLAGS = [f"{flags:02x}" for flags in range(256)]


class Carrier:
    """Puts contexts into headers and finds them there, as the propagators of OTEL_PROPAGATORS have it."""

    def __init__(self, propagator: TextMapPropagator | None = None) -> None:
        self._propagator = propagator or get_global_textmap()
        self.fields = frozenset(self._propagator.fields)
        self.w3c = TRACEPARENT in self.fields and self.fields <= W3C
        """Whether contexts are written as the W3C has it, so that what is usual needs no propagator to read."""

    def extract(self, headers: Mapping[str, Any] | None) -> Context:
        """The context in headers; an empty one where there is none."""
        if not headers or self.fields.isdisjoint(headers):
            return NOTHING
        return self._propagator.extract(headers, NOTHING, _TEXT)

    def passes(self, headers: Mapping[str, Any]) -> bool:
        """Whether headers say no more than that their trace is not sampled: then they go on as they are."""
        parent = headers.get(TRACEPARENT)
        return self.w3c and type(parent) is str and parent.endswith(UNSAMPLED) and "baggage" not in headers

    def inject(self, message: Message, parent: Context, span: Span) -> None:
        """Put a span into a message's headers, and what else its parent's context has. The dict is a new one."""
        headers: dict[str, Any] = dict(message.headers) if message.headers else {}
        if type(span) is LazySpan:
            trace_id, span_id, flags, state = span.trace_id, span.span_id, span.flags, span.state
        else:
            trace_id, span_id, flags, state = parts(span.get_span_context())
        if self.w3c and len(parent) <= 1 and (state is NO_STATE or not state):
            ids = trace_id.to_bytes(16).hex(), span_id.to_bytes(8).hex()  # half the time of a format of numbers
            headers[TRACEPARENT] = f"00-{ids[0]}-{ids[1]}-{_FLAGS[flags]}"
            headers.pop("tracestate", None)
        else:
            for field in self.fields:
                headers.pop(field, None)
            self._propagator.inject(headers, set_span_in_context(span, parent))
        message.headers = headers


# -- what is not sampled -------------------------------------------------------------------------------------

_SPAN = SpanContext(getrandbits(64) << 64 | (1 << 64) - 1, getrandbits(64) or 1, False, TraceFlags(0))
GROUND = set_span_in_context(NonRecordingSpan(_SPAN), NOTHING)
"""The context of handlers while they handle what is not sampled: so that spans of theirs are not sampled either."""


def _beginning() -> Callable[[], str]:
    head, tail = f"00-{getrandbits(64) | 1:016x}", f"-{getrandbits(64) | 1:016x}{UNSAMPLED}"
    return lambda: f"{head}{getrandbits(64):016x}{tail}"


unsampled = _beginning()
"""A new `traceparent` that says that its trace is not sampled: those behind shall not begin one of their own."""


def is_ground(span: SpanContext) -> bool:
    """Whether this is no message's span, but what stands for all that are not sampled."""
    return span is _SPAN
