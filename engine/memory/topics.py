"""`Topics`: the topics of one embedded broker, each a log and the lines of those who wait for it."""

from collections.abc import Iterable, Mapping
from sys import maxsize

from actors import Message, delivered
from engine.brokers.endpoint import INBOX
from engine.memory.log import Log, Stored
from engine.memory.waiting import Line


class Topic:
    """A log, and who waits for it."""

    __slots__ = ("log", "name", "publishers", "readers")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.log = Log(capacity, passing=name.startswith(INBOX))
        self.publishers = Line()
        self.readers: dict[str, Line] = {}
        """By group."""

    def append(self, run: list[Stored]) -> None:
        """Add what there is room for, and wake one reader of each group."""
        self.log.append(run)
        for line in self.readers.values():
            line.wake()


class Topics:
    """The topics of one broker, made when they are first used. Sizes in messages, `max_bytes` of one body."""

    def __init__(self, capacity: int, max_bytes: int | None) -> None:
        self.capacity = capacity
        self.declared: dict[str, int] = {}
        """The capacity of those topics that were declared with one."""
        self.max_bytes = maxsize if max_bytes is None else max_bytes
        self.by_name: dict[str, Topic] = {}
        self.undeliverable = 0
        """Replies that came after those who asked had gone."""

    def open(self, name: str, capacity: int | None = None) -> Topic:
        """The topic of that name; the capacity that it was declared with goes before the one given."""
        topic = self.by_name.get(name)
        if topic is None:
            size = self.declared.get(name) or capacity or self.capacity
            topic = self.by_name[name] = Topic(name, size)
        return topic


def unpack(run: Iterable[Stored], attempts: Mapping[int, int]) -> list[Message]:
    """A message of its own for each that is stored: nothing that is done to it changes what is stored."""
    return [
        delivered(
            stored.raw,
            stored.key,
            dict(stored.headers) if stored.headers else {},
            stored,
            attempts.get(stored.offset, 1) if attempts else 1,
            stored.reply_to,
        )
        for stored in run
    ]
