"""Contexts, made, read and entered with less ado than by the API's own functions: each is needed for every span."""

from collections.abc import Callable
from contextvars import ContextVar, Token
from operator import itemgetter
from typing import Any

from opentelemetry import context as api
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, TraceFlags, TraceState, set_span_in_context

SAMPLED = int(TraceFlags.SAMPLED)
NO_STATE = SpanContext(1, 1, False).trace_state
"""The state of nearly every trace."""
Parts = tuple[int, int, TraceFlags, TraceState]

(_SPAN,) = set_span_in_context(INVALID_SPAN, Context())
_LIKE = 1, 2, False, TraceFlags(SAMPLED), TraceState([("a", "b")]), True


def _parts_of(context: SpanContext) -> Parts:
    return context.trace_id, context.span_id, context.trace_flags, context.trace_state


parts: Callable[[SpanContext], Parts] = _parts_of
"""Trace id, span id, flags and state of a context."""
if tuple(SpanContext(*_LIKE[:5])) == _LIKE:  # it is a tuple, laid out so
    parts = itemgetter(0, 1, 3, 4)


def with_span(span: Span, parent: Context) -> Context:
    """What `set_span_in_context` gives."""
    if not parent or (len(parent) == 1 and _SPAN in parent):
        return Context({_SPAN: span})
    return set_span_in_context(span, parent)


def _entering() -> tuple[Callable[[Context], Token[Context]], Callable[[Token[Context]], Any]]:
    runtime = api._RUNTIME_CONTEXT
    variable = getattr(runtime, "_current_context", None)
    if type(runtime) is ContextVarsRuntimeContext and isinstance(variable, ContextVar):
        return variable.set, variable.reset
    return api.attach, api.detach


enter, leave = _entering()
"""What `attach` and `detach` do; `leave` raises where it is called in another task than `enter`."""
