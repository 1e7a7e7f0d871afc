"""`Worker`: one actor of a pool. It takes messages, has them handled, and passes on what came of it.

It takes a run while the handler does not wait. Once it waits, the rest goes back to the other workers and
it takes one at a time; so a handler that waits gets all the concurrency of its pool, and one that does not costs no
turn of the event loop a message.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from actors.bound import Bound, Emit, Invoke, farewell
from actors.clock import Clock
from actors.emitting import RUN, Emitter
from actors.mailbox import Mailbox
from actors.message import Message
from actors.outbox import Outbox
from actors.outcomes import Crash
from actors.retries import Retries
from actors.statistics import Counts
from actors.step import not_ours, watched
from actors.turn import Turn

SLICE = 0.005
"""Seconds that a worker may keep the event loop for one run; when it takes longer, it takes less."""
STRIDE = 4
"""Messages after which it looks how long it has taken."""


class Worker:
    """One actor of a pool. It outlives its crashes: what it had made is passed on after the restart.

    A crash puts back only what was in this worker's hands; the message that it happened with counts one try more.
    """

    def __init__(
        self,
        name: str,
        mailbox: Mailbox[Message],
        bind: Callable[[Emit], Bound],
        outbox: Outbox,
        pass_on: Callable[[Message, Any], None],
        retries: Retries,
        counts: Counts,
        clock: Clock,
        lane: int = 0,
        alone: bool = False,
        timeout: float | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.name = name
        self.mailbox = mailbox
        self.bind = bind
        self.outbox = outbox
        self.pass_on = pass_on
        self.retries = retries
        self.counts = counts
        self.clock = clock
        self.lane = lane
        self.alone = alone
        """No other worker takes from this lane: what it has taken need not go back when it waits."""
        self.timeout = timeout
        self.turn = turn or Turn()
        self.take = min(RUN, mailbox.capacity)
        self.limit = 1
        """How many it takes at once for now: more and more, while handling them keeps nobody waiting."""
        self.idle: CancelScope | None = None
        self.busy_since: float | None = None
        self._leaving = False
        self._hands: deque[Message] = deque()
        self._handled: list[Message] = []
        self._waited = False
        self._slow = False
        """Whether it has kept the event loop for long in its last run."""
        self._emitter = Emitter(outbox, lambda part, item: self.pass_on(part, item))  # which a tap changes
        self._closed = False
        self._unhandled = 0
        """How many of the run in hand went back without having been tried."""
        self._size = 0
        """How many calls of the handler the run in hand takes."""
        self._told = 0
        """How many of them an observer was told of already."""
        self._since = 0.0
        """When the first was begun that it was not told of."""
        self._waits: list[None] = []
        """Not empty while there is an observer and the message in hand is one that was waited with."""

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Handle what comes until the mailbox is drained or `leave` is called."""
        try:
            await watched(self._run(started), self._on_wait, self._on_close)
        except GeneratorExit as error:
            if self._closed:
                raise
            raise RuntimeError(f"{self.name} raised GeneratorExit, which says that a generator was closed") from error

    async def _run(self, started: Callable[[], object]) -> None:
        bound = self.bind(self._emitter.emit).within(self.timeout, self.clock)
        self._emitter.begin(bound.aside)
        if bound.actor is not None:
            await bound.actor.on_start()
        try:
            await self._pass_all_on()
            started()
            while run := await self._take():
                await self._handle(bound.invoke, run)
                await self._pass_all_on()
                if self._slow:
                    await self.turn.pass_on(self)
                elif len(self.mailbox) and not self._waited:
                    await checkpoint()
        finally:
            if bound.actor is not None:
                await farewell(bound.actor)

    def leave(self) -> None:
        """Finish what is in hand and end: the pool has become smaller, or time is over."""
        self._leaving = True
        if self.idle is not None:
            self.idle.cancel()

    async def _take(self) -> list[Message]:
        while not self._leaving:
            if self.turn.holder is not None:
                await checkpoint()
            elif run := self.mailbox.take_nowait(self.limit, self.lane):
                return run
            else:
                run = await self._idle(self.mailbox.take(self.limit, self.lane))
                if not run or self.turn.holder is None:
                    return run
                self.mailbox.put_back(run)
        return []

    async def _idle(self, taking: Awaitable[list[Message]]) -> list[Message]:
        """Wait for messages; for none any more when it is to leave."""
        run: list[Message] = []
        try:
            with CancelScope() as self.idle:
                run = await taking
        finally:
            self.idle = None
        return run

    async def _handle(self, invoke: Invoke, run: list[Message]) -> None:
        hands, handled, pass_on = self._hands, self._handled, self.pass_on
        hands.extend(run)
        began, waits = self._begin(len(run)), self._waits
        while hands:
            for _ in range(STRIDE):
                if not hands:
                    break
                if waits:
                    self._tell(1)
                message = hands.popleft()
                try:
                    pass_on(message, await invoke(message))
                    handled.append(message)
                except (Crash, SystemExit) as crash:
                    self._crashed(message, crash)
                    raise
                except Exception as error:
                    self._failed(message, error)
                except BaseException as error:
                    if self._failure(error):
                        self._failed(message, error)
                        continue
                    hands.appendleft(message)
                    self._put_back()
                    self._set_down()
                    raise
            if perf_counter() - began > SLICE:
                self._put_back()
        self._pace(perf_counter() - began, len(run) - self._unhandled)

    def _begin(self, calls: int) -> float:
        """Take up a run for which the handler is to be called so often; returns when that was."""
        self._waited, self._unhandled = False, 0
        self._size, self._told = calls, 0
        self._waits.clear()
        self.busy_since = self._since = perf_counter()
        return self._since

    def _on_wait(self) -> None:
        """While the handler waits, whatever can go on shall: what is made, and what is not begun."""
        if self.busy_since is None:
            return
        self._waited = True
        if self.counts.observer is not None and not self._waits:
            self._tell(self._size - self._unhandled - len(self._hands) - 1 - self._told)
            self._waits.append(None)
        self.outbox.flush_nowait()
        if self._handled and not len(self.outbox):
            self._done()
            self._set_down()
            self.busy_since = perf_counter()  # about when this message was begun
        if self._hands and not self.alone:
            self._put_back()

    def _on_close(self) -> None:
        self._closed = True

    def _failure(self, error: BaseException) -> bool:
        """Whether an error that is no `Exception` is the handler's, and not the end of this worker."""
        return not self._closed if isinstance(error, GeneratorExit) else not_ours(error)

    def _pace(self, seconds: float, handled: int) -> None:
        self._set_down()
        if self.counts.observer is not None:
            self._tell(handled - self._told)
        self._slow = seconds > SLICE and not self._waited
        if (self._waited and not self.alone) or seconds > SLICE:
            self.limit = max(1, self.limit // 4)
        elif self.limit < self.take:
            self.limit = min(self.take, self.limit * 2)

    def _tell(self, messages: int) -> None:
        """Tell the observer of those of the run that it was not told of; one that was waited with is told of alone."""
        self._waits.clear()
        if messages and self.counts.observer is not None:
            now = perf_counter()
            self.counts.observer.handled(messages, now - self._since)
            self._told += messages
            self._since = now

    def _set_down(self) -> None:
        if self.busy_since is not None:
            self.counts.busy_seconds += perf_counter() - self.busy_since
            self.busy_since = None

    def _failed(self, message: Message, error: BaseException) -> None:
        self._emitter.forget()
        if not self.retries.failed(message, error):
            self._handled.append(message)
            return
        self.counts.handled += 1
        # It waits for its next try and holds its key back: what else of that key is in hand must wait behind it.
        key = getattr(message, "lane", None)
        if key is not None and self._hands:
            behind = [other for other in self._hands if other.lane == key]
            if behind:
                others = [other for other in self._hands if other.lane != key]
                self._hands.clear()
                self._hands.extend(others)
                self._unhandled += len(behind)
                self.mailbox.put_back(behind)

    def _crashed(self, message: Message, crash: BaseException) -> None:
        self._set_down()
        self._failed(message, crash)
        self._put_back()

    def _put_back(self) -> None:
        rest = list(self._hands)
        self._hands.clear()
        if rest:
            self._unhandled += len(rest)
            self.mailbox.put_back(rest)

    async def _pass_all_on(self) -> None:
        """Put what was made into the mailboxes behind; only then is what it was made of done."""
        outbox = self.outbox
        await outbox.flush()
        if outbox.blocked:
            self.counts.blocked_seconds += outbox.blocked
            outbox.blocked = 0.0
        if self._handled:
            self._done()

    def _done(self) -> None:
        self.counts.handled += len(self._handled)
        self.mailbox.done(self._handled)
        self._handled.clear()

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self._hands)} in hand, takes up to {self.limit}>"
