"""`Mailbox`: where messages wait for an actor. Bounded, in order, taken and put in runs.

It never costs a turn of the event loop unless it is full or empty. What was taken counts as held until it is
`done`, so that a mailbox knows when its stage is drained: closed, empty, and nothing held.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from anyio import Event

from actors.clock import Clock
from actors.errors import MailboxClosed
from actors.waiter import Waiter

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """How full a mailbox is, and who waits for it."""

    depth: int
    capacity: int
    held: int
    put: int
    takers_waiting: int
    putters_waiting: int
    closed: bool


class Mailbox(Generic[T]):
    """A bounded queue in order of arrival, for any number of putters and takers, each line first come first served.

    `capacity` is in messages. It closes when the last of its senders has detached.
    """

    def __init__(self, capacity: int, name: str = "mailbox") -> None:
        if capacity < 1:
            raise ValueError(f"{name}: a mailbox of {capacity} holds nothing; expected at least 1")
        self.capacity = capacity
        self.name = name
        self.held = 0
        self.count = 0
        """How many were put, all in all."""
        self.closed = False
        self.hurried = False
        """Whether a batch waits no more for others."""
        self._senders = 0
        self._items: deque[T] = deque()
        self._takers: deque[Waiter] = deque()
        self._putters: deque[Waiter] = deque()
        self.ended = Event()
        """Set once it is drained."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def room(self) -> int:
        """How many more would fit now."""
        return self.capacity - len(self)

    @property
    def drained(self) -> bool:
        """Closed, empty, and all that was taken is done."""
        return self.closed and not self.held and not len(self)

    # -- putting ---------------------------------------------------------------------------------------------

    def put_nowait(self, run: list[T]) -> None:
        """Put as many from the front of `run` as fit, removing them from it; nothing while others wait to put."""
        if self.closed:
            raise MailboxClosed(f"{self.name} takes nothing more: its stage is draining")
        if not self._putters:
            self._accept(run)

    async def put(self, run: list[T]) -> None:
        """Put all of `run`, in order, waiting for room; what is put is removed from it.

        When cancelled, what is left in `run` is what was not put. Raises `MailboxClosed`.
        """
        self.put_nowait(run)
        if not run:
            return
        waiter = Waiter()
        self._putters.append(waiter)
        try:
            while run:
                await waiter.wait()
                if self.closed:
                    raise MailboxClosed(f"{self.name} was closed with {len(run)} messages still to be put")
                if self._putters[0] is waiter:
                    self._accept(run)
        finally:
            self._putters.remove(waiter)
            self._wake_putter()

    async def wait_for_room(self) -> int:
        """Wait, in line with those who put, until at least one message fits; return how many fit.

        Raises `MailboxClosed`.
        """
        if self._putters or self.room < 1:
            waiter = Waiter()
            self._putters.append(waiter)
            try:
                while not self.closed and (self._putters[0] is not waiter or self.room < 1):
                    await waiter.wait()
            finally:
                self._putters.remove(waiter)
                self._wake_putter()
        if self.closed:
            raise MailboxClosed(f"{self.name} takes nothing more: its stage is draining")
        return self.room

    def _accept(self, run: list[T]) -> None:
        fits = self.capacity - len(self)
        if fits <= 0:
            return
        part = run if fits >= len(run) else run[:fits]
        self.count += len(part)
        self._append(part)
        del run[: len(part)]

    def _append(self, part: Sequence[T]) -> None:
        self._items.extend(part)
        if self._takers:
            self._takers[0].wake()

    def _wake_putter(self) -> None:
        if self._putters and not (first := self._putters[0]).woken and (self.room > 0 or self.closed):
            first.wake()

    # -- taking ----------------------------------------------------------------------------------------------

    def take_nowait(self, limit: int, lane: int = 0) -> list[T]:
        """Take up to `limit` of what is there; an empty list where there is nothing to take."""
        return self._pick(limit, lane)

    async def take(self, limit: int, lane: int = 0) -> list[T]:
        """Wait for messages and take up to `limit` of them; an empty list says that the mailbox is drained.

        Whoever takes calls `done` or `put_back` for each in the end. Cancelling it takes nothing.
        """
        run = self._pick(limit, lane)
        if run or self.drained:
            return run
        line = self._line(lane)
        waiter = Waiter()
        line.append(waiter)
        try:
            while not (run := self._pick(limit, lane)) and not self.drained:
                await waiter.wait()
            return run
        finally:
            line.remove(waiter)
            self._wake_taker(lane)

    async def take_batch(self, size: int, wait: float, clock: Clock, lane: int = 0) -> list[T]:
        """Like `take`, but wait for `size` messages, `wait` seconds at most from when there is a first.

        A mailbox that is full, closed or hurried is not waited for.
        """
        waiter, timer = Waiter(), None
        line = self._line(lane)
        line.append(waiter)
        try:
            while not self.drained:
                ready = self._ready(lane)
                late = timer is not None and timer.callback is None
                if ready and (ready >= size or late or self.closed or self.hurried or self.room < 1):
                    if run := self._pick(size, lane):
                        return run
                    continue  # all of it belongs to keys that others hold
                if ready and timer is None:
                    timer = clock.after(wait, waiter.wake)
                elif not ready and timer is not None:
                    timer.cancel()
                    timer = None
                await waiter.wait()
            return []
        finally:
            if timer is not None:
                timer.cancel()
            line.remove(waiter)
            self._wake_taker(lane)

    def done(self, run: Sequence[T]) -> None:
        """What was taken is handled, and its results are passed on."""
        self.held -= len(run)
        if self.closed:
            self._check_drained()

    def put_back(self, run: Sequence[T]) -> None:
        """What was taken is to be taken again, first; never waits, also above capacity and when closed."""
        self.held -= len(run)
        self._items.extendleft(reversed(run))
        if self._takers:
            self._takers[0].wake()

    def abandon(self, item: T) -> None:
        """What was taken goes back to its broker: it is never handed out again."""
        self.done([item])

    def _pick(self, limit: int, lane: int) -> list[T]:
        items = self._items
        if len(items) <= limit:
            run = list(items)
            items.clear()
        else:
            run = [items.popleft() for _ in range(limit)]
        self.held += len(run)
        if self._putters:
            self._wake_putter()
        return run

    def _ready(self, lane: int) -> int:
        return len(self._items)

    def _line(self, lane: int) -> deque[Waiter]:
        return self._takers

    def _wake_taker(self, lane: int) -> None:
        # Each taker wakes the next in line when it leaves something: no thundering herd, no lost wake-up.
        if self._takers and (self._items or self.drained):
            self._takers[0].wake()

    # -- closing ---------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """One more sender."""
        self._senders += 1

    def detach(self) -> None:
        """One sender less; the last one closes the mailbox behind what it has put."""
        self._senders -= 1
        if self._senders <= 0:
            self.close()

    def close(self) -> None:
        """Take nothing more; what is there is still handed out."""
        self.closed = True
        for waiter in (*self._putters, *self._every_taker()):
            waiter.wake()
        self._check_drained()

    def hurry(self) -> None:
        """Hand out what is there to whoever collects a batch, now and from now on: a drain has begun."""
        self.hurried = True
        for waiter in self._every_taker():
            waiter.wake()

    def _check_drained(self) -> None:
        if self.drained:
            self.ended.set()
            for waiter in self._every_taker():
                waiter.wake()

    def _every_taker(self) -> list[Waiter]:
        return list(self._takers)

    def statistics(self) -> MailboxStatistics:
        """How full it is, and who waits for it."""
        takers = len(self._every_taker())
        return MailboxStatistics(
            len(self), self.capacity, self.held, self.count, takers, len(self._putters), self.closed
        )

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"<{self.name}: {len(self)} of {self.capacity}, {self.held} held{state}>"


AnyMailbox = Mailbox[Any]
