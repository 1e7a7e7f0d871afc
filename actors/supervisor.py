"""`Supervisor`: starts its children in order, restarts what crashes, and gives up, failing upward, when it must.

What it decides is in `restarts.py`; this is the acting.
"""

from collections.abc import Callable, Sequence
from logging import Logger, LoggerAdapter
from random import random
from typing import Any

from anyio import CancelScope, Event, create_task_group, get_cancelled_exc_class
from anyio.abc import TaskGroup

from actors.actor import State
from actors.child import RESTING, Child, Started
from actors.clock import Clock
from actors.errors import IntensityExceeded, SupervisionError
from actors.restarts import Restarts, Supervision, affected


class Supervisor:
    """Keeps its children running, as in OTP.

    `run` returns when all children are done or stopped. A child that ends by itself is done and is not started again.
    Raises `IntensityExceeded` when it gave up; then its children are stopped. Children that do not need one another
    are stopped `side_by_side`, others one after the other.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[Child],
        policy: Supervision,
        clock: Clock,
        logger: "Logger | LoggerAdapter[Any]",
        side_by_side: bool = False,
    ) -> None:
        self.name = name
        self.side_by_side = side_by_side
        self.children = list(children)
        self.policy = policy
        self.clock = clock
        self.logger = logger
        self.restarts = 0
        self.on_crash: Callable[[BaseException], object] = lambda error: None
        """Told of each crash of a child, whatever becomes of it."""
        self._restarts = Restarts(policy)
        self._exits: list[tuple[Child, BaseException]] = []
        self._news = Event()
        self._tasks: TaskGroup | None = None
        self._gave_up: SupervisionError | None = None
        self._stopping = False
        self._cut = False
        self._leaving: set[Child] = set()

    async def run(self, started: Started = lambda: None) -> None:
        """Start the children, each when the one before it is ready or has crashed, and keep them running."""
        self._gave_up = None
        self._exits.clear()
        self._restarts = Restarts(self.policy)
        try:
            async with create_task_group() as self._tasks:
                try:
                    await self._start_all(started)
                    await self._watch()
                except SupervisionError as error:
                    self._gave_up = error
                    with CancelScope(shield=True):
                        await self.stop()
                except BaseException:
                    with CancelScope(shield=True):
                        await self.stop()
                    raise
                self._stopping = True  # whoever is added now comes too late
                self._tasks.cancel_scope.cancel()  # restarts that still wait out their backoff
        finally:
            self._tasks, self._stopping, self._cut = None, False, False
        if self._gave_up is not None:
            raise self._gave_up

    async def stop(self) -> None:
        """Stop all children in reverse order, each within its own time; a `run` that is about to begin ends at once.

        Cancelled, for there is no more time, it cuts them.
        """
        self._stopping = True
        try:
            async with create_task_group() as stopping:
                for child in reversed(list(self.children)):
                    if self.side_by_side:
                        stopping.start_soon(child.end, self.logger)
                    elif not self._cut:
                        await child.end(self.logger)
        except get_cancelled_exc_class():
            self.cut()
            raise
        self._news.set()

    def cut(self) -> None:
        """Cancel all children and theirs, at once; waits for none of them."""
        self._stopping = self._cut = True
        for child in reversed(self.children):
            child.cancel()
        self._news.set()

    async def add(self, child: Child) -> None:
        """One more child, started last."""
        self.children.append(child)
        if self._stopping:
            child.life.move(State.STOPPED)
        elif self._tasks is not None:
            await self._start(child)

    def prune(self, leaving: set[Child]) -> None:
        """Forget those of the children that have ended; the others once they have, at the next call."""
        self._leaving |= leaving
        gone = {child for child in self._leaving if child.life.state is State.DONE}
        self._leaving -= gone
        self.children = [child for child in self.children if child not in gone]

    async def _start_all(self, started: Started) -> None:
        for child in list(self.children):
            if self._stopping:
                return
            if child.life.state is not State.DONE:
                await self._start(child)
        if not self._stopping:
            started()

    async def _watch(self) -> None:
        while not all(child.life.state in RESTING for child in self.children):
            if not self._exits:
                await self._news.wait()
            self._news = Event()
            exits, self._exits = self._exits, []
            for child, error in exits:
                await self._crashed(child, error)

    async def _crashed(self, child: Child, error: BaseException) -> None:
        if child.life.state is not State.CRASHED or self._stopping:
            return
        delay = self._restarts.crashed(self.clock.now(), random())
        if delay is None:
            self.logger.error("%s gives up: %s crashed once too often: %r", self.name, child.name, error)
            raise IntensityExceeded(self.name, child.name, self.policy.intensity, self.policy.period) from error
        self.logger.warning("%s crashed, restarted in %.2f s: %r", child.name, delay, error, exc_info=error)
        self.restarts += 1
        group = affected(self.policy.strategy, self.children, child)
        group = [each for each in group if each is child or each.life.state is not State.DONE]
        for other in reversed(group):
            if other is not child:
                await other.end(self.logger)
        if self._stopping:
            return
        group = [each for each in group if each.life.state is not State.DONE]  # while it was being stopped
        for each in group:
            if each.life.state is State.STOPPING:
                raise SupervisionError(f"{self.name}: gave up: {each.name} does not stop, and cannot be started again")
            each.life.move(State.RESTARTING)
            each.group = group
        assert self._tasks is not None
        self._tasks.start_soon(self._restart, group, delay)

    async def _restart(self, group: list[Child], delay: float) -> None:
        await self.clock.sleep(delay)
        for child in group:
            # Another crash may have drawn it into another group, which starts it in that one's order and time.
            if child.life.state is State.RESTARTING and child.group is group:
                await self._start(child)

    async def _start(self, child: Child) -> None:
        assert self._tasks is not None
        child.begin()
        ready = Event()
        self._tasks.start_soon(self._live, child, ready, name=child.name)
        await ready.wait()

    async def _live(self, child: Child, ready: Event) -> None:
        try:
            await child.live(ready, self._note)
        finally:
            self._news.set()

    def _note(self, child: Child, error: BaseException) -> None:
        self._exits.append((child, error))
        self.on_crash(error)

    def __repr__(self) -> str:
        lives = ", ".join(f"{child.name} {child.life.state}" for child in self.children)
        return f"<Supervisor {self.name} ({self.policy.strategy}): {lives}>"
