"""`Child`: one life under a supervisor; how it is lived, and how it is brought to an end in time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from typing import Any

from anyio import CancelScope, Event, create_task_group, move_on_after

from actors.actor import Life, State
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

    def begin(self) -> None:
        """Have it be starting, before `live` is called in a task of its own."""
        self.life.move(State.STARTING)
        self.ended = Event()
        # Shielded: who cancels the supervisor lets it stop its children in their order, it does not cancel them all.
        self.scope = CancelScope(shield=True)

    async def live(self, ready: Event, crashed: "Callable[[Child, BaseException], object]") -> None:
        """Run it. Sets `ready` once it has started or will not; `crashed` is told of a crash that nobody asked for."""

        def started() -> None:
            if self.life.state is State.STARTING:
                self.life.move(State.RUNNING)
            ready.set()

        assert self.scope is not None
        try:
            with self.scope:
                await self.run(started)
            self.life.move(State.STOPPED if self.life.state is State.STOPPING else State.DONE)
        except (Exception, SystemExit) as error:
            self._crash(error, crashed)
        except BaseException as error:
            if self.life.state is not State.STOPPING and not_ours(error):
                self._crash(error, crashed)
                return
            if self.life.state is not State.STOPPING:
                self.life.move(State.STOPPING)
            self.life.move(State.STOPPED)
            raise
        finally:
            ready.set()
            self.ended.set()

    def _crash(self, error: BaseException, crashed: "Callable[[Child, BaseException], object]") -> None:
        stopping = self.life.state is State.STOPPING
        self.life.move(State.CRASHED)
        if stopping:
            self.life.move(State.STOPPED)
        else:
            crashed(self, error)

    async def end(self, logger: "Logger | LoggerAdapter[Any]") -> None:
        """Have it stop, and wait until it has: asked first, then cancelled. Logs one that does not stop in its time."""
        asked = self.life.state is State.STOPPING
        if not self._is_to_end():
            return
        if not asked:
            await self._ask(logger)
        self.cancel()
        with move_on_after(self.stop_within) as patience:
            await self.ended.wait()
        if patience.cancelled_caught:
            logger.error("%s did not stop within %g s", self.name, self.stop_within)

    def cancel(self) -> None:
        """Cancel it, and first whatever it has below: cancelled alone, it would stop that in order and in its time."""
        if not self._is_to_end():
            return
        if self.cut is not None:
            self.cut()
        assert self.scope is not None
        self.scope.cancel()

    async def _ask(self, logger: "Logger | LoggerAdapter[Any]") -> None:
        if self.stop is None:
            return
        with move_on_after(self.stop_within):
            async with create_task_group() as asking:
                asking.start_soon(self._asked, self.stop, asking.cancel_scope, logger)
                await self.ended.wait()
                asking.cancel_scope.cancel()

    async def _asked(
        self, stop: Callable[[], Awaitable[None]], asking: CancelScope, logger: "Logger | LoggerAdapter[Any]"
    ) -> None:
        try:
            await stop()
        except Exception:
            logger.exception("%s could not be asked to stop", self.name)
            asking.cancel()

    def _is_to_end(self) -> bool:
        """Have it be stopping, or be stopped where it does not live; whether it is yet to end."""
        if self.life.state in (State.NEW, State.CRASHED, State.RESTARTING):
            self.life.move(State.STOPPED)
        if self.life.state in RESTING:
            return False
        if self.life.state is not State.STOPPING:
            self.life.move(State.STOPPING)
        return True
