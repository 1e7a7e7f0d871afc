"""Stepping through coroutines: `watched` tells each time that one waits, `not_ours` why one was cancelled."""

from collections.abc import Callable, Coroutine, Generator
from math import inf
from types import coroutine
from typing import Any

from anyio import current_effective_deadline, get_cancelled_exc_class


@coroutine
def watched(call: Coroutine[Any, Any, None], on_wait: Callable[[], object]) -> Generator[Any, Any, None]:
    """Await `call`, and call `on_wait` each time before it gives control to the event loop.

    What `yield from` does (PEP 380), one step at a time. `on_wait` must not wait and must not raise.
    """
    step: Callable[[Any], Any] = call.send
    value: Any = None
    while True:
        try:
            trap = step(value)
        except StopIteration:
            return
        on_wait()
        try:
            step, value = call.send, (yield trap)
        except GeneratorExit:
            call.close()
            raise
        except BaseException as error:
            step, value = call.throw, error


def not_ours(error: BaseException) -> bool:
    """Whether this is a cancellation that nobody here asked for: of some future that was awaited, say.

    It says nothing about the actor that it comes up in: for that one it is a failure like any other.
    """
    return isinstance(error, get_cancelled_exc_class()) and current_effective_deadline() > -inf
