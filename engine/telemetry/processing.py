"""The process spans of one stage: what each is called, what it is below, and what it is linked to."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind

from actors import Message
from engine.telemetry.attributes import (
    ATTEMPT,
    OPERATION,
    OPERATION_TYPE,
    STAGE,
    TOPOLOGY,
    Place,
    of_fetched,
    of_made,
    of_run,
)
from engine.telemetry.contexts import with_span
from engine.telemetry.spans import Above, Attributes, Describe, LazySpan, Shape, is_span, sampled
from engine.telemetry.starting import Asked, Lazily
from engine.telemetry.trail import NOTHING, Handling, Trail, trail_of
from topologies import Stage

REDELIVERY = "headrace.redelivery"
"""The event of a message that its broker has delivered before."""


class Process:
    """Makes the process spans of one stage.

    A message that a broker delivered is processed below its sender's span, with a link to it; one that a stage made,
    below that stage's span. A batch is a trace of its own, linked to each message; it is recorded where one of them is.
    A try after the first is a span of its own with the same parent, linked to the one before; where there is no
    parent, it is below the one before.
    """

    def __init__(self, topology: str, stage: Stage, start: Lazily | Asked) -> None:
        self._start = start
        self._more = {TOPOLOGY: topology, STAGE: stage.name}
        fixed: Attributes = {OPERATION: "process", OPERATION_TYPE: "process", **self._more}
        self._inner = _shapes(f"process {stage.name}", SpanKind.INTERNAL, fixed, of_made)
        self._fetched: dict[int, tuple[Shape, Shape]] = {}

    def _shapes_of(self, place: Place | None) -> tuple[Shape, Shape]:
        """The spans of one message that comes from there, and those of a batch; None stands for other stages."""
        if place is None:
            return self._inner
        found = self._fetched.get(id(place))
        if found is None:
            fixed = place.attributes("process", "process", **self._more)
            found = _shapes(f"process {place.shown}", SpanKind.CONSUMER, fixed, of_fetched)
            self._fetched[id(place)] = found
        return found

    # -- one message -------------------------------------------------------------------------------------------

    def begin(self, message: Message) -> tuple[Trail, Context, Span]:
        """Start the span of a message that has a trail; what is made of the message is below it from now on."""
        trail: Any = message.origin
        again = message.attempt > 1 and trail.stage is None
        links: Sequence[Above] = ()
        if trail.stage is not None:
            trail, links = self._anew(message, trail)
        place, parent, above = trail.fetched, trail.context, trail.above
        facts: tuple[Any, ...] = (trail.origin, message.attempt)
        if place is not None:
            if type(above) is not int:
                links = (above, *links)
            facts = place, trail.origin, message.key, message.raw is None, message.attempt
        span = self._start(self._shapes_of(place)[0], parent, above, facts, links)
        trail.stage, trail.parent, trail.below = self, parent, above
        trail.above = trail.previous = span if type(span) is LazySpan else span.get_span_context()
        trail.context = context = with_span(span, parent)
        if again:
            span.add_event(REDELIVERY, {ATTEMPT: message.attempt})
        return trail, context, span

    def _anew(self, message: Message, trail: Trail) -> tuple[Trail, tuple[Above, ...]]:
        """The trail of a message that a stage has handled, this one or another, and what to link to of that."""
        if trail.stage is not self:
            made = message.origin = trail_of(trail.origin, trail.context, trail.above)
            return made, ()
        again = message.origin = trail.around(trail.origin)
        if is_span(again.below):
            again.context, again.above = again.parent, again.below
        return again, (trail.previous,)

    # -- batches -----------------------------------------------------------------------------------------------

    def begin_batch(self, joint: Message) -> tuple[Trail, Context, Span] | None:
        """Start the span of a batch; None where none of its messages is sampled."""
        run: list[Message] = joint.record
        origins: list[Any] = [each.origin for each in run]
        trails = [origin for origin in origins if type(origin) is Trail]
        if not any(sampled(trail.above) for trail in trails):
            return None
        links = [link for trail in trails for link in self._links(trail)]
        place = next((trail.fetched for trail in trails if trail.fetched is not None), None)
        span = self._start(self._shapes_of(place)[1], NOTHING, None, (len(run),), links)
        context, own = with_span(span, NOTHING), span.get_span_context()
        handling = Handling(span, len(run))
        for message in run:
            message.origin = self._member(message.origin, context, own, handling)
        joint.origin = trail = trail_of(joint.origin, context, own)
        trail.stage, trail.handling = self, handling
        return trail, context, span

    def _links(self, trail: Trail) -> tuple[Above, Above]:
        return trail.above, trail.previous if trail.stage is self else None

    def _member(self, origin: Any, context: Context, own: SpanContext, handling: Handling) -> Trail:
        """The trail of one message of a batch: it goes on in its own trace if it has one, else in the batch's."""
        if type(origin) is Trail and is_span(origin.above):
            trail = trail_of(origin.origin, origin.context, origin.above, origin.fetched)
        else:
            origin = origin.origin if type(origin) is Trail else origin
            trail = trail_of(origin, context, own)
        trail.stage, trail.parent, trail.below = self, trail.context, trail.above
        trail.previous, trail.handling = own, handling
        return trail


def _shapes(name: str, kind: SpanKind, fixed: Attributes, of_one: Describe) -> tuple[Shape, Shape]:
    return Shape(name, kind, fixed, of_one), Shape(name, kind, fixed, of_run)
