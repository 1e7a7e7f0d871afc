"""The works as applications of FastStream: as it comes, at its safest, and in batches.

`safe` is its best setting with at least once: acknowledged after the handler, put back when it raises, publishing
confirmed, read ahead as far as each broker's subscriber can, no log of every message. `batch` is the same with lists.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from faststream import AckPolicy, BaseMiddleware

from benchmarks.hands import GROUP
from benchmarks.work import WORKS, Job, Lap, Order, Work, decode, encode, handler, many

AFTER: dict[str, Any] = {"ack_policy": AckPolicy.NACK_ON_ERROR}
"""What is safe of a subscriber: acknowledged after the handler, put back when it raises."""
CONFIRMED: dict[str, Any] = {"acks": "all", "enable_idempotence": True}
"""What is safe of a producer of Kafka's."""
AHEAD = 100
"""Messages that a safe subscriber of RabbitMQ's reads ahead."""


async def run(job: Job, lap: Lap, setting: str) -> None:
    """Run the application until as many messages as there are have been processed."""
    options: dict[str, Any] = {"middlewares": [counting(job, lap, setting == "batch")]}
    if setting:
        options["logger"] = None
    broker = MAKE[job.broker](job, lap, setting, options)
    async with broker:
        await broker.start()
        await lap.finished.wait()


def counting(job: Job, lap: Lap, batches: bool) -> type[BaseMiddleware]:
    """A middleware that stops the watch when the last message, or the batch with it, has been processed."""
    done = 0

    class Counting(BaseMiddleware):
        async def after_processed(self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None) -> bool | None:
            nonlocal done
            done += exc_type is None
            all_done = len(lap.seen) >= job.count and (batches or done >= job.count)
            if all_done and not lap.finished.is_set():
                lap.finish()
            return await super().after_processed(exc_type, exc_val, exc_tb)

    return Counting


def handle_of(work: Work, lap: Lap) -> Callable[[Order], Awaitable[Order]]:
    """The handler; without targets it returns nothing."""
    inner = handler(work, lap)

    async def handle(order: Order) -> Order:
        return await inner(order)

    async def consume(order: Order) -> None:
        await inner(order)

    return handle if work.targets else consume  # type: ignore[return-value]


def kafka(job: Job, lap: Lap, setting: str, options: dict[str, Any]) -> Any:
    from faststream.kafka import KafkaBroker

    work = WORKS[job.work]
    if setting:
        options |= CONFIRMED
    broker = KafkaBroker(job.url.removeprefix("kafka://"), **options)
    more: dict[str, Any] = {"group_id": GROUP, "auto_offset_reset": "earliest"} | (AFTER if setting else {})
    if setting == "batch":
        handle_many = many(lap)

        # Sent side by side: its own batch publisher puts a list into one batch, whose size it does not look at.
        @broker.subscriber(job.source, batch=True, max_records=work.batch or 500, **more)
        async def batch(orders: list[Order]) -> None:
            results = await handle_many(orders)
            sends = [broker.publish(each, target, no_confirm=False) for target in job.targets for each in results]
            await asyncio.gather(*sends)

        return broker
    if work.tasks > 1 and not work.keyed:
        more["max_workers"] = work.tasks
    handle: Any = broker.subscriber(job.source, **more)(handle_of(work, lap))
    for target in job.targets:
        handle = broker.publisher(target)(handle)
    return broker


def rabbitmq(job: Job, lap: Lap, setting: str, options: dict[str, Any]) -> Any:
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    work = WORKS[job.work]
    ahead = 1 if work.keyed else max(work.tasks, AHEAD if setting and work.tasks == 1 and not work.wait else 1)
    channel = Channel(prefetch_count=ahead) if setting or work.tasks > 1 or work.wait else None
    broker = RabbitBroker(job.url, default_channel=channel, **options)
    source = RabbitQueue(job.source, declare=False)
    handle: Any = broker.subscriber(source, **(AFTER if setting else {}))(handle_of(work, lap))
    for target in job.targets:
        handle = broker.publisher(RabbitQueue(target, declare=False), persist=bool(setting))(handle)
    return broker


