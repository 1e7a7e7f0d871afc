"""`Redis`: streams with consumer groups, lists, and pub/sub channels, on redis-py."""

from uuid import uuid4

from actors import TopologyError
from engine.brokers.endpoint import INBOX
from engine.redis.endpoints import RedisChannel, RedisInbox, RedisList, RedisStream
from engine.redis.group import Start
from engine.redis.list import Side
from engine.redis.seen import RedisSeen
from engine.redis.server import Server


class Redis(Server):
    """A Redis server, version 6.2 or newer, or several that make one service.

    `redis://user:password@host:6379/0`, `rediss://` for TLS; `redis+sentinel://host:26379,host2:26379/service`;
    `redis-cluster://host:6379,host2:6379`, or any with `cluster=True`; `unix:///path`. Options
    may also be given as the URL's query; those given as keywords go before. They are the fields of `RedisOptions`.

    Raises `TopologyError` for a URL that cannot be read and for an unknown option, and tells no password.
    """

    def stream(
        self, name: str, group: str | None = None, start: Start = "earliest", maxlen: int | None = None
    ) -> RedisStream:
        """A stream, read as a consumer group: at least once.

        `group` goes before the one that a stage would choose; a group that is new begins at `start`. Publishers trim
        the stream to about `maxlen` entries, read or not: without it the stream grows without end.
        """
        if start not in ("earliest", "latest"):
            raise TopologyError(f"stream({name!r}, start={start!r})", remedy='write "earliest" or "latest"')
        if maxlen is not None and (type(maxlen) is not int or maxlen < 1):
            raise TopologyError(f"stream({name!r}, maxlen={maxlen!r})", remedy="write a whole number, at least 1")
        return RedisStream(self, _named("stream", name), group, start, maxlen)

    def list(self, name: str, push: Side = "right", plain: bool = False) -> RedisList:
        """A list as a queue: at least once, each message to one consumer.

        It is filled at the end that `push` names, and read at the other. `plain` publishes bodies and nothing else, for
        readers who know nothing of keys and headers.
        """
        if push not in ("left", "right"):
            raise TopologyError(f"list({name!r}, push={push!r})", remedy='write "left" or "right"')
        return RedisList(self, _named("list", name), push, plain)

    def channel(self, pattern: str, plain: bool = False) -> RedisChannel:
        """A pub/sub channel, or all that match a pattern with `*`, `?` or `[]`: at most once.

        Messages reach those who listen when they are published, and nobody else. `plain` is as for lists.
        """
        return RedisChannel(self, _named("channel", pattern), plain)

    def inbox(self) -> RedisInbox:
        """A new endpoint for replies: a list that expires."""
        return RedisInbox(self, f"{INBOX}{uuid4().hex}")

    def seen(self, name: str, window: float, most: int) -> RedisSeen:
        """What stages of that name have done, in the key `headrace.seen.{name}`: for `Deduplicate(store=...)`."""
        return RedisSeen(self.target, name, window, most)


def _named(kind: str, name: str) -> str:
    if not name or not isinstance(name, str):
        raise TopologyError(f"{kind}({name!r})", remedy="write a name")
    return name
