"""`RedisStream`, `RedisList`, `RedisChannel` and `RedisInbox`: what is read and published to, as values."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from actors import Capabilities, Description, Message
from engine.brokers.endpoint import INBOX, Declared
from engine.redis.channel import ChannelSource, is_pattern
from engine.redis.connection import Command, pack
from engine.redis.described import describe
from engine.redis.fields import adding
from engine.redis.group import Start
from engine.redis.inbox import InboxSource
from engine.redis.list import ListSource, Side
from engine.redis.server import Server
from engine.redis.sink import RedisSink
from engine.redis.stream import StreamSource
from engine.redis.values import value_of

STREAM = Capabilities(groups=True, persistent=True, replies=True, braces=True)
"""What a stream can do. Braces in its name are a hash tag, which says where in a cluster it lies."""
LIST = Capabilities(persistent=True, replies=True, braces=True)
"""What a list can do."""
CHANNEL = Capabilities(groups=True, redelivery=False, replies=True, braces=True)
"""What pub/sub can do: at most once, and to those who listen at that moment."""
INBOXES = Capabilities(redelivery=False)
"""What an inbox can do: nobody but the one who asked reads it, once."""


class _Endpoint(Declared):
    """What the endpoints have in common."""

    __slots__ = ()
    broker: Server

    def reply_to(self, destination: str) -> "RedisInbox":
        """The list of that name, which expires."""
        return RedisInbox(self.broker, destination)

    def describe(self, group: str | None) -> Description:
        """It as AsyncAPI has it: there the bindings of Redis are without a word of their own."""
        kind = self.kind
        own = getattr(self, "group", None) or group if kind == "stream" and group is not None else None
        return describe(self.broker.target, kind, self.name, own, reading=group is not None)


@dataclass(frozen=True, slots=True, repr=False)
class RedisStream(_Endpoint):
    """A stream, as a value."""

    broker: Server
    name: str
    group: str | None = None
    start: Start = "earliest"
    maxlen: int | None = None
    make: bool = True
    """Whether publishing makes it where it is missing."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return STREAM

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves every stream that is trimmed alike."""
        return RedisStream, self.maxlen, self.make

    def source(self, group: str, bound: int = 256) -> StreamSource:
        """A new source, for the group that the endpoint names or else for this one."""
        return StreamSource(self.broker.target, self.name, self.group or group, self.start)

    def sink(self) -> RedisSink:
        """A new sink for this and any other stream."""
        trim: tuple[str | int, ...] = () if self.maxlen is None else ("MAXLEN", "~", self.maxlen)
        trim = trim if self.make else ("NOMKSTREAM", *trim)
        return RedisSink(self.broker.target, self.name, adding(trim), "stream")

    def as_it_is(self) -> "RedisStream":
        """The same stream, which publishing does not make."""
        return replace(self, make=False)

    def dead_letter(self) -> "RedisStream":
        """The stream `{name}.dead`."""
        return RedisStream(self.broker, f"{self.name}.dead")


@dataclass(frozen=True, slots=True, repr=False)
class RedisList(_Endpoint):
    """A list, as a value."""

    broker: Server
    name: str
    push: Side = "right"
    plain: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return replace(LIST, ids=False) if self.plain else LIST

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves every list that is filled alike."""
        return RedisList, self.push, self.plain

    def source(self, group: str, bound: int = 256) -> ListSource:
        """A new source; lists have no groups."""
        return ListSource(self.broker.target, self.name, self.push, self.plain)

    def sink(self) -> RedisSink:
        """A new sink for this and any other list."""
        command, plain = "RPUSH" if self.push == "right" else "LPUSH", self.plain

        def encode(message: Message) -> bytes:
            return pack((command, message.destination, value_of(message, plain)))

        return RedisSink(self.broker.target, self.name, encode, "list")

    def dead_letter(self) -> "RedisList":
        """The list `{name}.dead`."""
        return RedisList(self.broker, f"{self.name}.dead")


@dataclass(frozen=True, slots=True, repr=False)
class RedisChannel(_Endpoint):
    """A pub/sub channel or a pattern, as a value."""

    broker: Server
    name: str
    plain: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return replace(CHANNEL, ids=not self.plain, pattern=is_pattern(self.name))

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves every channel."""
        return RedisChannel, self.plain

    def source(self, group: str, bound: int = 256) -> ChannelSource:
        """A new source; each gets every message."""
        return ChannelSource(self.broker.target, self.name)

    def sink(self) -> RedisSink:
        """A new sink for this and any other channel."""
        plain = self.plain

        def encode(message: Message) -> bytes:
            return pack(("PUBLISH", message.destination, value_of(message, plain)))

        return RedisSink(self.broker.target, self.name, encode)

    def covers(self, name: str) -> bool:
        """Whether what is read here may have come from there."""
        return fnmatchcase(name, self.name)

    def dead_letter(self) -> RedisStream:
        """The stream `{name}.dead`: on a channel that nobody listens to a dead letter would be lost."""
        return RedisStream(self.broker, f"{self.name}.dead")


@dataclass(frozen=True, slots=True, repr=False)
class RedisInbox(_Endpoint):
    """A list for the answers to requests. It goes when its source is closed, or after `reply_expiry` seconds."""

    broker: Server
    name: str

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return INBOXES

    @property
    def sink_kind(self) -> Hashable:
        """One sink serves every inbox."""
        return RedisInbox

    def source(self, group: str, bound: int = 256) -> InboxSource:
        """A new source."""
        return InboxSource(self.broker.target, self.name)

    def sink(self) -> RedisSink:
        """A new sink for this and any other inbox."""
        expiry = round(self.broker.target.options.reply_expiry * 1000)

        def encode(message: Message) -> bytes:
            name = message.destination
            # Whoever asks names the list: one of work must not expire for that. Two commands, as all have two answers.
            last: Command = ("PEXPIRE", name, expiry) if name.startswith(INBOX) else ("EXISTS", name)
            return pack(("RPUSH", name, value_of(message))) + pack(last)

        return RedisSink(self.broker.target, self.name, encode, answers=2)

    def dead_letter(self) -> RedisStream:
        """The stream `{name}.dead`."""
        return RedisStream(self.broker, f"{self.name}.dead")
