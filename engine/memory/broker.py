"""`Memory`: the embedded broker. No server, the whole contract: groups, bounds, redelivery, request and reply."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from actors import Capabilities, Description, Message, Server
from engine.brokers.endpoint import INBOX, Enterable, Reachable
from engine.memory.log import LogStatistics
from engine.memory.ports import MemorySink, MemorySource
from engine.memory.topics import Topics, unpack

QUEUE = "queue"
"""The one group of a topic that stands for a queue or a list."""

MEMORY = Capabilities(groups=True, replies=True, embedded=True)
"""What the embedded broker can do."""


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """What a broker holds, by topic. `undeliverable` replies came after those who asked had gone."""

    topics: Mapping[str, LogStatistics]
    undeliverable: int


class Memory(Enterable):
    """A broker in this process, for one event loop at a time; what it holds lasts as long as the object.

    A topic is made when it is first used, and keeps its most recent `capacity` messages. Each of its groups gets
    every one of them, and those who publish wait while the slowest group has `capacity` messages that it has
    not acknowledged, fetched or not. A group stays when its sources are closed: one that is never read again
    holds the publishers up. A topic without a group lets its oldest expire, and counts them.

    `max_bytes` is the longest body that it takes; None sets no limit.
    """

    system = "memory"

    def __init__(self, name: str = "memory", capacity: int = 10_000, *, max_bytes: int | None = None) -> None:
        self.name = name
        self.capacity = _at_least_one("Memory(capacity", capacity)
        self.max_bytes = None if max_bytes is None else _at_least_one("Memory(max_bytes", max_bytes)
        self._topics = Topics(capacity, max_bytes)

    def topic(self, name: str, group: str | None = None, capacity: int | None = None) -> "MemoryTopic":
        """A topic as an endpoint. `group` goes before the one that a stage would choose.

        `capacity` belongs to the topic: one number for it everywhere, given before it is first used.
        """
        if not name:
            raise ValueError(f"topic({name!r}): expected a name")
        if capacity is not None:
            self._declare(name, _at_least_one(f"topic({name!r}, capacity", capacity))
        return MemoryTopic(self, name, group, capacity)

    def queue(self, name: str, **options: Any) -> "MemoryTopic":
        """In the place of a RabbitMQ queue: those who take from it share what comes. Options mean nothing here."""
        return self.topic(name, group=QUEUE)

    def stream(self, name: str, subject: str | None = None, group: str | None = None, **options: Any) -> "MemoryTopic":
        """In the place of a stream of Redis, or of JetStream, whose `subject` is the topic then."""
        return self.topic(subject or name, group=group or options.get("durable"))

    def subject(self, name: str, queue: str | None = None) -> "MemoryTopic":
        """In the place of a NATS subject without wildcards; at least once here, where NATS delivers at most once."""
        return self.topic(name, group=queue)

    def list(self, name: str, **options: Any) -> "MemoryTopic":
        """In the place of a Redis list: those who take from it share what comes."""
        return self.topic(name, group=QUEUE)

    def _declare(self, name: str, capacity: int) -> None:
        topic = self._topics.by_name.get(name)
        known = topic.log.capacity if topic else self._topics.declared.setdefault(name, capacity)
        if known != capacity:
            raise ValueError(f"topic({name!r}, capacity={capacity}): it has one of {known} already; keep to one")

    def messages(self, name: str) -> Sequence[Message]:
        """Copies of the messages that a topic retains, oldest first; none where there is no such topic."""
        topic = self._topics.by_name.get(name)
        return unpack(topic.log.retained, {}) if topic else []

    def statistics(self) -> MemoryStatistics:
        """What it holds, and how far each group is."""
        topics = {name: topic.log.statistics() for name, topic in self._topics.by_name.items()}
        return MemoryStatistics(topics, self._topics.undeliverable)

    def inbox(self) -> "MemoryTopic":
        """A new endpoint for replies; it goes when its source is closed."""
        return MemoryTopic(self, f"{INBOX}{uuid4().hex}")

    def __repr__(self) -> str:
        return f"<Memory {self.name}: {len(self._topics.by_name)} topics>"


@dataclass(frozen=True, slots=True)
class MemoryTopic(Reachable):
    """A topic of an embedded broker, as a value."""

    broker: Memory
    name: str
    group: str | None = None
    capacity: int | None = field(default=None, compare=False)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return MEMORY

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        declared = {"group": self.group, "capacity": self.capacity}
        return {name: value for name, value in declared.items() if value is not None}

    def describe(self, group: str | None) -> Description:
        """The topic, for documents."""
        server = Server(self.broker.name, "memory")
        return Description(server, "topic", self.name, reply_to="reply_to", correlation_id="correlation_id")

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves every topic."""
        return MemoryTopic

    def source(self, group: str, bound: int = 256) -> MemorySource:
        """A new source, for the group that the endpoint names or else for this one."""
        return MemorySource(self.broker._topics, self.name, self.group or group, self.capacity)

    def sink(self) -> MemorySink:
        """A new sink; topics that it is the first to use get the endpoint's capacity."""
        return MemorySink(self.broker._topics, self.name, self.capacity)

    def dead_letter(self) -> "MemoryTopic":
        """`{name}.dead` on the same broker."""
        return MemoryTopic(self.broker, f"{self.name}.dead", QUEUE if self.group == QUEUE else None)

    def reply_to(self, destination: str) -> "MemoryTopic":
        """The topic or inbox of that name."""
        return MemoryTopic(self.broker, destination)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.broker.name}.topic({self.name!r}{options})"


def _at_least_one(what: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{what}={value!r}): expected a whole number, at least 1")
    return value
