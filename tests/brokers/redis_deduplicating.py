"""A process with an engine, to be killed: passes on what it has not done yet, and remembers that in Redis."""

import sys

import anyio
from pydantic import BaseModel

from headrace import Deduplicate, Engine, Redis, Topology


class Numbered(BaseModel):
    id: int


url, name = sys.argv[1:]
redis = Redis(url, min_idle=1, consumer="the-process")
topology = Topology(name)


@topology.publisher(redis.stream(f"{name}.out"))
@topology.subscriber(redis.stream(name), deduplicate=Deduplicate(by="id", store=redis), max_workers=16, mailbox=64)
async def handle(number: Numbered) -> Numbered:
    await anyio.sleep(0.001)
    return number


anyio.run(lambda: Engine(topology.graph()).run(burst=True))
