"""`Kafka`: topics, read in groups and by pattern, written in batches; at least once, in order by key."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

from actors import BrokerError, Capabilities, Description, Sink, Source, TopologyError
from engine.brokers.endpoint import INBOX, Enterable, Reachable
from engine.kafka.described import describe
from engine.kafka.options import KafkaOptions
from engine.kafka.place import LEGAL, Place

KAFKA = Capabilities(groups=True, persistent=True, partitioned=True, replies=True)
"""What a topic of Kafka can do: its order is that of each partition, and so of each key."""
PATTERN = replace(KAFKA, pattern=True, braces=True)
"""What many of them can do: a regular expression may have braces."""
_FIELD = re.compile(r"\{[^{}]*\}")


class Kafka(Enterable):
    """An Apache Kafka, 2.4 or newer, or what speaks its protocol: `Kafka("host:9092,other:9092", ...)`.

    The keywords are those of `KafkaOptions`. Opens nothing. Raises `TopologyError` for an option that there is not.
    """

    system = "kafka"

    def __init__(self, bootstrap_servers: str | list[str] | tuple[str, ...] = "localhost:9092", **options: Any) -> None:
        self.options = KafkaOptions.of({"servers": bootstrap_servers, **options})
        if self.options.client:
            from engine.kafka import client as kafka_client

            kafka_client.check(self.options)

    @classmethod
    def of_url(cls, url: str) -> "Kafka":
        """The broker at `kafka://user:password@host:9092,other:9092?option=value`."""
        made = KafkaOptions.of_url(url)
        return cls(made.servers, **{name: getattr(made, name) for name in made.model_fields_set - {"servers"}})

    def topic(
        self,
        name: str | None = None,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        *,
        pattern: str | None = None,
        partitions: int | None = None,
        replication: int | None = None,
        transactional: bool = False,
    ) -> "KafkaTopic":
        """A topic, or with `pattern` all topics whose whole names match it, also those that are made later.

        `group` goes before the one that a stage would choose; `start` is where a group begins that has committed
        nothing. `partitions` and `replication` are for a topic that has to be made.
        """
        if transactional:
            raise TopologyError(
                f"topic({name!r}, transactional=True): transactions are not available yet",
                remedy="without it every message is published at least once: make what handles them idempotent, by key",
            )
        if (name is None) == (pattern is None):
            raise TopologyError("topic(...) takes a name or a pattern=", remedy='write topic("orders")')
        if start not in ("earliest", "latest"):
            raise TopologyError(f"topic({name!r}, start={start!r}): start is earliest or latest")
        for what, count in (("partitions", partitions), ("replication", replication)):
            if count is not None and (type(count) is not int or count < 1):
                raise TopologyError(f"topic({name!r}, {what}={count!r}): expected a whole number, at least 1")
        if pattern is not None:
            _check_pattern(pattern)
        elif not LEGAL.fullmatch(_FIELD.sub("x", name or "")) or name in (".", ".."):
            raise TopologyError(
                f"topic({name!r}) is no name for a topic of Kafka",
                remedy="use 1 to 249 letters, digits, dots, underscores and hyphens; {field} is filled in",
            )
        return KafkaTopic(self, name or pattern or "", group, start, pattern is not None, partitions, replication)

    def inbox(self) -> "KafkaTopic":
        """A new endpoint for replies: a topic of its own, which goes with its source, or `reply_topic`."""
        return KafkaTopic(self, self.options.reply_topic or f"{INBOX}{uuid4().hex}", inbox=True)

    def __repr__(self) -> str:
        return f"<Kafka {self.options.where}>"


@dataclass(frozen=True, slots=True)
class KafkaTopic(Reachable):
    """A topic, or a pattern of topics, as a value."""

    broker: Kafka
    name: str
    group: str | None = None
    start: str = "earliest"
    pattern: bool = False
    partitions: int | None = None
    replication: int | None = None
    inbox: bool = False
    create: bool = True
    """Whether it may be made where it is missing."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return PATTERN if self.pattern else KAFKA

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        declared = {
            "group": self.group,
            "start": self.start if self.start != "earliest" else None,
            "pattern": self.pattern or None,
            "partitions": self.partitions,
            "replication": self.replication,
        }
        return {name: value for name, value in declared.items() if value is not None}

    def describe(self, group: str | None) -> Description:
        """The topic as AsyncAPI has it."""
        return describe(self.broker.options, self.place, None if group is None else self.group or group)

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves all topics that are made in the same way."""
        return KafkaTopic, self.partitions, self.replication, self.create

    def source(self, group: str, bound: int = 256) -> Source:
        """A new source, for the group that the endpoint names or else for this one."""
        if self.inbox:
            from engine.kafka.inbox import KafkaInbox

            return KafkaInbox(self.place, self.broker.options)
        from engine.kafka.source import KafkaSource

        return KafkaSource(self.place, self.broker.options, self.group or group)

    def sink(self) -> Sink:
        """A new sink, to this topic and any other of its broker."""
        if self.pattern:
            raise BrokerError(f"{self!r} is a pattern: publish to a topic by its name")
        from engine.kafka.sink import KafkaSink

        return KafkaSink(self.place, self.broker.options)

    @property
    def place(self) -> Place:
        """What a source or a sink has to know of it."""
        pattern = self.name if self.pattern else None
        dead = "" if self.inbox else self._dead
        return Place(self.name, pattern, self.start, self.partitions, self.replication, dead, self.create)

    @property
    def _dead(self) -> str:
        name = re.sub(r"[^A-Za-z0-9_-]+", ".", self.name).strip(".") if self.pattern else self.name
        return f"{name or 'pattern'}.dead"

    def dead_letter(self) -> "KafkaTopic":
        """`{name}.dead` on the same broker."""
        return KafkaTopic(self.broker, self._dead)

    def as_it_is(self) -> "KafkaTopic":
        """The same topic, or any that matches, never made."""
        return KafkaTopic(self.broker, "{topic}" if self.pattern else self.name, create=False)

    def covers(self, name: str) -> bool:
        """Whether what is read here may have come from there."""
        return re.fullmatch(self.name, name) is not None if self.pattern else self.name == name

    def reply_to(self, destination: str) -> "KafkaTopic":
        """The topic or inbox of that name, which is not made for it: whoever asks names what is there."""
        # A pattern is no topic: a sink for the replies to what it reads has none of its own to begin with.
        return KafkaTopic(self.broker, "{reply_to}" if destination == self.name else destination, create=False)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"kafka.topic({self.name!r}{options})"


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise TopologyError(
            f"topic(pattern={pattern!r}) is no regular expression: {error}", remedy=r'write pattern=r"orders\..*"'
        ) from None
