"""A run's places on Redis, by redis-py: streams, read from their beginning with XRANGE."""

from collections.abc import Sequence
from typing import Any, ClassVar

from redis.asyncio import Redis

from tests.faults.oracle import Arrival
from tests.faults.peer import carried
from tests.servers.redis import Redis as Server

PAGE = 5_000
OLD = 300
"""Seconds after which a message at the source has long been handled."""


class AtRedis:
    """Streams of one Redis."""

    kind: ClassVar[type[Any]] = Server
    across: ClassVar[bool] = False

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.source, self.destination = name, f"{name}.out"
        self._client = Redis.from_url(server.open_url, socket_timeout=3, socket_connect_timeout=2)
        self._read: dict[str, bytes] = {}

    async def prepare(self) -> None:
        """Streams come into being with their first entry."""

    async def publish(self, run: Sequence[tuple[str, bytes]]) -> None:
        """Add the entries, one pipeline a run."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for _, body in run:
                _ = pipeline.xadd(self.source, {"body": body})
            await pipeline.execute()

    async def count(self) -> int:
        """How many are at the destination."""
        return int(await self._client.xlen(self.destination))

    async def arrived(self) -> list[Arrival]:
        """What is new at the destination."""
        return await self._new(self.destination)

    async def dead(self) -> list[Arrival]:
        """The new dead letters."""
        return await self._new(f"{self.source}.dead")

    async def _new(self, stream: str) -> list[Arrival]:
        found: list[Arrival] = []
        while True:
            after = self._read.get(stream)
            try:
                entries: Any = await self._client.xrange(stream, b"(" + after if after else "-", count=PAGE)
            except Exception:
                if found:
                    return found
                raise
            if not entries:
                return found
            self._read[stream] = entries[-1][0]
            found += [
                Arrival(fields[b"key"].decode() if b"key" in fields else None, carried(fields)) for _, fields in entries
            ]

    async def forget(self) -> None:
        """Drop what was read at the destination, and at the source what is older than a few minutes."""
        if (read := self._read.get(self.destination)) is not None:
            await self._client.xtrim(self.destination, minid=read, approximate=False)
        seconds, _ = await self._client.time()
        await self._client.xtrim(self.source, minid=f"{(int(seconds) - OLD) * 1000}-0")

    async def refuse(self) -> None:
        """Let it be out of memory: every command that writes is answered with OOM."""
        await self._client.config_set("maxmemory", "1mb")

    async def accept(self) -> None:
        """Let it have all the memory it wants."""
        await self._client.config_set("maxmemory", "0")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()
