"""Redis streams as the harness fills, reads and removes them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis

from benchmarks.hands import GROUP, PREFIX


def client(url: str) -> Redis:
    """A client of redis-py. RESP2: its answers are the ones that both of our users read."""
    return Redis.from_url(url, protocol=2, socket_timeout=None)


class Places:
    """Streams; the source has a group that reads it from the beginning."""

    def __init__(self, url: str) -> None:
        self._client = client(url)

    async def __aenter__(self) -> Self:
        await self._client.ping()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def make(self, source: str, targets: Sequence[str]) -> None:
        await self._client.xgroup_create(source, GROUP, id="0", mkstream=True)

    async def put(self, place: str, bodies: Iterable[bytes]) -> None:
        waiting = iter(bodies)
        while run := list(islice(waiting, 1000)):
            async with self._client.pipeline(transaction=False) as pipe:
                for raw in run:
                    pipe.execute_command("XADD", place, "*", "body", raw)
                await pipe.execute()

    async def read(self, place: str) -> list[bytes]:
        entries: Any = await self._client.xrange(place)  # its types are those of RESP3 too
        return [body_of(fields) for _, fields in entries]

    async def follow(self, place: str) -> AsyncIterator[list[bytes]]:
        last: Any = "0"
        while True:
            found: Any = await self._client.xread({place: last}, count=1000, block=1000)
            for _, entries in found or ():
                last = entries[-1][0]
                yield [body_of(fields) for _, fields in entries]

    async def left(self) -> list[str]:
        return sorted([key.decode() async for key in self._client.scan_iter(f"{PREFIX}*")])

    async def remove(self, places: Sequence[str]) -> None:
        await self._client.delete(*places)


def body_of(fields: dict[bytes, bytes]) -> bytes:
    """The body of an entry, also of one that FastStream has written, which wraps it."""
    if (raw := fields.get(b"body")) is not None:
        return raw
    from faststream.redis.parser import BinaryMessageFormatV1

    return bytes(BinaryMessageFormatV1.parse(fields[b"__data__"])[0])
