"""Spans, started as cheaply as the provider allows.

The SDK takes about as long for one span as the engine for three messages: most of it goes into containers for
attributes, events and links, and into asking the sampler. So where the provider is the SDK's and its sampler one of
the SDK's, a span is a `LazySpan`: the SDK's own class, which fills itself in when somebody first looks into it. That is
the exporter in its thread, or a handler that adds something. Any other provider is asked through the API.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import getrandbits
from threading import Lock
from time import time_ns
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, Tracer

from engine.telemetry.sampling import LOW_BITS, Rule

Value = str | bool | int | float
Attributes = Mapping[str, Value]
Describe = Callable[..., dict[str, Value]]
SAMPLED = int(TraceFlags.SAMPLED)
RANDOM = int(TraceFlags.RANDOM_TRACE_ID)


class Start(Protocol):
    """How a span is started, below `above`: what the current span of `parent` is, or the trace that it is the root of.

    `describe(*facts)` gives the attributes that are not known to its stage beforehand.
    """

    def __call__(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        above: SpanContext | int | None,
        fixed: Attributes,
        describe: Describe | None = None,
        facts: tuple[Any, ...] = (),
        links: Sequence[SpanContext] = (),
        at: int | None = None,
    ) -> Span: ...


def limits() -> SpanLimits:
    """The limits that the environment sets; where it sets none for links, a batch links to each of its messages."""
    return SpanLimits(max_links=None if "OTEL_SPAN_LINK_COUNT_LIMIT" in os.environ else SpanLimits.UNSET)


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

    kit: Kit
    own: SpanContext
    seed: tuple[Any, ...] | None
    ended: int | None

    def __getattr__(self, name: str) -> Any:
        """Called for a field that is not there yet: fill all of them in."""
        with _FILLING:
            if self.__dict__.get("seed") is None:
                if name in self.__dict__:  # another thread was faster
                    return self.__dict__[name]
                raise AttributeError(name)
            self._fill()
        return getattr(self, name)

    def _fill(self) -> None:
        assert self.seed is not None
        kit = self.kit
        (name, kind, parent, fixed, describe, facts, links, at), self.seed = self.seed, None
        SdkSpan.__init__(
            self,
            name=name,
            context=self.own,
            parent=parent,
            sampler=kit.sampler,
            resource=kit.resource,
            attributes=fixed if describe is None else {**fixed, **describe(*facts)},
            links=[Link(each) for each in links],
            kind=kind,
            limits=kit.limits,
            instrumentation_scope=kit.scope,
        )
        self.start(at)
        if self.ended is not None:
            super().end(self.ended)

    @property
    def context(self) -> SpanContext:
        return self.own

    def get_span_context(self) -> SpanContext:
        return self.own

    def is_recording(self) -> bool:
        return self.ended is None

    def end(self, end_time: int | None = None) -> None:
        """End it, and hand it to the provider's processors; a second time does nothing."""
        if self.ended is not None:
            return
        self.ended = time_ns() if end_time is None else end_time
        if self.seed is None:
            super().end(self.ended)
        self.kit.processor.on_end(self)


_FILLING = Lock()
_new: Callable[[type[LazySpan]], LazySpan] = object.__new__


class Lazily:
    """Starts lazy spans. Whoever calls it has found the trace to be sampled."""

    def __init__(self, provider: TracerProvider, tracer: SdkTracer, scope: InstrumentationScope, rule: Rule) -> None:
        self.rule = rule
        self._kit = Kit(tracer, scope)
        self._on_start = self._kit.processor.on_start
        ids = provider.id_generator
        random = type(ids) is RandomIdGenerator  # which draws again where a draw gives nothing but zeros
        self.trace_id: Callable[[], int] = partial(getrandbits, 128) if random else ids.generate_trace_id
        self._span_id: Callable[[], int] = partial(getrandbits, 64) if random else ids.generate_span_id
        self._of_root = TraceFlags(SAMPLED | (RANDOM if ids.is_trace_id_random() else 0))
        self._of_child = TraceFlags(SAMPLED), TraceFlags(SAMPLED | RANDOM)
        self._bound, self._follows = rule.bound, rule.follows

    def unsampled(self, above: SpanContext | int) -> SpanContext:
        """The context of a span that is not recorded, in a trace that has begun or is to begin."""
        if isinstance(above, SpanContext):
            return SpanContext(above.trace_id, self._span_id(), False, TraceFlags(0), above.trace_state)
        return SpanContext(above, self._span_id(), False, TraceFlags(0))

    def __call__(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        above: SpanContext | int | None,
        fixed: Attributes,
        describe: Describe | None = None,
        facts: tuple[Any, ...] = (),
        links: Sequence[SpanContext] = (),
        at: int | None = None,
    ) -> Span:
        """A span, started; one without a parent is recorded, for whoever asks for it has decided that."""
        span = _new(LazySpan)
        span.kit = self._kit
        if type(above) is SpanContext:
            flags = above.trace_flags
            if not (flags & SAMPLED if self._follows else above.trace_id & LOW_BITS < self._bound):
                return NonRecordingSpan(self.unsampled(above))
            flags = self._of_child[flags & RANDOM != 0]
            span.own = SpanContext(above.trace_id, self._span_id(), False, flags, above.trace_state)
        else:
            span.own = SpanContext(above or self.trace_id(), self._span_id(), False, self._of_root)  # type: ignore[arg-type]
            above = None
        span.seed = (name, kind, above, fixed, describe, facts, links, at or time_ns())
        span.ended = None
        self._on_start(span, parent)
        return span


class Asked:
    """Starts spans through the API, whoever is behind it; the attributes are made before it decides."""

    rule = None

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(
        self,
        name: str,
        kind: SpanKind,
        parent: Context,
        above: SpanContext | int | None,
        fixed: Attributes,
        describe: Describe | None = None,
        facts: tuple[Any, ...] = (),
        links: Sequence[SpanContext] = (),
        at: int | None = None,
    ) -> Span:
        """A span, started; it records nothing where it is not sampled."""
        attributes = fixed if describe is None else {**fixed, **describe(*facts)}
        return self._tracer.start_span(name, parent, kind, attributes, [Link(each) for each in links], at)
