"""The process spans of one stage: what each is called, what it is below, and what it is linked to."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, set_span_in_context

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
from engine.telemetry.edges import distinct, sampled
from engine.telemetry.spans import Asked, Attributes, Describe, Lazily
from engine.telemetry.trail import NOTHING, Handling, Trail
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
        self._inner = f"process {stage.name}", SpanKind.INTERNAL, fixed
        self._fetched: dict[int, tuple[str, SpanKind, Attributes]] = {}

    def _said_of(self, place: Place | None) -> tuple[str, SpanKind, Attributes]:
        """Name, kind and attributes of the spans of what comes from there; None stands for other stages."""
        if place is None:
            return self._inner
        found = self._fetched.get(id(place))
        if found is None:
            fixed = place.attributes("process", "process", **self._more)
            found = self._fetched[id(place)] = f"process {place.shown}", SpanKind.CONSUMER, fixed
        return found

    # -- one message -------------------------------------------------------------------------------------------

    def begin(self, message: Message) -> tuple[Trail, Context]:
        """Start the span of a message that has a trail; what is made of the message is below it from now on."""
        trail: Any = message.origin
        links: Sequence[SpanContext] = ()
        again = trail.stage is None and message.attempt > 1
        if trail.stage is self:
            trail = message.origin = trail.around(trail.origin)
            links = (trail.previous,)
            if type(trail.parent[1]) is SpanContext:
                trail.context, trail.above = trail.parent
        elif trail.stage is not None:
            trail = message.origin = Trail(trail.origin, trail.context, trail.above)  # type: ignore[assignment]
        place, parent, above = trail.fetched, trail.context, trail.above
        name, kind, fixed = self._said_of(place)
        describe: Describe = of_made
        facts: tuple[Any, ...] = (trail.origin, message.attempt)
        if place is not None:
            if type(above) is SpanContext and above not in links:
                links = (above, *links)
            describe = of_fetched
            facts = place, trail.origin, message.key, message.raw is None, message.attempt
        span = self._start(name, kind, parent, above, fixed, describe, facts, links)
        trail.stage, trail.parent = self, (parent, above)
        trail.above = trail.previous = span.get_span_context()
        trail.context = context = set_span_in_context(span, parent)
        trail.handling = Handling(span)
        if again:
            span.add_event(REDELIVERY, {ATTEMPT: message.attempt})
        return trail, context

    # -- batches -----------------------------------------------------------------------------------------------

    def begin_batch(self, joint: Message) -> tuple[Trail, Context] | None:
        """Start the span of a batch; None where none of its messages is sampled."""
        run: list[Message] = joint.record
        origins: list[Any] = [each.origin for each in run]
        trails = [origin for origin in origins if type(origin) is Trail]
        if not any(sampled(trail.above) for trail in trails):
            return None
        links = distinct(link for trail in trails for link in self._links(trail))
        place = next((trail.fetched for trail in trails if trail.fetched is not None), None)
        name, kind, fixed = self._said_of(place)
        span = self._start(name, kind, NOTHING, None, fixed, of_run, (len(run),), links)
        context, own = set_span_in_context(span, NOTHING), span.get_span_context()
        handling = Handling(span, len(run))
        for message in run:
            message.origin = self._member(message.origin, context, own, handling)  # type: ignore[assignment]
        joint.origin = trail = Trail(joint.origin, context, own)  # type: ignore[assignment]
        trail.stage, trail.handling = self, handling
        return trail, context

    def _links(self, trail: Trail) -> list[SpanContext]:
        found = [trail.above, trail.previous if trail.stage is self else None]
        return [each for each in found if isinstance(each, SpanContext)]

    def _member(self, origin: Any, context: Context, own: SpanContext, handling: Handling) -> Trail:
        """The trail of one message of a batch: it goes on in its own trace if it has one, else in the batch's."""
        if type(origin) is Trail and isinstance(origin.above, SpanContext):
            trail = Trail(origin.origin, origin.context, origin.above, origin.fetched)
        else:
            origin = origin.origin if type(origin) is Trail else origin
            trail = Trail(origin, context, own)
        trail.stage, trail.parent, trail.previous, trail.handling = self, (trail.context, trail.above), own, handling
        return trail
