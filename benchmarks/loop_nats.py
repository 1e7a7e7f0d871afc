"""NATS JetStream by hand, on nats-py: fetches of many, publishes side by side."""

import asyncio
from collections.abc import Iterable
from typing import Any

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.work import READ, Crowd, decode, encode, handle, number_of
from headrace import Nats

DURABLE = "loop"


class NatsLoops:
    """JetStream."""

    name = "nats"

    def __init__(self, url: str) -> None:
        self.url = url

    async def client(self) -> Client:
        return await nats.connect(self.url)

    async def fill(self, source: str, target: str, bodies: Iterable[bytes]) -> None:
        async with await self.client() as client:
            stream = client.jetstream()
            await stream.add_stream(name=source, subjects=[source])
            await stream.add_stream(name=target, subjects=[target])
            run = list(bodies)
            for start in range(0, len(run), 1000):
                await asyncio.gather(*(stream.publish(source, raw) for raw in run[start : start + 1000]))

    async def bridge(self, source: str, target: str, count: int) -> None:
        async with await self.client() as client:
            stream = client.jetstream()
            config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=4 * READ)
            pull = await stream.pull_subscribe(source, durable=DURABLE, stream=source, config=config)
            done = 0
            while done < count:
                run = await pull.fetch(READ, timeout=5)
                results = [encode(await handle(decode(message.data))) for message in run]
                await asyncio.gather(*(stream.publish(target, raw) for raw in results))
                await asyncio.gather(*(message.ack() for message in run))
                done += len(run)
            await client.flush()

    async def slow(self, source: str, target: str, count: int, tasks: int) -> None:
        async with await self.client() as client:
            stream = client.jetstream()
            config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=4 * READ)
            pull = await stream.pull_subscribe(source, durable=DURABLE, stream=source, config=config)
            crowd = Crowd(tasks)
            feeding = asyncio.create_task(self._feed(pull, crowd, count))
            done = 0
            while done < count:
                run = await crowd.done()
                await asyncio.gather(*(stream.publish(target, raw) for _, raw in run))
                await asyncio.gather(*(message.ack() for message, _ in run))
                done += len(run)
            await feeding
            await client.flush()

    async def _feed(self, pull: Any, crowd: Crowd, count: int) -> None:
        while count:
            run = await pull.fetch(min(READ, count), timeout=5)
            for message in run:
                await crowd.start(message, message.data)
            count -= len(run)

    async def read(self, target: str, count: int) -> list[int]:
        async with await self.client() as client:
            pull = await client.jetstream().pull_subscribe(target, durable="reader", stream=target)
            found: list[int] = []
            while True:
                try:
                    run = await pull.fetch(READ, timeout=5 if len(found) < count else 0.5)
                except TimeoutError:  # nats-py raises its own, which is one of these, or a plain one
                    return found
                found += [number_of(message.data) for message in run]
                for message in run:
                    await message.ack()

    def endpoints(self, source: str, target: str) -> tuple[Any, Any]:
        server = Nats(self.url)
        return server.stream(source, subject=source), server.stream(target, subject=target)
