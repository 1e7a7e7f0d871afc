"""`Lives`: what a source or a sink works over, one channel after the other, made anew where it was lost."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

import aiormq

from actors import BrokerError, BrokerUnavailable
from engine.rabbitmq.shared import Shared
from engine.rabbitmq.tap import Listener
from engine.rabbitmq.wire import Wire


class Life(Listener, Protocol):
    """One of them: a channel, from its opening until it is lost, and whoever listens to it."""

    wire: Wire
    channel: aiormq.Channel
    error: BrokerError | None
    """Why it is lost, if it is."""


L = TypeVar("L", bound=Life)


class Lives(Generic[L]):
    """Of those the one that lasts, on the connection that all of a kind share.

    `begin` makes one of a new channel, `prepare` has it ready before anybody gets it. `what` says whose they are, for
    errors, and `task` what can only be done while it is open.
    """

    def __init__(
        self,
        connections: Callable[[], Shared],
        begin: Callable[[Wire, aiormq.Channel], L],
        prepare: Callable[[L], Coroutine[Any, Any, None]],
        what: str,
        task: str,
        confirms: bool = False,
    ) -> None:
        self._connections = connections
        self._begin = begin
        self._prepare = prepare
        self._what = what
        self._task = task
        self._confirms = confirms
        self._shared: Shared | None = None
        self._opening = asyncio.Lock()
        self.now: L | None = None
        """The last one, if there is any; it may be lost already."""

    @property
    def open(self) -> bool:
        """Whether it was started, and not closed since."""
        return self._shared is not None

    async def start(self) -> None:
        """Have the first of them; nothing is open where that fails."""
        if self._shared is not None:
            return
        shared = self._connections()
        shared.join()
        try:
            self.now = await self._make(shared)
        except BaseException:
            await shared.leave()
            raise
        self._shared = shared

    async def living(self) -> L:
        """The one that there is, or another where it is lost. Raises `BrokerError` where none can be had."""
        if self._shared is None:
            raise BrokerUnavailable(f"this {self._what} is closed: open it before {self._task}")
        if self.now is not None and self.now.error is None:
            return self.now
        async with self._opening:
            if self.now is None or self.now.error is not None:
                await self.let_go()
                self.now = await self._make(self._shared)
            return self.now

    async def let_go(self) -> None:
        """Be done with the last one: what it holds comes again, which it would not while its channel is open."""
        last, self.now = self.now, None
        if last is not None:
            await last.wire.close_channel(last.channel)

    async def wire(self) -> Wire | None:
        """The connection, made anew where need be; None while closed."""
        return None if self._shared is None else await self._shared.wire()

    async def close(self, farewell: Callable[[Wire], Coroutine[Any, Any, None]] | None = None) -> None:
        """Let go of the channel, then of the connection where nobody else needs it.

        Between them say `farewell`, unless the server hangs.
        """
        (shared, self._shared), (last, self.now) = (self._shared, None), (self.now, None)
        try:
            if last is not None:
                last.lost(BrokerUnavailable(f"this {self._what} was closed"))
                if await last.wire.leave_channel(last.channel) and farewell is not None:
                    await farewell(last.wire)
        finally:
            if shared is not None:
                await shared.leave()

    async def _make(self, shared: Shared) -> L:
        wire = await shared.wire()
        channel = await wire.open_channel(confirms=self._confirms)
        made = self._begin(wire, channel)
        wire.listen(channel, made)
        try:
            await self._prepare(made)
        except BaseException:
            await wire.close_channel(channel)
            raise
        return made

    def __repr__(self) -> str:
        last = self.now
        return f"<{self._what}: {'closed' if last is None else last.error or repr(last)}>"
