"""`RedisSeen`: what was done, for several engines: a sorted set of identities, each with the time it was done."""

from collections.abc import Callable, Sequence
from math import ceil
from time import time

from redis.exceptions import ResponseError

from engine.redis.connection import Command
from engine.redis.errors import answer
from engine.redis.options import Target
from engine.redis.wire import Servers, Wire, chunks

AT_ONCE = 2048
"""Identities in one command."""


class RedisSeen:
    """`Seen` in one key, so that it is on one node of a cluster; about 100 bytes an identity.

    Times are those of the engines: their clocks should agree to much less than the window. The key goes when nothing
    was added for a window. What the server loses (a restart without persistence, an eviction) is handled again.
    """

    def __init__(self, target: Target, name: str, window: float, most: int, now: Callable[[], float] = time) -> None:
        self._key = f"headrace.seen.{name}"
        self._window = window
        self._most = most
        self._now = now
        self._wire = Wire(Servers(target), self._key)

    async def open(self) -> None:
        """Connect. Raises `BrokerRefused` where the key holds something else, or the server is too old."""
        await self.known([b""])

    async def known(self, identities: Sequence[bytes]) -> list[bool]:
        """Whether each was kept within the window: one command for all."""
        since = self._now() - self._window
        found: list[bool] = []
        for part in chunks(identities, AT_ONCE):
            scores = await self._wire.ask("ZMSCORE", self._key, *part)
            found += [score is not None and float(score) > since for score in scores]
        return found

    async def keep(self, identities: Sequence[bytes]) -> None:
        """Write them down, and let go of the oldest: one exchange."""
        key, now = self._key, self._now()
        commands: list[Command] = []
        for part in chunks(identities, AT_ONCE):
            pairs: list[str | bytes] = []
            for identity in part:
                pairs += (repr(now), identity)
            commands.append(("ZADD", key, *pairs))
        commands += [
            ("ZREMRANGEBYSCORE", key, "-inf", repr(now - self._window)),
            ("ZREMRANGEBYRANK", key, 0, -self._most - 1),
            ("PEXPIRE", key, ceil(self._window * 1000)),
        ]
        for reply in await self._wire.exchange(commands):
            if isinstance(reply, ResponseError):
                raise answer(reply, self._wire.where)

    async def ping(self) -> None:
        """Return when the server has answered."""
        await self._wire.ask("PING")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._wire.close()

    def __repr__(self) -> str:
        return f"<remembers in {self._key} for {self._window:g} s>"
