"""Something that runs until it is told to end, beside a block: an engine inside of a web application, or of a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from logging import getLogger

from anyio import Event, create_task_group

logger = getLogger("headrace")


@asynccontextmanager
async def beside(run: Callable[[], Awaitable[None]], started: Event, end: Callable[[], None]) -> AsyncIterator[None]:
    """Have `run()` run while the block does, from `started` on; then ask it to `end`, and wait until it has.

    What it fails with before it has started is raised at once. What it fails with later is logged, and raised after the
    block: the program around it goes on, and learns it from the health. A block that fails cancels it.
    """
    failures: list[Exception] = []
    there = Event()

    async def running() -> None:
        try:
            await run()
        except Exception as error:
            failures.append(error)
            if started.is_set():
                logger.critical("%s", error)
        finally:
            there.set()

    async def starting() -> None:
        await started.wait()
        there.set()

    try:
        async with create_task_group() as tasks:
            tasks.start_soon(running)
            async with create_task_group() as waiting:
                waiting.start_soon(starting)
                await there.wait()
                waiting.cancel_scope.cancel()
            if not failures:
                yield
            end()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None  # what the block raised, as it raised it
        raise
    if failures:
        raise failures[0]
