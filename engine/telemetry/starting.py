"""Spans, started as cheaply as the provider allows.

The SDK takes about as long for one span as the engine for three messages: most of it goes into containers for
attributes, events and links, and into asking the sampler. So where the provider is the SDK's and its sampler one of
the SDK's, a span is a `LazySpan`. Any other provider is asked through the API.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import getrandbits
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer

from engine.telemetry.contexts import NO_STATE, SAMPLED, parts
from engine.telemetry.sampling import LOW_BITS, Roots, Rule
from engine.telemetry.spans import Above, Kit, LazySpan, Shape, context_of, distinct, is_span

RANDOM = int(TraceFlags.RANDOM_TRACE_ID)
_new: Callable[[type[LazySpan]], LazySpan] = object.__new__
_IDLE = {each.on_start for each in (SpanProcessor, BatchSpanProcessor, SimpleSpanProcessor)}
"""What does nothing when a span starts."""


class Told:
    """Who is told that spans start and end: straight where there is one to tell, and nobody who does not care."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        self.plain = type(processor) is SynchronousMultiSpanProcessor
        """Whether its parts are known, and can change."""
        self.parts: Any = None
        self.start: Callable[..., None] | None = processor.on_start
        self.end: Callable[[SdkSpan], None] = processor.on_end

    def look(self) -> None:
        """See who is there by now."""
        if not self.plain:
            return
        several: tuple[SpanProcessor, ...] = getattr(self._processor, "_span_processors", ())
        idle = bool(several) and all(type(each).on_start in _IDLE for each in several)
        self.parts, self.start = several, None if idle else self._processor.on_start
        self.end = several[0].on_end if len(several) == 1 else self._processor.on_end


class Lazily:
    """Starts lazy spans. Whoever calls it has found the trace to be sampled."""

    def __init__(self, provider: TracerProvider, tracer: SdkTracer, scope: InstrumentationScope, rule: Rule) -> None:
        self.rule = rule
        self._kit = Kit(tracer, scope)
        self._processor: Any = self._kit.processor
        self._told = Told(self._processor)
        ids = provider.id_generator
        random = type(ids) is RandomIdGenerator  # which draws again where a draw gives nothing but zeros
        self.trace_id: Callable[[], int] = partial(getrandbits, 128) if random else ids.generate_trace_id
        self._span_id: Callable[[], int] = partial(getrandbits, 64) if random else ids.generate_span_id
        self.roots = Roots(rule, None if random else self.trace_id)
        self._of_root = TraceFlags(SAMPLED | (RANDOM if ids.is_trace_id_random() else 0))
        self._of_child = {0: TraceFlags(SAMPLED), RANDOM: TraceFlags(SAMPLED | RANDOM)}
        self._bound, self._follows = rule.bound, rule.follows

    def unsampled(self, above: SpanContext | int) -> SpanContext:
        """The context of a span that is not recorded, in a trace that has begun or is to begin."""
        if isinstance(above, SpanContext):
            return SpanContext(above.trace_id, self._span_id(), False, TraceFlags(0), above.trace_state)
        return SpanContext(above, self._span_id(), False, TraceFlags(0))

    def __call__(
        self,
        shape: Shape,
        parent: Context,
        above: Above,
        facts: tuple[Any, ...] = (),
        links: Sequence[Above] = (),
        at: int | None = None,
    ) -> Span:
        """A span, started, below `above`: what the current span of `parent` is, or the trace that it is the root of.

        It is linked once to each span that is among `links`. One without a parent is recorded, for whoever asks for it
        has decided that.
        """
        span = _new(LazySpan)
        if type(above) is LazySpan and self._follows:
            span.trace_id, span.flags, span.state, span.above = above.trace_id, above.flags, above.state, above
        elif is_span(above):
            trace_id, _, flags, state = parts(context_of(above))
            if not (flags & SAMPLED if self._follows else trace_id & LOW_BITS < self._bound):
                return NonRecordingSpan(self.unsampled(context_of(above)))
            span.trace_id, span.flags, span.state, span.above = trace_id, self._of_child[flags & RANDOM], state, above
        else:
            span.trace_id, span.flags, span.state = above or self.trace_id(), self._of_root, NO_STATE  # type: ignore[assignment]
            span.above = None
        span.span_id, span.own = self._span_id(), None
        span.kit, span.shape, span.facts, span.linked, span.ended = self._kit, shape, facts, links, None
        span.began = at or time_ns()
        told = self._told
        if not told.plain or told.parts is not self._processor._span_processors:
            told.look()
        if told.start is not None:
            told.start(span, parent)
        span.on_end = told.end
        return span


class Asked:
    """Starts spans through the API, whoever is behind it; the attributes are made before it decides."""

    rule = None

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(
        self,
        shape: Shape,
        parent: Context,
        above: Above,
        facts: tuple[Any, ...] = (),
        links: Sequence[Above] = (),
        at: int | None = None,
    ) -> Span:
        """A span, started, as `Lazily` starts one; it records nothing where it is not sampled."""
        return self._tracer.start_span(shape.name, parent, shape.kind, shape.attributes(facts), distinct(links), at)
