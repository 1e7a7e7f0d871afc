"""The commands by which one consumer of a stream's group reads, settles, renews and leaves. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.redis.connection import Command
from engine.redis.wire import chunks

Start = Literal["earliest", "latest"]
Ids = Sequence[bytes]
PARKED = "returned"
"""The consumer that gets what a closing one could not finish, with an age at which any other may take it."""
LONG_AGO = 365 * 24 * 3600 * 1000
MANY = 1000
"""Ids in one command."""

# Only where nothing is pending: removing a consumer throws away what it has.
_LEAVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end"""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A name in a group. Times are in milliseconds."""

    stream: str
    group: str
    name: str = ""

    def create(self, start: Start, after: bytes | None = None) -> Command:
        """Make the group, and the stream, where they are missing; a group that goes on does so after that entry."""
        position = after or ("0" if start == "earliest" else "$")
        return "XGROUP", "CREATE", self.stream, self.group, position, "MKSTREAM"

    def read(self, limit: int, wait: int) -> Command:
        """What nobody has had."""
        start = ("XREADGROUP", "GROUP", self.group, self.name, "COUNT", limit)
        return *start, "BLOCK", max(1, wait), "STREAMS", self.stream, ">"

    def acknowledge(self, ids: Ids) -> list[Command]:
        """Finished for good."""
        return [("XACK", self.stream, self.group, *part) for part in chunks(ids, MANY)]

    def renew(self, ids: Ids) -> list[Command]:
        """Still at it."""
        return [("XCLAIM", self.stream, self.group, self.name, 0, *part, "JUSTID") for part in chunks(ids, MANY)]

    def hold(self, ids: Ids) -> list[Command]:
        """Still at it, also where the group is new and knows nothing of it."""
        start = ("XCLAIM", self.stream, self.group, self.name, 0)
        return [(*start, *part, "FORCE", "JUSTID") for part in chunks(ids, MANY)]

    def park(self, ids: Ids) -> list[Command]:
        """No longer ours, and for any other to take."""
        start = ("XCLAIM", self.stream, self.group, PARKED, 0)
        return [(*start, *part, "IDLE", LONG_AGO, "JUSTID") for part in chunks(ids, MANY)]

    def count(self, attempts: Mapping[bytes, int], parked: bool = False) -> list[Command]:
        """Write down how often each has been delivered."""
        by_attempt: dict[int, list[bytes]] = {}
        for entry, attempt in attempts.items():
            by_attempt.setdefault(attempt, []).append(entry)
        start = ("XCLAIM", self.stream, self.group, PARKED if parked else self.name, 0)
        idle: Command = ("IDLE", LONG_AGO) if parked else ()
        return [
            (*start, *part, *idle, "RETRYCOUNT", attempt, "JUSTID")
            for attempt, ids in by_attempt.items()
            for part in chunks(ids, MANY)
        ]

    def pending(self, start: str = "-", most: int = MANY) -> Command:
        """Id, consumer, idle time and count of what is pending under this name, from `start` on."""
        return "XPENDING", self.stream, self.group, start, "+", most, self.name

    def whose(self, ids: Iterable[bytes]) -> list[Command]:
        """The same of each of those, under whatever name."""
        return [("XPENDING", self.stream, self.group, entry, entry, 1) for entry in ids]

    def claim(self, ids: Iterable[bytes]) -> Command:
        """Deliver those again, to this name."""
        return "XCLAIM", self.stream, self.group, self.name, 0, *ids

    def abandoned(self, idle: int, start: bytes, limit: int) -> Command:
        """Deliver, to this name, what others have had for so long."""
        return "XAUTOCLAIM", self.stream, self.group, self.name, idle, start, "COUNT", limit

    def leave(self) -> Command:
        """Remove the name, if nothing is pending under it."""
        return "EVAL", _LEAVE, 1, self.stream, self.group, self.name


def order(entry: bytes) -> tuple[int, int]:
    """Where an id stands in its stream: as text 9-0 would come after 10-0."""
    moment, _, number = entry.partition(b"-")
    return int(moment), int(number)
