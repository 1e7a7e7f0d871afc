"""Kafka by hand, on aiokafka: many records at once, their sends side by side, commits beside them.

`Lower` takes the records from the client itself, as the parser makes them, and gives batches of its own making.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from benchmarks.at_kafka import producer, servers_of
from benchmarks.hands import GROUP, READ, Taken


class Hands:
    """One partition; one commit at a time is on its way while the loop goes on."""

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._partition = TopicPartition(source, 0)
        self._producer = producer(url)
        self._consumer = self._reader(url, source)
        self._position = self._committed = 0
        self._done: set[int] = set()
        self._committing: asyncio.Task[None] | None = None

    def _reader(self, url: str, source: str) -> Any:
        return AIOKafkaConsumer(
            source,
            bootstrap_servers=servers_of(url),
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    async def take(self, most: int) -> Taken:
        most = most if most == 1 else 4 * READ
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1000, max_records=most)).values():
                return [(record.offset, record.value) for record in records]

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        send = self._producer.send
        sends = [await send(target, raw) for target in targets for raw in bodies]
        await asyncio.gather(*sends)

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        if ordered:
            self._position = tokens[-1] + 1
        else:  # out of order: what may be committed is what has nothing open before it
            self._done.update(tokens)
            while self._position in self._done:
                self._done.remove(self._position)
                self._position += 1
        if self._committing is None or self._committing.done():
            await self._result()
            self._committing = asyncio.create_task(self._commit())

    async def flush(self) -> None:
        await self._result()
        await self._commit()

    async def _result(self) -> None:
        if self._committing is not None:
            await self._committing

    async def _commit(self) -> None:
        if (position := self._position) > self._committed:
            await self._consumer.commit({self._partition: position})
            self._committed = position


class Lower(Hands):
    """Fetches of its own, the next one under way while this one is read, and batches of its own.

    By public names of aiokafka, of which only those of batches are documented. It takes one partition whose leader
    stays where it is, without transactions: what else its fetcher sees to is not much a message.
    """

    def __init__(self, url: str, source: str) -> None:
        super().__init__(url, source)
        self._client = AIOKafkaClient(bootstrap_servers=servers_of(url))
        self._next = 0
        """The offset to be fetched next."""
        self._ahead: Iterator[tuple[int, bytes]] = iter(())
        self._fetching: asyncio.Task[bytes] | None = None
        self._turn = asyncio.Lock()

    def _reader(self, url: str, source: str) -> Any:
        """Only commits: it is in no group's balance, and reads nothing."""
        reader = AIOKafkaConsumer(bootstrap_servers=servers_of(url), group_id=GROUP, enable_auto_commit=False)
        reader.assign([self._partition])
        reader.pause(self._partition)
        return reader

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._client.bootstrap()
        await self._client.set_topics([self._partition.topic])
        self._fetching = asyncio.create_task(self._fetch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        await self._client.close()
        await super().__aexit__(kind, error, trace)

    async def take(self, most: int) -> Taken:
        most = most if most == 1 else 4 * READ
        while True:
            if run := list(islice(self._ahead, most)):
                return run
            assert self._fetching is not None
            found, first = MemoryRecords(await asyncio.shield(self._fetching)), self._next
            batches = []
            while found.has_next():
                batches.append(batch := found.next_batch())
                if not batch.validate_crc():
                    raise ValueError(f"damaged on its way: {self._partition}, after offset {self._next}")
                self._next = batch.next_offset
            self._fetching = asyncio.create_task(self._fetch())
            self._ahead = ((each.offset, each.value) for batch in batches for each in batch if each.offset >= first)

    async def _fetch(self) -> bytes:
        topic, partition = self._partition
        request = FetchRequest(500, 1, 50 * 2**20, 0, [(topic, [(partition, self._next, 2**20)])])
        answer = await self._client.send(self._client.cluster.leader_for_partition(self._partition), request)
        ((_, ((_, code, *_, records),)),) = answer.topics
        if code:
            raise for_code(code)(self._partition)
        return bytes(records)

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        for target in targets:
            batches = [self._producer.create_batch()]
            for raw in bodies:
                if batches[-1].append(timestamp=None, key=None, value=raw) is None:
                    batches.append(self._producer.create_batch())
                    batches[-1].append(timestamp=None, key=None, value=raw)
            async with self._turn:  # those who wait for room at once would get it in any order
                sends = [await self._producer.send_batch(batch, target, partition=0) for batch in batches]
            await asyncio.gather(*sends)
