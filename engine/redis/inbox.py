"""`InboxSource`: the answers to requests, in a list that nobody else reads."""

from collections import deque
from collections.abc import Sequence

from actors import BrokerUnavailable, Message
from engine.redis.options import Target
from engine.redis.reading import Reading
from engine.redis.values import element
from engine.redis.wire import Servers, Wire

BLOCK = 5.0
"""Seconds that a read waits at the server."""


class InboxSource:
    """Reads a list at most once, and deletes it when it is closed."""

    def __init__(self, target: Target, name: str) -> None:
        self._list = name
        self._wire = Wire(Servers(target), name)
        self._reading: Reading[list[Message]] = Reading()
        self._ready: deque[Message] = deque()
        self._open = False

    async def open(self) -> None:
        """Connect."""
        try:
            await self._wire.ask("LLEN", self._list)
        except BaseException:
            await self._wire.close()
            raise
        self._open = True

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them in order."""
        while True:
            if not self._open:
                raise BrokerUnavailable(f"this source of {self._list} is closed: open it before fetching")
            if self._ready:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            self._ready.extend(await self._reading.result(lambda: self._next(limit)) or ())

    async def _next(self, limit: int) -> list[Message]:
        while True:
            values = await self._wire.ask("LPOP", self._list, limit)
            if not values:
                values = (await self._wire.ask("BLPOP", self._list, int(BLOCK), wait=BLOCK) or ())[1:]
            if values:
                return [element(self._list, value) for value in values]

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Nothing to tell: what was read is gone."""

    async def close(self) -> None:
        """Delete the list."""
        if not self._open:
            return
        self._open = False
        self._reading.wake()
        try:
            await self._reading.stop()
            await self._wire.exchange((("DEL", self._list),))
        except BrokerUnavailable:
            pass  # it expires
        finally:
            self._ready.clear()
            await self._wire.close()

    def pending(self) -> int | None:
        """Not known without asking the server."""
        return None
