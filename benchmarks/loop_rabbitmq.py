"""RabbitMQ by hand, on aio-pika: a prefetch, windows of confirms, one acknowledgement for many."""

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.work import READ, Crowd, decode, encode, handle, number_of
from headrace import RabbitMQ


class RabbitMQLoops:
    """Quorum queues, persistent messages, publisher confirms."""

    name = "rabbitmq"
    arguments: ClassVar = {"x-queue-type": "quorum"}

    def __init__(self, url: str) -> None:
        self.url = url

    async def fill(self, source: str, target: str, bodies: Iterable[bytes]) -> None:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(source, durable=True, arguments=self.arguments)
            await channel.declare_queue(target, durable=True, arguments=self.arguments)
            run = list(bodies)
            for start in range(0, len(run), 1000):
                await self._publish(channel, source, run[start : start + 1000])

    async def _publish(self, channel: Any, queue: str, run: Iterable[bytes]) -> None:
        exchange = channel.default_exchange
        messages = (Message(raw, delivery_mode=DeliveryMode.PERSISTENT) for raw in run)
        await asyncio.gather(*(exchange.publish(message, queue, mandatory=True) for message in messages))

    async def bridge(self, source: str, target: str, count: int) -> None:
        async with await aio_pika.connect(self.url) as reading, await aio_pika.connect(self.url) as writing:
            arrived = await self._consume(reading, source)
            channel = await writing.channel()
            done = 0
            while done < count:
                run = [await arrived.get()]
                while not arrived.empty() and len(run) < READ:
                    run.append(arrived.get_nowait())
                await self._publish(channel, target, [encode(await handle(decode(each.body))) for each in run])
                await run[-1].ack(multiple=True)
                done += len(run)

    async def _consume(self, connection: Any, source: str) -> "asyncio.Queue[AbstractIncomingMessage]":
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=2 * READ)
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        queue = await channel.get_queue(source)
        await queue.consume(arrived.put)
        return arrived

    async def slow(self, source: str, target: str, count: int, tasks: int) -> None:
        async with await aio_pika.connect(self.url) as reading, await aio_pika.connect(self.url) as writing:
            arrived = await self._consume(reading, source)
            channel, crowd = await writing.channel(), Crowd(tasks)
            feeding = asyncio.create_task(self._feed(arrived, crowd, count))
            done = 0
            while done < count:
                run = await crowd.done()
                await self._publish(channel, target, [raw for _, raw in run])
                for message, _ in run:
                    await message.ack()
                done += len(run)
            await feeding

    async def _feed(self, arrived: "asyncio.Queue[AbstractIncomingMessage]", crowd: Crowd, count: int) -> None:
        for _ in range(count):
            message = await arrived.get()
            await crowd.start(message, message.body)

    async def read(self, target: str, count: int) -> list[int]:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(target)
            found = []
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append(number_of(message.body))
            return found

    def endpoints(self, source: str, target: str) -> tuple[Any, Any]:
        rabbit = RabbitMQ(self.url)
        return rabbit.queue(source), rabbit.queue(target)
