"""`Supervisor`: starts its children in order, restarts what crashes, and gives up, failing upward, when it must.

What it decides is in `restarts.py`; this is the acting.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from random import random
from typing import Any

from anyio import CancelScope, Event, create_task_group, get_cancelled_exc_class, move_on_after
from anyio.abc import TaskGroup

from actors.actor import Life, State
from actors.clock import Clock
from actors.errors import IntensityExceeded, SupervisionError
from actors.restarts import Restarts, Supervision, affected
from actors.step import not_ours

Started = Callable[[], object]
RESTING = frozenset({State.DONE, State.STOPPED})


@dataclass(slots=True, eq=False)
class Child:
    """One child of a supervisor: `run(started)` is its whole life; it calls `started` once it is ready.

    Returning means that its work is done; raising is a crash. `stop_within` seconds after it was asked to stop,
    by `stop` where there is one and by cancelling where not, it is cancelled. A child that has children of its own
    has a `cut`, too: it cancels all of them, at once and without waiting.
    """

    name: str
    run: Callable[[Started], Awaitable[None]]
    stop: Callable[[], Awaitable[None]] | None = None
    stop_within: float = 5.0
    cut: Callable[[], object] | None = None
    life: Life = field(init=False)
    scope: CancelScope | None = field(default=None, init=False)
    ended: Event = field(default_factory=Event, init=False)
    group: "list[Child] | None" = field(default=None, init=False)
    """Those it is restarted with, the latest time that it was."""

    def __post_init__(self) -> None:
        self.life = Life(self.name)


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
                        stopping.start_soon(self._stop, child)
                    elif not self._cut:
                        await self._stop(child)
        except get_cancelled_exc_class():
            self.cut()
            raise
        self._news.set()

    def cut(self) -> None:
        """Cancel all children and theirs, at once; waits for none of them."""
        self._stopping = self._cut = True
        for child in reversed(self.children):
            self._ask_no_more(child)
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
                await self._stop(other)
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
        child.life.move(State.STARTING)
        child.ended = Event()
        # Shielded: who cancels the supervisor lets it stop its children in their order, it does not cancel them all.
        child.scope = CancelScope(shield=True)
        ready = Event()
        self._tasks.start_soon(self._live, child, ready, name=child.name)
        await ready.wait()

    async def _live(self, child: Child, ready: Event) -> None:
        def started() -> None:
            if child.life.state is State.STARTING:
                child.life.move(State.RUNNING)
            ready.set()

        assert child.scope is not None
        try:
            with child.scope:
                await child.run(started)
            child.life.move(State.STOPPED if child.life.state is State.STOPPING else State.DONE)
        except (Exception, SystemExit) as error:
            self._crash(child, error)
        except BaseException as error:
            if child.life.state is not State.STOPPING and not_ours(error):
                self._crash(child, error)
                return
            if child.life.state is not State.STOPPING:
                child.life.move(State.STOPPING)
            child.life.move(State.STOPPED)
            raise
        finally:
            ready.set()
            child.ended.set()
            self._news.set()

    def _crash(self, child: Child, error: BaseException) -> None:
        stopping = child.life.state is State.STOPPING
        child.life.move(State.CRASHED)
        if stopping:
            child.life.move(State.STOPPED)
        else:
            self._exits.append((child, error))
            self.on_crash(error)

    async def _stop(self, child: Child) -> None:
        asked = child.life.state is State.STOPPING
        if not _stopping(child):
            return
        if not asked:
            await self._ask(child)
        self._ask_no_more(child)
        with move_on_after(child.stop_within) as patience:
            await child.ended.wait()
        if patience.cancelled_caught:
            self.logger.error("%s did not stop within %g s", child.name, child.stop_within)

    async def _ask(self, child: Child) -> None:
        if child.stop is None:
            return
        with move_on_after(child.stop_within):
            async with create_task_group() as asking:
                asking.start_soon(self._asked, child, child.stop, asking.cancel_scope)
                await child.ended.wait()
                asking.cancel_scope.cancel()

    async def _asked(self, child: Child, stop: Callable[[], Awaitable[None]], asking: CancelScope) -> None:
        try:
            await stop()
        except Exception:
            self.logger.exception("%s could not be asked to stop", child.name)
            asking.cancel()

    def _ask_no_more(self, child: Child) -> None:
        """Cancel it, and first whatever it has below: cancelled alone, it would stop that in order and in its time."""
        if not _stopping(child):
            return
        if child.cut is not None:
            child.cut()
        assert child.scope is not None
        child.scope.cancel()

    def __repr__(self) -> str:
        lives = ", ".join(f"{child.name} {child.life.state}" for child in self.children)
        return f"<Supervisor {self.name} ({self.policy.strategy}): {lives}>"


def _stopping(child: Child) -> bool:
    """Have a child be stopping, or be stopped where it does not live; whether it is yet to end."""
    if child.life.state in (State.NEW, State.CRASHED, State.RESTARTING):
        child.life.move(State.STOPPED)
    if child.life.state in RESTING:
        return False
    if child.life.state is not State.STOPPING:
        child.life.move(State.STOPPING)
    return True
