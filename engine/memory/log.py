"""`Log`: the messages of one embedded topic, and the groups that read them. Pure: it never waits."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from sys import maxsize

from actors import Origin


class Stored(Origin):
    """A message as it lies in a log. Nobody changes it: all that read it share it, as where theirs came from."""

    __slots__ = ("headers", "key", "raw", "reply_to")

    offset: int
    raw: bytes | None
    key: str | bytes | None
    headers: dict[str, str | bytes] | None
    reply_to: str | None


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """How far a group is: messages `waiting` to be fetched, `held` by its sources, and counts since it was new."""

    waiting: int
    held: int
    delivered: int
    redelivered: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """What a topic holds. `expired` left it before any group had a chance to read them."""

    capacity: int
    published: int
    retained: int
    expired: int
    groups: Mapping[str, GroupStatistics]


class Group:
    """One position in a log: gets each message once, and again what is given back.

    It hands out by offset: what was given back comes before what was never handed out.
    """

    __slots__ = ("_back", "_ready", "acknowledged", "attempts", "delivered", "held", "redelivered")

    def __init__(self, retained: Iterable[Stored], most: int | None = None) -> None:
        self.attempts: dict[int, int] = {}
        """By offset, which try it is for what was given back; whatever is not in here is at its first."""
        self.held = 0
        """Handed out, and neither acknowledged nor given back."""
        self.delivered = 0
        self.redelivered = 0
        self.acknowledged = 0
        self._ready: deque[Stored] = deque(retained, most)
        # A heap by offset: two sources of a group may give back in any order.
        self._back: list[tuple[int, Stored]] = []

    @property
    def waiting(self) -> int:
        """How many `take` could hand out now."""
        return len(self._ready) + len(self._back)

    @property
    def lag(self) -> int:
        """How many are not acknowledged."""
        return len(self._ready) + len(self._back) + self.held

    def put(self, run: Sequence[Stored]) -> int:
        """Add what is new behind the others; return how many of the oldest fell out where there is a most."""
        ready = self._ready
        before = len(ready)
        ready.extend(run)
        return before + len(run) - len(ready)

    def take(self, limit: int) -> list[Stored]:
        """Hand out up to `limit`, lowest offset first; empty when none waits."""
        back, ready = self._back, self._ready
        run: list[Stored] = []
        while back and len(run) < limit:
            run.append(heappop(back)[1])
        self.redelivered += len(run)
        room = limit - len(run)
        if len(ready) <= room:
            run += ready
            ready.clear()
        elif room:
            run += [ready.popleft() for _ in range(room)]
        self.held += len(run)
        self.delivered += len(run)
        return run

    def acknowledge(self, run: Sequence[Stored]) -> None:
        """Those, handed out before, are finished for good."""
        self.held -= len(run)
        self.acknowledged += len(run)
        if self.attempts:
            for stored in run:
                self.attempts.pop(stored.offset, None)

    def give_back(self, run: Iterable[Stored]) -> None:
        """Those, handed out before, are to be handed out again."""
        for stored in run:
            offset = stored.offset
            self.attempts[offset] = self.attempts.get(offset, 1) + 1
            heappush(self._back, (offset, stored))
            self.held -= 1

    def statistics(self) -> GroupStatistics:
        """How far it is."""
        return GroupStatistics(self.waiting, self.held, self.delivered, self.redelivered, self.acknowledged)


class Log:
    """The messages of one topic by offset, from 0, without gaps.

    It keeps its most recent `capacity` messages, whoever has read them, so that a new group starts at the earliest
    of them. What a group has not acknowledged is kept for it beyond that: `room` says how many may be
    appended before the slowest group lags by `capacity`.

    A `passing` log keeps nothing for new groups, and lets a group's oldest go where others have no room.
    """

    __slots__ = ("capacity", "end", "expired", "groups", "passing", "retained")

    def __init__(self, capacity: int, *, passing: bool = False) -> None:
        self.capacity = capacity
        self.passing = passing
        self.end = 0
        """The offset of the next message."""
        self.expired = 0
        self.groups: dict[str, Group] = {}
        self.retained: deque[Stored] = deque(maxlen=0 if passing else capacity)

    def room(self) -> int:
        """How many more may be appended now."""
        if self.passing or not self.groups:
            return maxsize
        return self.capacity - max(group.lag for group in self.groups.values())

    def append(self, run: Sequence[Stored]) -> None:
        """Add messages, no more than there is room for, and give them their offsets."""
        for offset, stored in enumerate(run, self.end):
            stored.offset = offset
        retained = self.retained
        if self.groups:
            for group in self.groups.values():
                self.expired += group.put(run)
        else:
            self.expired += max(0, len(retained) + len(run) - (retained.maxlen or 0))
        retained.extend(run)
        self.end += len(run)

    def join(self, group: str) -> Group:
        """The group of that name; a new one starts at the earliest message retained."""
        if group not in self.groups:
            self.groups[group] = Group(self.retained, self.capacity if self.passing else None)
        return self.groups[group]

    def statistics(self) -> LogStatistics:
        """What it holds, and how far its groups are."""
        groups = {name: group.statistics() for name, group in self.groups.items()}
        return LogStatistics(self.capacity, self.end, len(self.retained), self.expired, groups)
