"""Kafka by hand, on aiokafka: many records at once, their sends side by side, one commit a run."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.work import READ, Crowd, decode, encode, handle, number_of
from headrace import Kafka

GROUP = "loop"


class KafkaLoops:
    """One partition, idempotent producer, all replicas acknowledge."""

    name = "kafka"

    def __init__(self, url: str) -> None:
        self.servers = url.removeprefix("kafka://")

    def consumer(self, topic: str, group: str | None = GROUP) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.servers,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )

    def producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(bootstrap_servers=self.servers, acks="all", enable_idempotence=True)

    async def fill(self, source: str, target: str, bodies: Iterable[bytes]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1) for name in (source, target)])
        await admin.close()
        async with self.producer() as producer:
            sends = [await producer.send(source, raw) for raw in bodies]
            await asyncio.gather(*sends)

    async def bridge(self, source: str, target: str, count: int) -> None:
        async with self.consumer(source) as consumer, self.producer() as producer:
            done = 0
            while done < count:
                for records in (await consumer.getmany(timeout_ms=1000, max_records=4 * READ)).values():
                    results = [encode(await handle(decode(record.value))) for record in records]
                    await asyncio.gather(*[await producer.send(target, raw) for raw in results])
                    await consumer.commit()
                    done += len(records)

    async def slow(self, source: str, target: str, count: int, tasks: int) -> None:
        async with self.consumer(source) as consumer, self.producer() as producer:
            crowd = Crowd(tasks)
            feeding = asyncio.create_task(self._feed(consumer, crowd, count))
            done, open_ = 0, set(range(count))
            while done < count:
                run = await crowd.done()
                await asyncio.gather(*[await producer.send(target, raw) for _, raw in run])
                open_.difference_update(record.offset for record, _ in run)
                record = run[0][0]
                partition = next(iter(consumer.assignment()))
                await consumer.commit({partition: min(open_, default=record.offset + 1)})
                done += len(run)
            await feeding

    async def _feed(self, consumer: AIOKafkaConsumer, crowd: Crowd, count: int) -> None:
        while count:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=READ)).values():
                for record in records:
                    await crowd.start(record, record.value)
                count -= len(records)

    async def read(self, target: str, count: int) -> list[int]:
        async with self.consumer(target, group=None) as consumer:
            found: list[int] = []
            while True:
                runs = await consumer.getmany(timeout_ms=1500)
                if not runs:
                    return found
                found += [number_of(record.value) for records in runs.values() for record in records]

    def endpoints(self, source: str, target: str) -> tuple[Any, Any]:
        kafka = Kafka(self.servers)
        return kafka.topic(source, group=GROUP), kafka.topic(target)
