"""`Lanes`: a mailbox that keeps the order of each key, however many workers take from it.

While a message of a key is held, by a worker or by a wait for its next try, what else comes of that key is parked.
A key costs nothing while none of its messages is held. With several lanes a key always goes to the same lane, so that
a worker with state of its own sees all of it.
"""

from collections import Counter, deque
from collections.abc import Collection, Hashable, Sequence
from operator import attrgetter

from actors.mailbox import Mailbox
from actors.message import Message
from actors.waiter import Waiter

_key = attrgetter("lane")


class Lanes(Mailbox[Message]):
    """A mailbox in order by `message.lane`; messages whose lane is None are in no order with others.

    `capacity` bounds all that waits, the parked included.
    """

    def __init__(self, capacity: int, name: str = "mailbox", lanes: int = 1) -> None:
        super().__init__(capacity, name)
        self._waiting = 0
        self._lanes: list[deque[Message]] = [deque() for _ in range(lanes)]
        self._lines: list[deque[Waiter]] = [deque() for _ in range(lanes)]
        self._holds: dict[Hashable, int] = {}
        self._parked: dict[Hashable, deque[Message]] = {}
        self._abandoned: set[Hashable] = set()

    def __len__(self) -> int:
        return self._waiting

    def resize(self, lanes: int) -> None:
        """Deal what waits out to that many lanes anew, in order by key. The takers of removed lanes must have left."""
        waiting = [message for lane in self._lanes for message in lane]
        self._lanes = [deque() for _ in range(lanes)]
        kept = self._lines[:lanes]
        self._lines = kept + [deque() for _ in range(lanes - len(kept))]
        self._waiting -= len(waiting)
        self._append(waiting)

    def _lane_of(self, key: Hashable) -> int:
        return hash(key) % len(self._lanes) if len(self._lanes) > 1 else 0

    def _append(self, part: Sequence[Message]) -> None:
        self._waiting += len(part)
        if len(self._lanes) == 1:
            self._lanes[0].extend(part)
            self._wake_taker(0)
            return
        for message in part:
            self._lanes[self._lane_of(message.lane)].append(message)
        for lane in range(len(self._lanes)):
            self._wake_taker(lane)

    def _pick(self, limit: int, lane: int) -> list[Message]:
        ready = self._lanes[lane]
        if not ready:
            return []
        run = self._some(ready, limit) if self._holds else self._first(ready, limit)
        self._waiting -= len(run)
        self.held += len(run)
        if self._putters:
            self._wake_putter()
        return run

    def _first(self, ready: deque[Message], limit: int) -> list[Message]:
        """The next ones, where nobody holds any key."""
        if len(ready) <= limit:
            run = list(ready)
            ready.clear()
        else:
            run = [ready.popleft() for _ in range(limit)]
        holds = self._holds = dict(Counter(map(_key, run)))  # counted in C
        holds.pop(None, None)
        return run

    def _some(self, ready: deque[Message], limit: int) -> list[Message]:
        """The next ones of which nobody else holds the key; what is held is parked."""
        holds = self._holds
        run: list[Message] = []
        mine: set[Hashable] = set()
        while ready and len(run) < limit:
            message = ready.popleft()
            key = message.lane
            if key is None:
                run.append(message)
            elif key not in holds:
                holds[key] = 1
                mine.add(key)
                run.append(message)
            elif key in mine:
                holds[key] += 1
                run.append(message)
            elif key in self._abandoned:
                self._give_back([message])
            else:
                self._parked.setdefault(key, deque()).append(message)
        return run

    def done(self, run: Sequence[Message]) -> None:
        self.held -= len(run)
        freed = self._release(run)
        if freed:
            self._unpark(freed)
        if self.closed:
            self._check_drained()

    def put_back(self, run: Sequence[Message]) -> None:
        self.held -= len(run)
        self._waiting += len(run)
        # First the parked, then before them what was taken earlier: so the order by key stays whole.
        self._unpark(self._release(run))
        if self._abandoned:
            self._give_back([message for message in run if message.lane in self._abandoned])
            run = [message for message in run if message.lane not in self._abandoned]
        for message in reversed(run):
            key = message.lane
            if key in self._holds:
                self._parked.setdefault(key, deque()).appendleft(message)
            else:
                self._lanes[self._lane_of(key)].appendleft(message)
        for lane in range(len(self._lanes)):
            self._wake_taker(lane)

    def abandon(self, item: Message) -> None:
        """What was taken goes back to its broker, and so does what waits and will come of its key: it must not pass."""
        if item.lane is None:
            self.done([item])
            return
        # Its hold on the key is never released, so that whatever else comes of the key ends up here.
        self.held -= 1
        self._abandoned.add(item.lane)
        self._give_back(self._parked.pop(item.lane, ()))
        self._wake_putter()

    def _give_back(self, run: Collection[Message]) -> None:
        self._waiting -= len(run)
        for message in run:
            message.receipt.give_back()
        if self.closed:
            self._check_drained()

    def _release(self, run: Sequence[Message]) -> list[Hashable]:
        holds, parked = self._holds, self._parked
        if not self.held and not self._abandoned:  # it was all that anybody held
            holds.clear()
            return list(parked)
        freed = []
        for message in run:
            key = message.lane
            if key is None:
                continue
            left = holds[key] - 1
            if left:
                holds[key] = left
            else:
                del holds[key]
                if key in parked:
                    freed.append(key)
        return freed

    def _unpark(self, keys: Sequence[Hashable]) -> None:
        for key in keys:
            lane = self._lane_of(key)
            self._lanes[lane].extendleft(reversed(self._parked.pop(key)))
            self._wake_taker(lane)

    def _ready(self, lane: int) -> int:
        return len(self._lanes[lane])

    def _line(self, lane: int) -> deque[Waiter]:
        return self._lines[lane]

    def _wake_taker(self, lane: int) -> None:
        if self._lines[lane] and (self._lanes[lane] or self.drained):
            self._lines[lane][0].wake()

    def _every_taker(self) -> list[Waiter]:
        return [waiter for line in self._lines for waiter in line]
