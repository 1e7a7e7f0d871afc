"""`Actor`, and the life of one: its states and the moves between them as a table."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from logging import Logger, getLogger
from typing import Any

from actors.errors import SupervisionError


class State(StrEnum):
    """Where an actor is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    CRASHED = "crashed"
    """It raised; its supervisor decides."""
    RESTARTING = "restarting"
    """Waiting out its backoff."""
    STOPPING = "stopping"
    DONE = "done"
    """Its work ended by itself: drained."""
    STOPPED = "stopped"


MOVES: Mapping[State, frozenset[State]] = {
    State.NEW: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.RUNNING, State.CRASHED, State.STOPPING, State.DONE}),
    State.RUNNING: frozenset({State.CRASHED, State.STOPPING, State.DONE}),
    State.CRASHED: frozenset({State.RESTARTING, State.STOPPED}),
    State.RESTARTING: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPING: frozenset({State.STOPPED, State.DONE, State.CRASHED}),
    State.DONE: frozenset({State.STARTING}),
    State.STOPPED: frozenset({State.STARTING, State.RESTARTING}),
}


class Life:
    """The state of one supervised actor; refuses a move that is not in the table."""

    __slots__ = ("name", "restarts", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = State.NEW
        self.restarts = 0

    def move(self, to: State) -> None:
        """Go on to that state."""
        if to not in MOVES[self.state]:
            raise SupervisionError(f"{self.name}: cannot go from {self.state} to {to}")
        if to is State.RESTARTING:
            self.restarts += 1
        self.state = to

    def __repr__(self) -> str:
        return f"<{self.name}: {self.state}, {self.restarts} restarts>"


class Actor:
    """A handler with state: one instance per worker, made anew when its supervisor restarts it.

    `receive` is the handler; whatever a function handler may ask for, it may too. An instance handles one
    message at a time. `context` is what the lifespan set up, `logger` names topology and stage;
    both are there before `on_start`.
    """

    context: Mapping[str, Any] = {}
    logger: Logger = getLogger("headrace")
    receive: Callable[..., Any]

    async def on_start(self) -> None:
        """Called before the first message; raising here is a crash."""

    async def on_stop(self) -> None:
        """Called after the last message, also before a restart."""