def nats(job: Job, lap: Lap, setting: str, options: dict[str, Any]) -> Any:
    from faststream.nats import JStream, NatsBroker, PullSub

    work = WORKS[job.work]
    broker = NatsBroker(job.url, **options)
    source = JStream(job.source, subjects=[job.source], declare=False)
    places = {name: JStream(name, subjects=[name], declare=False) for name in job.targets}
    more: dict[str, Any] = {"stream": source, "durable": GROUP} | (AFTER if setting else {})
    if setting == "batch":
        handle_many = many(lap)
        pull = PullSub(batch_size=work.batch or 256, timeout=0.1, batch=True)

        @broker.subscriber(job.source, pull_sub=pull, **more)
        async def batch(orders: list[Order]) -> None:
            results = await handle_many(orders)
            sends = [broker.publish(each, target, stream=target) for target in job.targets for each in results]
            await asyncio.gather(*sends)

        return broker
    alone = work.keyed or (work.wait and work.tasks == 1)
    if work.tasks > 1 and not work.keyed:
        more["max_workers"] = work.tasks
    if setting and not alone:  # what it fetches at once it handles at once
        more["pull_sub"] = PullSub(batch_size=100 if work.tasks == 1 else work.tasks)
    handle: Any = broker.subscriber(job.source, **more)(handle_of(work, lap))
    for name, place in places.items():
        handle = broker.publisher(name, stream=place)(handle)
    return broker


def redis(job: Job, lap: Lap, setting: str, options: dict[str, Any]) -> Any:
    from faststream.redis import RedisBroker, StreamSub
    from faststream.redis.annotations import Pipeline

    work = WORKS[job.work]
    broker = RedisBroker(job.url, **options)
    group: dict[str, Any] = {"group": GROUP, "consumer": "peer", "last_id": ">"}
    # What a consumer that died has left is claimed by a second subscriber: the first never looks at it.
    left: dict[str, Any] = {"group": GROUP, "consumer": "peer", "min_idle_time": 30_000, "polling_interval": 1000}
    more = AFTER if setting else {}
    if setting == "batch":
        handle_many = many(lap)
        size: dict[str, Any] = {"batch": True, "max_records": work.batch or 256}

        @broker.subscriber(stream=StreamSub(job.source, **left, **size), **more)
        @broker.subscriber(stream=StreamSub(job.source, **group, **size), **more)
        async def batch(entries: list[dict[str, str]], pipe: Pipeline) -> None:
            results = await handle_many([decode(fields["body"].encode()) for fields in entries])
            raws = [encode(each) for each in results]
            for target in job.targets:
                for raw in raws:
                    await broker.publish(raw, stream=target, pipeline=pipe)
            await pipe.execute()

        return broker
    if setting:
        group["max_records"] = 100
    workers: dict[str, Any] = {"max_workers": work.tasks} if work.tasks > 1 and not work.keyed else {}
    inner = handler(work, lap)

    async def handle_fields(fields: dict[str, str]) -> bytes:  # foreign entries come as their fields
        return encode(await inner(decode(fields["body"])))

    async def consume(fields: dict[str, str]) -> None:
        await inner(decode(fields["body"]))

    subscribe = broker.subscriber(stream=StreamSub(job.source, **group), **workers, **more)
    handle: Any = subscribe(handle_fields if job.targets else consume)
    if setting:
        handle = broker.subscriber(stream=StreamSub(job.source, **left, max_records=100), **workers, **more)(handle)
    for target in job.targets:
        handle = broker.publisher(stream=target)(handle)
    return broker


MAKE: dict[str, Callable[[Job, Lap, str, dict[str, Any]], Any]] = {
    "kafka": kafka,
    "rabbitmq": rabbitmq,
    "nats": nats,
    "redis": redis,
}
