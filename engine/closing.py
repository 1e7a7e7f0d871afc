"""How an engine lets go of what it has: lifespans, sources and sinks, each bounded in time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from logging import getLogger
from typing import Any

from anyio import CancelScope, current_time, move_on_after

from actors import Ledger, TopologyError
from topologies import Lifespan

logger = getLogger("headrace")
CLOSING = 5.0
"""Seconds that each source and sink may take to be told what is given back, and to close."""
FAREWELL = 5.0
"""Seconds that each lifespan may take to end."""


@asynccontextmanager
async def entered(lifespan: Lifespan, context: dict[str, Any]) -> AsyncIterator[None]:
    """A lifespan, which may take `FAREWELL` to end: what has gone wrong meanwhile is raised all the same."""
    fault: BaseException | None = None
    with CancelScope() as patience:
        async with _one_yield(lifespan, context):
            try:
                yield
            except BaseException as error:
                fault = error
                raise
            finally:
                patience.deadline = current_time() + FAREWELL
    if patience.cancelled_caught:
        logger.error("the lifespan %s took longer than %g s to end", _name(lifespan), FAREWELL)
        if fault is not None:
            raise fault


@asynccontextmanager
async def _one_yield(lifespan: Lifespan, context: dict[str, Any]) -> AsyncIterator[None]:
    """A lifespan as a context manager, named where it ends before its yield or goes on to another one."""
    run: Callable[[dict[str, Any]], Any] = asynccontextmanager(lifespan)
    try:
        async with run(context):
            yield
    except RuntimeError as error:
        if not str(error).startswith(("generator didn't yield", "generator didn't stop")):
            raise
        raise TopologyError(
            f"lifespan {_name(lifespan)}: {error}",
            remedy="let it come to one `yield`, and to no other: what sets up before it, what tears down behind it",
        ) from error


def _name(lifespan: Lifespan) -> str:
    return getattr(lifespan, "__qualname__", repr(lifespan))


async def given_back(ledger: Ledger) -> None:
    """Tell a source what is done and what is to come again, and close it."""
    with move_on_after(CLOSING) as patience:
        await ledger.give_back()
    if patience.cancelled_caught:
        logger.warning("%s could not be told within %g s what to deliver again", ledger.name, CLOSING)
    await closed(ledger.source.close, ledger.name)


async def closed(close: Callable[[], Awaitable[None]], name: str) -> None:
    """Close something, in time and whatever goes wrong with it."""
    with move_on_after(CLOSING) as patience:
        try:
            await close()
        except Exception as error:
            logger.warning("closing %s: %r", name, error)
    if patience.cancelled_caught:
        logger.warning("closing %s took longer than %g s", name, CLOSING)
