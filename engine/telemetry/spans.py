"""`LazySpan`: a span of the SDK that fills itself in when somebody first looks into it; and what spans have in common.

Who looks is the exporter in its thread, or a handler that adds something. How they are started is in `starting.py`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import time_ns
from typing import Any, TypeGuard, Union

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)

from engine.telemetry.contexts import SAMPLED, parts

Value = str | bool | int | float
Attributes = Mapping[str, Value]
Describe = Callable[..., dict[str, Value]]
Above = Union["LazySpan", SpanContext, int, None]
"""What a span is below: another, or the trace of that id, which it begins; None where that is not known yet."""


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
_complete()
