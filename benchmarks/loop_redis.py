"""Redis streams by hand, on redis-py: runs of entries, one pipeline a run."""

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis as Client

from benchmarks.work import READ, Crowd, decode, encode, handle, number_of
from headrace import Redis

GROUP = "loop"


class RedisLoops:
    """Redis streams."""

    name = "redis"

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self) -> Client:
        return Client.from_url(self.url, protocol=2, socket_timeout=None)

    async def fill(self, source: str, target: str, bodies: Iterable[bytes]) -> None:
        async with self.client() as client:
            await client.xgroup_create(source, GROUP, id="0", mkstream=True)
            run = list(bodies)
            for start in range(0, len(run), 1000):
                async with client.pipeline(transaction=False) as pipe:
                    for raw in run[start : start + 1000]:
                        pipe.xadd(source, {"body": raw})
                    await pipe.execute()

    async def bridge(self, source: str, target: str, count: int) -> None:
        async with self.client() as client:
            done = 0
            while done < count:
                [(_, entries)] = await client.xreadgroup(GROUP, "me", {source: ">"}, count=READ, block=1000)
                async with client.pipeline(transaction=False) as pipe:
                    for _, fields in entries:
                        pipe.xadd(target, {"body": encode(await handle(decode(fields[b"body"])))})
                    await pipe.execute()
                await client.xack(source, GROUP, *(id for id, _ in entries))
                done += len(entries)

    async def slow(self, source: str, target: str, count: int, tasks: int) -> None:
        async with self.client() as client, self.client() as reader:
            crowd = Crowd(tasks)
            feeding = asyncio.create_task(self._feed(reader, source, crowd, count))
            done = 0
            while done < count:
                run = await crowd.done()
                async with client.pipeline(transaction=False) as pipe:
                    for _, raw in run:
                        pipe.xadd(target, {"body": raw})
                    await pipe.execute()
                await client.xack(source, GROUP, *(id for id, _ in run))
                done += len(run)
            await feeding

    async def _feed(self, client: Client, source: str, crowd: Crowd, count: int) -> None:
        while count:
            [(_, entries)] = await client.xreadgroup(GROUP, "me", {source: ">"}, count=READ, block=1000)
            for id, fields in entries:
                await crowd.start(id, fields[b"body"])
            count -= len(entries)

    async def read(self, target: str, count: int) -> list[int]:
        async with self.client() as client:
            return [number_of(fields[b"body"]) for _, fields in await client.xrange(target)]

    def endpoints(self, source: str, target: str) -> tuple[Any, Any]:
        redis = Redis(self.url)
        return redis.stream(source, group=GROUP), redis.stream(target)
