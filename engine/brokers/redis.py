"""`Redis`: streams with consumer groups, lists, and pub/sub channels, on redis-py."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from actors import Capabilities, Message, TopologyError
from engine.brokers.endpoint import INBOX, Enterable, Reachable
from engine.brokers.redis_channel import ChannelSource
from engine.brokers.redis_fields import fields_of, value_of
from engine.brokers.redis_inbox import InboxSource
from engine.brokers.redis_list import ListSource, Side
from engine.brokers.redis_options import Target
from engine.brokers.redis_sink import RedisSink
from engine.brokers.redis_stream import Start, StreamSource, Subscription
from engine.brokers.redis_wire import pack

STREAM = Capabilities(groups=True, persistent=True, replies=True)
"""What a stream can do."""
LIST = Capabilities(persistent=True, replies=True)
"""What a list can do."""
CHANNEL = Capabilities(groups=True, redelivery=False, replies=True)
"""What pub/sub can do: at most once, and to those who listen at that moment."""


class Redis(Enterable):
    """A Redis server, version 6.2 or newer, or several that make one service.

    `redis://user:password@host:6379/0`, `rediss://` for TLS; `redis+sentinel://host:26379,host2:26379/service`;
    `redis-cluster://host:6379,host2:6379`, or any with `cluster=True`; `unix:///path`. Options
    may also be given as the URL's query; those given as keywords go before. They are the fields of `RedisOptions`.

    Raises `TopologyError` for a URL that cannot be read and for an unknown option, and tells no password.
    """

    system = "redis"

    def __init__(self, url: str = "redis://localhost:6379/0", **options: Any) -> None:
        self.target = Target(url, options)

    def stream(
        self, name: str, group: str | None = None, start: Start = "earliest", maxlen: int | None = None
    ) -> "RedisStream":
        """A stream, read as a consumer group: at least once.

        `group` goes before the one that a stage would choose; a group that is new begins at `start`. Publishers trim the
        stream to about `maxlen` entries, read or not: without it the stream grows without end.
        """
        if start not in ("earliest", "latest"):
            raise TopologyError(f"stream({name!r}, start={start!r})", remedy='write "earliest" or "latest"')
        if maxlen is not None and (type(maxlen) is not int or maxlen < 1):
            raise TopologyError(f"stream({name!r}, maxlen={maxlen!r})", remedy="write a whole number, at least 1")
        return RedisStream(self, _named("stream", name), group, start, maxlen)

    def list(self, name: str, push: Side = "right", plain: bool = False) -> "RedisList":
        """A list as a queue: at least once, each message to one consumer.

        It is filled at the end that `push` names, and read at the other. `plain` publishes bodies and nothing else, for
        readers who know nothing of keys and headers.
        """
        if push not in ("left", "right"):
            raise TopologyError(f"list({name!r}, push={push!r})", remedy='write "left" or "right"')
        return RedisList(self, _named("list", name), push, plain)

    def channel(self, pattern: str, plain: bool = False) -> "RedisChannel":
        """A pub/sub channel, or all that match a pattern with `*`, `?` or `[]`: at most once.

        Messages reach those who listen when they are published, and nobody else. `plain` is as for lists.
        """
        return RedisChannel(self, _named("channel", pattern), plain)

    def inbox(self) -> "RedisInbox":
        """A new endpoint for replies: a list that expires."""
        return RedisInbox(self, f"{INBOX}{uuid4().hex}")

    def __repr__(self) -> str:
        return f"Redis({self.target.where!r})"


class _Endpoint(Reachable):
    """What the endpoints have in common."""

    __slots__ = ()
    broker: Redis
    name: str

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        return self._declared()

    def reply_to(self, destination: str) -> "RedisInbox":
        """The list of that name, which expires."""
        return RedisInbox(self.broker, destination)

    def _declared(self) -> Mapping[str, Any]:
        return {}

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        kind = type(self).__name__.removeprefix("Redis").lower()
        return f"{self.broker!r}.{kind}({self.name!r}{options})"
