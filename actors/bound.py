"""`Bound`: a handler made ready for one worker; kept to its time, and its actor seen off."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from anyio import CancelScope, move_on_after

from actors.actor import Actor
from actors.clock import Clock, Timer
from actors.message import Message

FAREWELL = 4.0
"""Seconds that an actor's `on_stop` may take; less than what a supervisor gives its children."""

Invoke = Callable[[Message], Coroutine[Any, Any, Any]]
Aside = Callable[[Awaitable[None]], Awaitable[None]]


class Emit(Protocol):
    """Takes what a generator yields: `emit(message, item)`."""

    def __call__(self, message: Message, result: Any, at_once: bool = False, /) -> Awaitable[None]:
        """`at_once`: the generator is elsewhere, so that nobody sees it wait; what there is room for goes on now."""
        ...


class Bound(NamedTuple):
    """A handler made ready for one worker: how to call it, and the actor behind it if it is a class."""

    invoke: Invoke
    """Handle one message, or the joint message of a batch: gives what the handler returned, or None for a generator,
    whose items were emitted."""
    actor: Actor | None
    """The instance, where the handler is a class; its `on_start` and `on_stop` are the worker's to call."""
    aside: Aside | None = None
    """Where the handler is kept to its time: awaits what is no part of it, such as room behind a generator."""

    def within(self, seconds: float | None, clock: Clock) -> "Bound":
        """The same, kept to that time for each call; None is for ever."""
        if seconds is None:
            return self
        invoke, aside = timed(self.invoke, seconds, clock)
        return Bound(invoke, self.actor, aside)


def timed(invoke: Invoke, seconds: float, clock: Clock) -> tuple[Invoke, Aside]:
    """The same handler, which fails with `TimeoutError` after that time of the clock; and what its time stands for.

    They share the time of one call: calls must not overlap.
    """
    timer: Timer

    async def within_time(message: Message) -> Any:
        nonlocal timer
        with CancelScope() as scope:
            timer = clock.after(seconds, scope.cancel)
            try:
                return await invoke(message)
            finally:
                timer.cancel()
        raise TimeoutError(f"the handler took longer than timeout={seconds:g} s")

    async def aside(waiting: Awaitable[None]) -> None:
        nonlocal timer
        over, left = timer.callback, timer.when - clock.now()
        timer.cancel()
        try:
            await waiting
        finally:
            if over is not None:  # else its time is over already
                timer = clock.after(left, over)

    return within_time, aside


async def farewell(actor: Actor) -> None:
    """Have an actor stop, whatever it is stopped by; what goes wrong with it is logged and holds up nothing else."""
    with move_on_after(FAREWELL, shield=True) as patience:
        try:
            await actor.on_stop()
        except Exception:
            actor.logger.exception("on_stop of %s failed", type(actor).__name__)
    if patience.cancelled_caught:
        actor.logger.error("on_stop of %s took longer than %g s", type(actor).__name__, FAREWELL)
