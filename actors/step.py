"""Stepping through coroutines: `watched` tells each time that one waits, `not_ours` whether its end was asked for."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from math import inf
from types import coroutine
from typing import Any

from anyio import current_effective_deadline


@coroutine
def watched(
    call: Coroutine[Any, Any, None], on_wait: Callable[[], object], on_close: Callable[[], object] = lambda: None
) -> Generator[Any, Any, None]:
    """Await `call`, and call `on_wait` each time before it gives control to the event loop.

    What `yield from` does (PEP 380), one step at a time; `on_close` is called before `call` is closed, with which
    a `GeneratorExit` comes up in it that nobody raised. Neither may wait or raise.
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
            on_close()
            call.close()
            raise
        except BaseException as error:
            step, value = call.throw, error


def not_ours(error: BaseException) -> bool:
    """Whether an error that is no `Exception` is one that nobody who runs this task asked for.

    The cancellation of some future that was awaited, say, or a panic of an extension module. It says nothing about the
    actor that it comes up in: for that one it is a failure like any other.
    """
    if isinstance(error, GeneratorExit) or _holds(error, KeyboardInterrupt):
        return False
    return not _being_cancelled()


def _being_cancelled() -> bool:
    if current_effective_deadline() == -inf:
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # another event loop, where nothing but a scope cancels
        return False
    return task is not None and task.cancelling() > 0


def _holds(error: BaseException, kind: type[BaseException]) -> bool:
    return isinstance(error, kind) or (isinstance(error, BaseExceptionGroup) and error.subgroup(kind) is not None)
