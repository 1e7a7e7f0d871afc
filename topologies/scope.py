"""Running the dependencies of a message: each once, in order; cleaned up in reverse when it is handled."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from anyio import CancelScope, CapacityLimiter
from anyio.to_thread import run_sync

from actors import Message
from topologies.inject import AnyLogger
from topologies.running import threaded
from topologies.signature import Form
from topologies.wants import Step, arrange

Frame = list[Any]
"""Of one message: the message itself, then what each dependency provided, by its slot."""
Provide = Callable[[Frame, AsyncExitStack], Awaitable[Any]]


def scoped(
    run: Callable[[Frame], Awaitable[Any]],
    steps: Sequence[Step],
    context: Mapping[str, Any],
    logger: AnyLogger,
    limiter: CapacityLimiter,
) -> Callable[[Message], Any]:
    """`run` as a function of the message: what it depends on is provided before it and cleaned up after it."""
    provides = [
        (step.slot, _provide(step.form, arrange(step.function, step.wants, context, logger, True), limiter))
        for step in steps
    ]
    empty = [None] * len(steps)

    async def invoke(message: Message) -> Any:
        frame: Frame = [message, *empty]
        fault: BaseException
        async with AsyncExitStack() as stack:
            try:
                for slot, provide in provides:
                    frame[slot] = await provide(frame, stack)
                return await run(frame)
            except BaseException as error:
                fault = error
                raise
        # Reached only where a cleanup swallowed the error: the message has failed all the same.
        raise fault

    return invoke


def _provide(form: Form, call: Callable[[Frame], Any], limiter: CapacityLimiter) -> Provide:
    call_in_thread = threaded(call, limiter)

    async def coroutine(frame: Frame, stack: AsyncExitStack) -> Any:
        return await call(frame)

    async def function(frame: Frame, stack: AsyncExitStack) -> Any:
        return await call_in_thread(frame)

    async def instance(frame: Frame, stack: AsyncExitStack) -> Any:
        return call(frame)

    async def async_generator(frame: Frame, stack: AsyncExitStack) -> Any:
        return await stack.enter_async_context(asynccontextmanager(call)(frame))

    async def generator(frame: Frame, stack: AsyncExitStack) -> Any:
        return await stack.enter_async_context(_in_thread(contextmanager(call)(frame), limiter))

    return {
        Form.COROUTINE: coroutine,
        Form.FUNCTION: function,
        Form.CLASS: instance,
        Form.ASYNC_GENERATOR: async_generator,
        Form.GENERATOR: generator,
    }[form]


@asynccontextmanager
async def _in_thread(manager: AbstractContextManager[Any], limiter: CapacityLimiter) -> AsyncIterator[Any]:
    """A context manager that may block, entered and left in worker threads; left even when cancelled."""
    value = await run_sync(manager.__enter__, limiter=limiter)
    try:
        yield value
    except BaseException as error:
        with CancelScope(shield=True):
            if not await run_sync(manager.__exit__, type(error), error, error.__traceback__, limiter=limiter):
                raise
    else:
        with CancelScope(shield=True):
            await run_sync(manager.__exit__, None, None, None, limiter=limiter)
