"""Spans, started as cheaply as the provider allows.

The SDK takes about as long for one span as the engine for three messages: most of it goes into containers for
attributes, events and links, and into asking the sampler. So where the provider is the SDK's and its sampler one of
the SDK's, a span is a `LazySpan`: the SDK's own class, which fills itself in when somebody first looks into it. That is
the exporter in its thread, or a handler that adds something. Any other provider is asked through the API.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import getrandbits
from threading import Lock
from time import time_ns
from typing import Any, Protocol, TypeGuard, Union

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    TraceState,
)

from engine.telemetry.contexts import NO_STATE, SAMPLED, parts
from engine.telemetry.sampling import LOW_BITS, Roots, Rule

Value = str | bool | int | float
Attributes = Mapping[str, Value]
Describe = Callable[..., dict[str, Value]]
Above = Union["LazySpan", SpanContext, int, None]
"""What a span is below: another, or the trace of that id, which it begins; None where that is not known yet."""
RANDOM = int(TraceFlags.RANDOM_TRACE_ID)


@dataclass(frozen=True, slots=True)
class Shape:
    """What all spans of one operation at one place have in common.

    `describe(*facts)` gives the attributes that are not known beforehand.
    """

    name: str
    kind: SpanKind
    fixed: Attributes
    describe: Describe | None = None

    def attributes(self, facts: tuple[Any, ...]) -> Attributes:
        """All attributes of one span."""
        return self.fixed if self.describe is None else {**self.fixed, **self.describe(*facts)}


class Start(Protocol):
    """How a span is started, below `above`: what the current span of `parent` is, or the trace that it is the root of.

    It is linked once to each span that is among `links`.
    """

    def __call__(
        self,
        shape: Shape,
        parent: Context,
        above: Above,
        facts: tuple[Any, ...] = (),
        links: Sequence[Above] = (),
        at: int | None = None,
    ) -> Span: ...


def limits() -> SpanLimits:
    """The limits that the environment sets; where it sets none for links, a batch links to each of its messages."""
    return SpanLimits(max_links=None if "OTEL_SPAN_LINK_COUNT_LIMIT" in os.environ else SpanLimits.UNSET)


def distinct(links: Iterable[Above]) -> list[Link]:
    """A link to each span once. They may have states, which cannot be hashed."""
    spans = [context_of(each) for each in links if is_span(each)]
    return [Link(each) for each in {(each.trace_id, each.span_id): each for each in spans}.values()]


def is_span(above: Above) -> "TypeGuard[LazySpan | SpanContext]":
    """Whether there is a span above, and not a trace that is to begin."""
    return above is not None and type(above) is not int


def context_of(above: "LazySpan | SpanContext") -> SpanContext:
    """The context of a span."""
    return above if isinstance(above, SpanContext) else above.get_span_context()


def sampled(above: Above) -> bool:
    """Whether what is below is to be recorded; true for the id of a trace that is to begin."""
    return parts(above)[2] & SAMPLED != 0 if type(above) is SpanContext else above is not None


class Kit:
    """What the spans of one tracer have in common."""

    def __init__(self, tracer: SdkTracer, scope: InstrumentationScope) -> None:
        self.sampler = tracer.sampler
        self.resource: Resource = tracer.resource
        self.processor: SpanProcessor = tracer.span_processor
        self.scope = scope
        self.limits = limits()


class LazySpan(SdkSpan):
    """An SDK span that is recorded for certain, and filled in when somebody first reads or changes it."""

    __slots__ = (
        *("above", "began", "ended", "facts", "flags", "kit", "linked", "on_end", "own", "shape"),
        *("span_id", "state", "trace_id"),
    )

    kit: Kit
    trace_id: int
    span_id: int
    flags: TraceFlags
    state: TraceState
    own: SpanContext | None
    """Its context, once somebody has asked for it."""
    shape: Shape | None
    """None when it is filled in."""
    above: "LazySpan | SpanContext | None"
    facts: tuple[Any, ...]
    linked: Sequence[Above]
    began: int
    ended: int | None
    on_end: Callable[[SdkSpan], None]

    def _fill(self, shape: Shape) -> None:
        kit = self.kit
        SdkSpan.__init__(
            self,
            name=shape.name,
            context=self.get_span_context(),
            parent=None if self.above is None else context_of(self.above),
            sampler=kit.sampler,
            resource=kit.resource,
            attributes=shape.attributes(self.facts),
            links=distinct(self.linked),
            kind=shape.kind,
            limits=kit.limits,
            instrumentation_scope=kit.scope,
        )
        self.start(self.began)
        if self.ended is not None:
            super().end(self.ended)
        self.shape = None

    @property
    def context(self) -> SpanContext:
        return self.get_span_context()

    def get_span_context(self) -> SpanContext:
        if self.own is None:
            self.own = SpanContext(self.trace_id, self.span_id, False, self.flags, self.state)
        return self.own

    def is_recording(self) -> bool:
        return self.ended is None

    def end(self, end_time: int | None = None) -> None:
        """End it, and hand it to the provider's processors; a second time does nothing."""
        if self.ended is not None:
            return
        self.ended = time_ns() if end_time is None else end_time
        if self.shape is None:
            super().end(self.ended)
        self.on_end(self)


class _Field:
    """One of the SDK's fields of a lazy span: read before it is there, it has all of them filled in.

    Afterwards those are found first. A `__getattr__` would make reading any attribute take seven times as long.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, span: LazySpan, owner: type[LazySpan]) -> Any:
        with _FILLING:
            if span.shape is not None:  # else another thread was faster
                span._fill(span.shape)
        return span.__dict__[self._name]


def _complete() -> None:
    sample: Any = object.__new__(type("Sample", (SdkSpan,), {}))
    SdkSpan.__init__(sample, "", INVALID_SPAN_CONTEXT, resource=Resource({}))
    for name in vars(sample):
        setattr(LazySpan, name, _Field(name))


_FILLING = Lock()
_new: Callable[[type[LazySpan]], LazySpan] = object.__new__
_complete()
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
        """A span, started; one without a parent is recorded, for whoever asks for it has decided that."""
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
        """A span, started; it records nothing where it is not sampled."""
        return self._tracer.start_span(shape.name, parent, shape.kind, shape.attributes(facts), distinct(links), at)
