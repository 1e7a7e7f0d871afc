"""`Reading`: a read that outlives the fetch which began it, so that a cancelled fetch loses nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
GRACE = 0.25
"""Seconds in which a server that has something to bring has brought it, as a rule."""


class Reading(Generic[T]):
    """At most one read at a time, in a task of its own; whoever waits for it may be cancelled or woken instead."""

    def __init__(self) -> None:
        self._task: asyncio.Future[T] | None = None
        self._news = asyncio.Event()
        self._woken = False

    async def result(self, read: Callable[[], Awaitable[T]]) -> T | None:
        """What the read under way brings, or else a new one; None where `wake` comes first, and it goes on.

        Raises what the read raises meanwhile. Cancelled, the next call gets the same read, unless that has failed:
        what was the trouble then need not be the trouble now.
        """
        self.begin(read)
        task = self._task
        assert task is not None
        while not task.done() and not self._woken:
            self._news.clear()
            await self._news.wait()
        self._woken = False
        if not task.done():
            return None
        self._task = None
        return task.result()

    def begin(self, read: Callable[[], Awaitable[T]]) -> None:
        """Begin a read that nobody waits for yet, unless one is under way or has brought something."""
        if (task := self._task) is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            self._task = asyncio.ensure_future(read())
            self._task.add_done_callback(lambda _: self._news.set())

    def wake(self) -> None:
        """Let whoever waits have a look at something else."""
        self._woken = True
        self._news.set()

    async def stop(self, patience: float = 0.0) -> T | None:
        """Give up the read under way unless it ends within so many seconds; what it has brought, if it has."""
        if self._task is None:
            return None
        if patience and not self._task.done():
            await asyncio.wait((self._task,), timeout=patience)
        task, self._task = self._task, None
        if not task.done():  # else nothing is awaited any more: cancelled there, what it has brought would be lost
            task.cancel()
            await asyncio.wait((task,))
        return None if task.cancelled() or task.exception() is not None else task.result()
