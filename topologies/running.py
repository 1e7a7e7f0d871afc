"""How each form of a handler is run: awaited, in a worker thread, or item by item."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, closing
from types import CoroutineType
from typing import Any

from anyio import CapacityLimiter, from_thread
from anyio.to_thread import run_sync

from actors import Emit
from topologies.signature import Form

Call = Callable[[Any], Any]
"""The handler as a function of the message; where there are dependencies, of the frame, which the message heads."""
Run = Callable[[Any], Coroutine[Any, Any, Any]]


def running(form: Form, call: Call, emit: Emit, limiter: CapacityLimiter, *, inline: bool, framed: bool) -> Run:
    """A function that handles what it is given and returns the result; a generator's items go to `emit`."""
    if form is Form.COROUTINE:
        return call
    if framed:
        take = emit

        def emit_of(frame: Any, item: Any, at_once: bool = False, /) -> Awaitable[None]:
            return take(frame[0], item, at_once)

        emit = emit_of
    if form is Form.ASYNC_GENERATOR:
        return _async_generator(call, emit)
    if form is Form.GENERATOR:
        return _inline_generator(call, emit) if inline else _generator(call, emit, limiter)
    return _inline(call) if inline else threaded(call, limiter)


def threaded(call: Call, limiter: CapacityLimiter) -> Run:
    """Call it in a worker thread. That cannot be interrupted: cancelling waits until it returns."""

    def boxed(given: Any) -> tuple[Any]:
        try:
            return (call(given),)
        except _ENDS as error:
            raise _failed(error) from error

    async def run(given: Any) -> Any:
        # A `def` that wraps an `async def` gives a coroutine; in a box, because trio lets none out of a thread.
        (result,) = await run_sync(boxed, given, limiter=limiter)
        return await result if type(result) is CoroutineType else result

    return run


def _inline(call: Call) -> Run:
    async def run(given: Any) -> Any:
        result = call(given)
        return await result if type(result) is CoroutineType else result

    return run


def _async_generator(call: Call, emit: Emit) -> Run:
    async def run(given: Any) -> None:
        async with aclosing(call(given)) as items:
            async for item in items:
                await emit(given, item)

    return run


def _inline_generator(call: Call, emit: Emit) -> Run:
    async def run(given: Any) -> None:
        with closing(call(given)) as items:
            for item in items:
                await emit(given, item)

    return run


def _generator(call: Call, emit: Emit, limiter: CapacityLimiter) -> Run:
    async def hand_over(given: Any, item: Any) -> None:
        await emit(given, item, True)

    def exhaust(given: Any) -> None:
        with closing(call(given)) as items:
            for item in items:
                # Handing over waits for nothing while there is room, and would not notice that it is over.
                from_thread.check_cancelled()
                from_thread.run(hand_over, given, item)

    def contained(given: Any) -> None:
        try:
            exhaust(given)
        except GeneratorExit as error:
            raise _failed(error) from error

    async def run(given: Any) -> None:
        await run_sync(contained, given, limiter=limiter)

    return run


_ENDS = (StopIteration, GeneratorExit)
"""What ends coroutines: out of a thread it would end those that wait for it, up to the stage."""


def _failed(error: BaseException) -> RuntimeError:
    return RuntimeError(f"{type(error).__name__}: {error}")
