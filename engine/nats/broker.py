"""`Nats`: streams of JetStream and subjects of core NATS, on nats-py."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from actors import Capabilities, Description, TopologyError
from engine.brokers.endpoint import INBOX, Declared, Enterable
from engine.nats.core import SubjectSink, SubjectSource
from engine.nats.declare import Place, Reader, Start, covers, durable_name, is_pattern
from engine.nats.described import describe_stream, describe_subject
from engine.nats.jetstream import StreamSource
from engine.nats.options import Target
from engine.nats.sink import StreamSink

STREAM = Capabilities(groups=True, persistent=True, replies=True)
"""What a stream of JetStream can do."""
CORE = Capabilities(groups=True, redelivery=False, replies=True)
"""What a subject can do: at most once, and to those who listen at that moment."""
INBOXES = Capabilities(redelivery=False)
"""What an inbox can do: nobody but the one who asked reads it, once."""
LEAST = 1000
"""Unsettled messages that a consumer allows at least, for all its sources together."""


class Nats(Enterable):
    """A NATS server or cluster, version 2.10 or newer for JetStream.

    `nats://user:password@host:4222`, `nats://token@host`, `tls://` for TLS; several servers as a list, or separated by
    commas. Options may also be given as a URL's query; those given as keywords go before. They are the fields of
    `NatsOptions`. With `tls://` nothing is said to a server that speaks no TLS.

    Raises `TopologyError` for a URL that cannot be read and for an unknown option, and tells no password.
    """

    system = "nats"

    def __init__(self, servers: str | Sequence[str] = "nats://localhost:4222", **options: Any) -> None:
        self.target = Target(servers, options)

    def stream(
        self,
        stream: str,
        subject: str | None = None,
        durable: str | None = None,
        start: Start = "earliest",
        declare: bool | None = None,
    ) -> "NatsStream":
        """A stream of JetStream, read by a durable pull consumer: at least once.

        `subject` is what is published to and read, wildcards included when it is read; without it all of the stream is
        read, and the stream's name is published to. The consumer is called `durable`, or else after the group that a
        stage chooses; one that is new begins at `start`. A stream that is missing is declared, and one that Headrace
        has declared gets the subject where it lacks it; with `declare=True` any stream does, with False nothing is
        declared.
        """
        if start not in ("earliest", "latest"):
            raise TopologyError(f"stream({stream!r}, start={start!r})", remedy='write "earliest" or "latest"')
        for what, name in (("stream", stream), ("durable", durable)):
            if name is not None and (not name or any(each in name for each in ". \t\r\n*>/\\")):
                raise TopologyError(f"stream({what}={name!r})", remedy="write a name without . * > / \\ and spaces")
        return NatsStream(self, _subject(subject or stream), stream, subject is not None, durable, start, declare)

    def subject(self, name: str, queue: str | None = None) -> "NatsSubject":
        """A subject of core NATS, wildcards included when it is read: at most once.

        Messages reach those who listen when they are published. Those who read for the same `queue` share them; it is
        the group that a stage chooses unless it is given; with `queue=""` everybody gets everything.
        """
        return NatsSubject(self, _subject(name), queue)

    def inbox(self) -> "NatsSubject":
        """A new endpoint for replies."""
        return NatsSubject(self, f"{self.inboxes}{uuid4().hex}", "")

    @property
    def inboxes(self) -> str:
        """What the names of inboxes begin with: a user whose rights are few has one to this."""
        return f"{self.target.options.inbox_prefix}.{INBOX}"

    def __repr__(self) -> str:
        return f"Nats({self.target.where!r})"


class _Endpoint(Declared):
    """What the endpoints have in common."""

    __slots__ = ()
    broker: Nats

    def reply_to(self, destination: str) -> "NatsSubject":
        """The subject of that name."""
        return NatsSubject(self.broker, destination)


@dataclass(frozen=True, slots=True, repr=False)
class NatsStream(_Endpoint):
    """A subject of a stream, as a value."""

    broker: Nats
    name: str
    stream: str
    named: bool = True
    durable: str | None = None
    start: Start = "earliest"
    declare: bool | None = None
    anywhere: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return replace(STREAM, pattern=is_pattern(self.name))

    def describe(self, group: str | None) -> Description:
        """The subject as AsyncAPI has it; streams and consumers are more than its bindings know."""
        consumer = self._consumer(group) if group is not None else ""
        return describe_stream(self.broker.target, self.place, consumer)

    @property
    def sink_kind(self) -> Hashable:
        """A sink serves one subject of one stream: it sees to it that there is a stream for it."""
        return self

    @property
    def place(self) -> Place:
        """The subject in its stream."""
        return Place(self.stream, self.name, self.named, self.declare, self.anywhere)

    def reader(self, group: str, bound: int) -> Reader:
        """The consumer that the endpoint names, or else one for this group."""
        wanted = self.name if self.named else None
        return Reader(self._consumer(group), wanted, self.start, max(LEAST, 4 * bound))

    def source(self, group: str, bound: int = 256) -> StreamSource:
        """A new source, by that consumer."""
        return StreamSource(self.broker.target, self.place, self.reader(group, bound), bound)

    def _consumer(self, group: str) -> str:
        return self.durable or durable_name(group, self.name if self.named else "")

    def sink(self) -> StreamSink:
        """A new sink."""
        return StreamSink(self.broker.target, self.place)

    def as_it_is(self) -> "NatsStream":
        """The same subject; nothing is declared."""
        return replace(self, declare=False)

    def covers(self, name: str) -> bool:
        """Whether what is read here may have come from there."""
        return not self.named or covers(self.name, name)

    def dead_letter(self) -> "NatsStream":
        """`{subject}.dead`, in whichever stream has it, or else in the stream `{stream}-dead`."""
        stream = self.stream if self.stream.endswith("-dead") else f"{self.stream}-dead"
        return NatsStream(self.broker, _dead(self.name), stream, declare=self.declare, anywhere=True)


@dataclass(frozen=True, slots=True, repr=False)
class NatsSubject(_Endpoint):
    """A subject of core NATS, as a value."""

    broker: Nats
    name: str
    queue: str | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return INBOXES if self._own else replace(CORE, pattern=is_pattern(self.name))

    def describe(self, group: str | None) -> Description:
        """The subject as AsyncAPI has it."""
        return describe_subject(self.broker.target, self.name, "" if group is None else self._queue_of(group))

    @property
    def _own(self) -> bool:
        return self.name.startswith(self.broker.inboxes)

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves every subject."""
        return NatsSubject

    def source(self, group: str, bound: int = 256) -> SubjectSource:
        """A new source, for the queue that the endpoint names or else for this group."""
        return SubjectSource(self.broker.target, self.name, self._queue_of(group), own=self._own)

    def _queue_of(self, group: str) -> str:
        return "_".join((group if self.queue is None else self.queue).split())

    def sink(self) -> SubjectSink:
        """A new sink for this and any other subject."""
        return SubjectSink(self.broker.target, self.name, self.broker.inboxes)

    def covers(self, name: str) -> bool:
        """Whether what is read here may have come from there."""
        return covers(self.name, name)

    def dead_letter(self) -> NatsStream:
        """`{name}.dead`, in a stream of JetStream: on a subject that nobody listens to a dead letter would be lost."""
        return NatsStream(self.broker, _dead(self.name), "headrace-dead", anywhere=True)


def _dead(name: str) -> str:
    """Where dead letters go: not where a wildcard would find them again."""
    tokens = {"*": "any", ">": "all"}
    plain = ".".join(tokens.get(token, token) for token in name.split("."))
    return f"{plain}.dead" if plain == name else f"dead.{plain}"


def _subject(name: str) -> str:
    tokens = str(name).split(".")
    last = len(tokens) - 1
    if any(not token or any(each in token for each in " \t\r\n") for token in tokens) or any(
        (token == ">" and at != last) or (len(token) > 1 and ("*" in token or ">" in token))
        for at, token in enumerate(tokens)
    ):
        raise TopologyError(f"a NATS subject {name!r}", remedy="write names between dots; * for one, > for the rest")
    return name
