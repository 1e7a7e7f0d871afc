"""What the SDK's own samplers decide, as plain numbers: asking them costs more than handling a message.

Their descriptions are part of OpenTelemetry's specification, and say all that they decide by.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log1p
from random import getrandbits, random, randrange
from sys import maxsize

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


class Roots:
    """Which of the messages that no trace has reached yet begin one.

    Of ids that are random, each is sampled with the same chance: so how many are passed over is drawn for all of them
    at once, from the geometric distribution. Ids from `new_id` are looked at one by one.
    """

    def __init__(self, rule: Rule, new_id: Callable[[], int] | None = None) -> None:
        self._bound = rule.bound
        chance = rule.bound / (LOW_BITS + 1)
        self._new_id = partial(getrandbits, 128) if new_id is None and chance >= 1 else new_id
        self._every = self._new_id is not None
        self._scale = 1 / log1p(-chance) if 0 < chance < 1 else None
        self.left = self.passed_over()
        """Messages that are passed over before one is looked at."""

    def passed_over(self) -> int:
        """How many do not begin a trace before the next one that does, or is to be looked at."""
        if self._every:
            return 0
        return maxsize if self._scale is None else int(log1p(-random()) * self._scale)

    def trace_id(self) -> int | None:
        """The id of a trace that the next message begins; None where it does not."""
        if self._new_id is None:
            return getrandbits(64) << 64 | randrange(self._bound)
        trace_id = self._new_id()
        return trace_id if trace_id & LOW_BITS < self._bound else None


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
