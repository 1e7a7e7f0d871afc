"""`MemorySource` and `MemorySink`: how the logs of the embedded broker are read and written, with the waiting."""

from collections.abc import Sequence
from time import time

from anyio.lowlevel import checkpoint

from actors import BrokerUnavailable, Headers, Message, PublishError
from engine.brokers import wire
from engine.brokers.endpoint import INBOX
from engine.memory.log import Group, Stored
from engine.memory.topics import Topic, Topics, unpack
from engine.memory.waiting import Line

YIELD_EVERY = 2048
"""Messages after which a source or sink that never had to wait lets others run."""


class MemorySource:
    """Reads one topic for one group. Not for use by two threads.

    A message is settled by the object that `fetch` returned; any other is unknown, and forgotten silently.
    """

    def __init__(self, topics: Topics, name: str, group: str, capacity: int | None = None) -> None:
        self._topics = topics
        self._name = name
        self._group_name = group
        self._capacity = capacity
        self._topic: Topic | None = None
        self._held: dict[Message, Stored] = {}
        self._run = 0

    async def open(self) -> None:
        """Join the group, which from then on gets every message that the topic still has or will get."""
        topic = self._topics.open(self._name, self._capacity)
        topic.log.join(self._group_name)
        topic.readers.setdefault(self._group_name, Line())
        self._topic = topic

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them in the order of their offsets."""
        if limit < 1:
            raise ValueError(f"fetch({limit}): expected at least 1")
        if self._run >= YIELD_EVERY:
            self._run = 0
            await checkpoint()
        group, line = self._joined()
        taken = [] if line else group.take(limit)
        if not taken:
            with line.join() as place:
                while not (place.first and (taken := group.take(limit))):
                    await place.wait()
                    group, line = self._joined()
        run = unpack(taken, group.attempts)
        self._held.update(zip(run, taken, strict=True))
        self._run += len(run)
        return run

    def _joined(self) -> tuple[Group, Line]:
        if self._topic is None:
            raise BrokerUnavailable(f"this source of {self._name} is closed: open it before fetching")
        return self._topic.log.groups[self._group_name], self._topic.readers[self._group_name]

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Finish `done` for good, and give `returned` to whichever source of the group fetches next."""
        if self._topic is None:
            return
        group, line = self._joined()
        pop = self._held.pop
        group.acknowledge([stored for message in done if (stored := pop(message, None)) is not None])
        if returned:
            group.give_back([stored for message in returned if (stored := pop(message, None)) is not None])
            line.wake()
        if self._topic.publishers and self._topic.log.room() > 0:
            self._topic.publishers.wake()

    async def close(self) -> None:
        """Give back what is not settled. The group stays where it is, and so does its claim on new messages."""
        topic = self._topic
        if topic is None:
            return
        group, line = self._joined()
        self._topic = None
        group.give_back(self._held.values())
        self._held.clear()
        line.wake_all()
        if topic.log.passing:  # an inbox goes with its only reader, or each `async with` would leave one behind
            del self._topics.by_name[self._name]

    def pending(self) -> int | None:
        """How many messages wait for the group; None while the source is not open."""
        return None if self._topic is None else self._joined()[0].waiting

    def __repr__(self) -> str:
        state = "closed" if self._topic is None else f"{self.pending()} waiting, {len(self._held)} held"
        return f"<source of {self._name} for {self._group_name}: {state}>"


class MemorySink:
    """Writes to any topic of its broker. Not for use by two threads.

    `publish` waits while the slowest group of a topic lags by its capacity. Cancelled, it may have published the
    first messages of the run.
    """

    def __init__(self, topics: Topics, destination: str, capacity: int | None = None) -> None:
        self._topics = topics
        self._destination = destination
        self._capacity = capacity
        self._opened = False
        self._run = 0

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._destination

    async def open(self) -> None:
        """Ready at once: there is nothing to connect to."""
        self._opened = True

    async def publish(self, run: Sequence[Message]) -> None:
        """Append a run in order; where it has several destinations, in order for each of them.

        Refused with `PublishError`: a body that is not bytes or longer than the broker's `max_bytes`, keys and
        headers that no wire could carry. The rest of the run is published.
        """
        if not self._opened:
            raise BrokerUnavailable(f"this sink of {self._destination} is closed: open it before publishing")
        self._run += len(run)
        if self._run >= YIELD_EVERY:
            self._run = 0
            await checkpoint()
        parts, failures = self._accept(run)
        for name, part in parts.items():
            await self._append(name, part)
        if failures:
            raise PublishError(failures)

    def _accept(self, run: Sequence[Message]) -> tuple[dict[str, list[Stored]], dict[int, Exception]]:
        """What is to be stored, by destination, and what is refused, by its index in the run."""
        now, most = time(), self._topics.max_bytes
        parts: dict[str, list[Stored]] = {}
        failures: dict[int, Exception] = {}
        given: Headers | None = None
        kept: dict[str, str | bytes] | None = None
        for index, message in enumerate(run):
            raw = message.raw
            stored = _new(Stored)
            try:
                stored.raw = raw if type(raw) is bytes and len(raw) <= most else _body(raw, most)
                stored.key = None if message.key is None else wire.text(message.key, "the key")
                if message.headers is not given:  # what messages of a run share, what is stored shares too
                    kept = wire.headers(message.headers) if message.headers else None
                    given = message.headers
                stored.headers = kept
            except (TypeError, ValueError) as error:
                failures[index] = error
                continue
            origin, stored.source = message.origin, message.destination
            stored.id = origin.id
            stored.correlation_id = origin.correlation_id
            stored.reply_to = message.reply_to
            stored.timestamp = now
            stored.partition = 0
            stored.record = None
            part = parts.get(message.destination)
            if part is None:
                part = parts[message.destination] = []
            part.append(stored)
        return parts, failures

    async def _append(self, name: str, run: list[Stored]) -> None:
        if name.startswith(INBOX) and name not in self._topics.by_name:
            self._topics.undeliverable += len(run)
            return
        topic = self._topics.open(name, self._capacity)
        log, line = topic.log, topic.publishers
        if not line and len(run) <= log.room():
            topic.append(run)
            return
        with line.join() as place:
            at = 0
            while at < len(run):
                room = log.room()
                if place.first and room > 0:
                    topic.append(run[at : at + room])
                    at += room
                else:
                    await place.wait()

    async def close(self) -> None:
        """Nothing to let go of; publishing needs `open` again."""
        self._opened = False


_new = Stored.__new__


def _body(raw: object, most: int) -> bytes | None:
    """The body, or a TypeError or ValueError that says why it is none. None is a tombstone."""
    if raw is not None and not isinstance(raw, bytes):
        raise TypeError(f"the body is {type(raw).__name__}: expected bytes, it is encoded before it is published")
    if raw is not None and len(raw) > most:
        raise ValueError(f"the body has {len(raw)} bytes, the broker takes max_bytes={most}")
    return raw
