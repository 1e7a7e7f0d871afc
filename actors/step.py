"""`watched`: run a coroutine and be told each time that it waits, at no cost while it does not."""

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any


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
