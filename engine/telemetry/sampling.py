"""What the SDK's own samplers decide, as plain numbers: asking them costs more than handling a message.

Their descriptions are part of OpenTelemetry's specification, and say all that they decide by.
"""

import re
from dataclasses import dataclass

from opentelemetry.sdk.trace.sampling import Sampler, TraceIdRatioBased

LOW_BITS = TraceIdRatioBased.TRACE_ID_LIMIT
"""The bits of a trace id that a ratio is taken of."""
_ROOT = r"(?P<root>AlwaysOnSampler|AlwaysOffSampler|TraceIdRatioBased\{(?P<rate>[0-9.e-]+)\})"
_FOLLOWING = (
    r"remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,"
    r"localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler"
)
_PLAIN, _PARENT_BASED = re.compile(_ROOT), re.compile(rf"ParentBased\{{root:{_ROOT},{_FOLLOWING}\}}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A trace is sampled where the low bits of its id are below `bound`, or, with `follows`, where its parent is."""

    bound: int
    follows: bool

    def samples(self, trace_id: int, parent_sampled: bool | None) -> bool:
        """Whether a span of that trace is sampled; `parent_sampled` is None where it has no parent."""
        if self.follows and parent_sampled is not None:
            return parent_sampled
        return trace_id & LOW_BITS < self.bound


def rule_of(sampler: Sampler) -> Rule | None:
    """What a sampler decides; None where it decides by more than ids and parents, and has to be asked."""
    if type(sampler).__module__ != Sampler.__module__:
        return None
    description = sampler.get_description()
    found = _PARENT_BASED.fullmatch(description)
    follows = found is not None
    found = found or _PLAIN.fullmatch(description)
    if found is None:
        return None
    if found["rate"] is not None:
        return Rule(TraceIdRatioBased.get_bound_for_rate(float(found["rate"])), follows)
    return Rule(LOW_BITS + 1 if found["root"] == "AlwaysOnSampler" else 0, follows)
