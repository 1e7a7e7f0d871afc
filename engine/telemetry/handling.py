"""The handling of messages, traced: a process span around every call of a handler, ended when it is known what follows.

What becomes of a message that failed is decided after its handler, by its stage's retries: hence `TracedRetries`.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, StatusCode

from actors import (
    BatchError,
    Bound,
    Clock,
    Crash,
    Drop,
    Emit,
    Invoke,
    Ledger,
    Message,
    Retries,
    alone,
    not_ours,
    redact,
    text,
    traced,
)
from engine.telemetry.attributes import ATTEMPT, ERROR_TYPE
from engine.telemetry.contexts import enter, leave
from engine.telemetry.processing import Process
from engine.telemetry.trail import GROUND, Handling, Trail

PassOn = Callable[[Message, Any], None]

# Events of a process span.
RETRY = "headrace.retry"
DEAD_LETTER = "headrace.dead_letter"
DROP = "headrace.drop"
CRASH = "headrace.crash"
PUT_BACK = "headrace.put_back"
REASON = "headrace.reason"


class TracedStage:
    """Makes traced what one stage consists of.

    `late` says that passing on what was returned may fail; then a span is ended only after that.
    """

    def __init__(self, process: Process, late: bool) -> None:
        self._process = process
        self._late = late

    def bind(
        self, bind: Callable[[Emit], Bound], clock: Clock, timeout: float | None, batch: bool, emit: Emit
    ) -> Bound:
        """A handler made ready for one worker, with a span around each of its calls. Call it in the worker's task."""
        bound = bind(emit).within(timeout, clock)
        unsampled = invoke = bound.invoke
        if bound.actor is None:
            attach(GROUND)  # once for all that is not sampled; each that is has a context of its own
        else:  # whose `on_start` and `on_stop` are none of a message's business
            unsampled = _on_the_ground(invoke)
        traced = self._of_batches(invoke, unsampled) if batch else self._of_messages(invoke, unsampled)
        return bound._replace(invoke=traced)

    def _of_messages(self, invoke: Invoke, unsampled: Invoke) -> Invoke:
        within = self._within_one

        def traced(message: Message) -> Coroutine[Any, Any, Any]:
            origin = message.origin
            return within(invoke, message) if type(origin) is Trail else unsampled(message)

        return traced

    def _of_batches(self, invoke: Invoke, unsampled: Invoke) -> Invoke:
        def traced(joint: Message) -> Coroutine[Any, Any, Any]:
            begun = self._process.begin_batch(joint)
            return unsampled(joint) if begun is None else self._within(invoke, joint, *begun)

        return traced

    async def _within_one(self, invoke: Invoke, message: Message) -> Any:
        """What `_within` does for a message alone."""
        trail, context, span = self._process.begin(message)
        token = enter(context)
        try:
            result = await invoke(message)
        except BaseException as error:
            detach(token)
            _raised(trail, span, error)
            raise
        leave(token)
        if self._late:
            trail.handling = Handling(span)
            trail.handling.returned = True
        else:
            span.end()
        return result

    async def _within(self, invoke: Invoke, message: Message, trail: Trail, context: Context, span: Span) -> Any:
        """Call the handler in the context of its span. Where it raises, what becomes of the message ends the span."""
        token = enter(context)
        try:
            result = await invoke(message)
        except BaseException as error:
            detach(token)
            _raised(trail, span, error)
            raise
        leave(token)
        if self._late:
            trail.handling = trail.handling or Handling(span)
            trail.handling.returned = True
        else:
            trail.handling = None
            span.end()
        return result

    def passing_on(self, pass_on: PassOn) -> PassOn:
        """How results are passed on; where that may fail, the span of what succeeded is ended after it."""
        if not self._late:
            return pass_on

        def passed_on(message: Message, result: Any) -> None:
            pass_on(message, result)
            trail = message.origin
            if type(trail) is Trail and (handling := trail.handling) is not None and handling.returned:
                trail.handling = None
                handling.span.end()

        return passed_on

    def retries(self, *arguments: Any) -> "TracedRetries":
        """The retries of the stage."""
        return TracedRetries(*arguments)

    def ledger(self, *arguments: Any) -> "TracedLedger":
        """A ledger for one source of the stage."""
        ledger = TracedLedger(*arguments)
        ledger.process = self._process
        return ledger


def _raised(trail: Trail, span: Span, error: BaseException) -> None:
    """Have a span wait for what becomes of its messages, where anything is known to."""
    handling = trail.handling = trail.handling or Handling(span)
    if isinstance(error, BatchError):
        if all(0 <= index < handling.left for index in error.errors):
            handling.left = len(error.errors)
        if handling.left == 0:
            span.end()
    elif not isinstance(error, Exception | SystemExit) and not not_ours(error):
        span.add_event(PUT_BACK)
        span.end()
        trail.handling = None


def _on_the_ground(invoke: Invoke) -> Invoke:
    async def grounded(message: Message) -> Any:
        token = attach(GROUND)
        try:
            return await invoke(message)
        finally:
            detach(token)

    return grounded


class TracedRetries(Retries):
    """Retries that tell the span of a failed message what becomes of it."""

    def failed(self, message: Message, error: BaseException) -> bool:
        """What `Retries` does, noted as an event."""
        trail = message.origin
        waits = super().failed(message, error)
        if type(trail) is Trail and (handling := trail.handling) is not None:
            trail.handling = None
            error = alone(error)
            note(handling, error, waits, message.attempt)
            handling.left -= 1
            if handling.left <= 0:
                handling.span.end()
        return waits


class TracedLedger(Ledger):
    """A ledger that makes a span of a message that cannot even be decoded."""

    process: Process

    def reject(self, message: Message, error: BaseException, stage: str) -> None:
        """What `Ledger` does, below the span that tells why."""
        origin = message.origin
        if type(origin) is Trail:
            handling = Handling(self.process.begin(message)[2])
            note(handling, error, False, message.attempt)
            handling.span.end()
        super().reject(message, error, stage)


def note(handling: Handling, error: BaseException, waits: bool, attempt: int) -> None:
    """Tell a process span why a message of it failed, and what becomes of the message."""
    span = handling.span
    if isinstance(error, Drop):
        span.add_event(DROP, {REASON: redact(text(error))})
        return
    if handling.noted is not error:
        handling.noted = error
        span.set_attribute(ERROR_TYPE, type(error).__qualname__)
        said = redact(text(error))
        span.set_status(StatusCode.ERROR, said or None)
        # As `record_exception` does, which would tell the passwords in URLs, and fail where an error has no words.
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        told = {"exception.type": name, "exception.message": said, "exception.stacktrace": traced(error)}
        span.add_event("exception", told)
    if isinstance(error, Crash | SystemExit):
        span.add_event(CRASH)
    if waits:
        span.add_event(RETRY, {ATTEMPT: attempt})
    else:
        span.add_event(DEAD_LETTER, {REASON: redact(text(error))})
