"""Redis streams by hand, on redis-py: entries in runs, one pipeline a run, acknowledgements in the next one."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from benchmarks.at_redis import client
from benchmarks.hands import GROUP, Taken


class Hands:
    """Two connections: one reads while the other writes."""

    windows = 1

    def __init__(self, url: str, source: str) -> None:
        self._source = source
        self._reader, self._writer = client(url), client(url)
        self._done: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.aclose()
        await self._writer.aclose()

    async def take(self, most: int) -> Taken:
        while True:
            found = await self._reader.xreadgroup(GROUP, "hand", {self._source: ">"}, count=most, block=1000)
            if found:
                return [(id, fields[b"body"]) for id, fields in found[0][1]]

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        async with self._writer.pipeline(transaction=False) as pipe:
            if self._done:
                pipe.xack(self._source, GROUP, *self._done)
                self._done = []
            for target in targets:
                for raw in bodies:
                    pipe.xadd(target, {"body": raw})
            await pipe.execute()

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        self._done += tokens
        if len(self._done) >= 1000:
            await self.flush()

    async def flush(self) -> None:
        done, self._done = self._done, []
        if done:
            await self._writer.xack(self._source, GROUP, *done)
