"""What a paused stage has read ahead goes to the other engines of its group, on real servers; and no try is lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import nats
import pytest
from redis.asyncio import Redis as Client

from headrace import Engine, Nats, Redis, Retry, Topology
from tests.brokers.surviving import eventually
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.anyio

COUNT, FULL = 60, 5
"""Messages; and how many of them a mailbox and a worker that waits have room for."""
LONG = 3600
"""Seconds until what nobody renews would go to another engine: longer than any test."""


class Place:
    """A stream or a list that no other test uses, and how much of it is delivered and not settled."""

    def __init__(self, server: Any, kind: str, name: str | None = None) -> None:
        self.server, self.url, self.name = server, server.url, name or f"S{uuid4().hex}"
        self.kind = kind
        if kind == "jetstream":
            self.source: Any = Nats(self.url, ack_wait=LONG).stream(self.name, subject=self.name.lower())
        else:
            redis = Redis(self.url, min_idle=LONG)
            self.source = redis.stream(self.name) if kind == "stream" else redis.list(self.name)

    async def publish(self, numbers: range) -> None:
        async with self.source.broker:
            for number in numbers:
                await self.source.publish(number)

    async def pending(self) -> int:
        if self.kind == "list":
            async with Client.from_url(self.url, protocol=2) as client:
                owners = await client.smembers(f"{{{self.name}}}.processing")
                return sum([await client.llen(owner) for owner in owners])
        if self.kind == "stream":
            async with Client.from_url(self.url, protocol=2) as client:
                (group,) = await client.xinfo_groups(self.name)
                return int(group["pending"])
        async with await nats.connect(self.url) as client:
            (consumer,) = await client.jetstream().consumers_info(self.name)
            return int(consumer.num_ack_pending or 0)


class Reader:
    """An engine that handles nothing before it may; the tries that it made, in their order."""

    def __init__(self, place: Place) -> None:
        self.may, self.tries = anyio.Event(), list[int]()
        topology = Topology("released")

        @topology.subscriber(place.source, mailbox=4, retry=Retry(attempts=1))
        async def work(number: int) -> None:
            await self.may.wait()
            self.tries.append(number)

        self.engine = Engine(topology.graph())

    @property
    def status(self) -> Any:
        return self.engine.status()[0]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Reader"]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.engine.run)
            await self.engine.healthy(10)
            try:
                yield self
            finally:
                self.may.set()
                self.engine.drain()


@pytest.fixture(params=["stream", "list", "jetstream"])
def place(request: pytest.FixtureRequest) -> Place:
    server = "nats_server" if request.param == "jetstream" else "redis_server"
    return Place(request.getfixturevalue(server), request.param)


async def until(there: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not there():
            await anyio.sleep(0.01)


async def read_ahead(place: Place, reader: Reader) -> int:
    """Wait until it fetches no more, and has read more where such a source does; how many it has fetched."""

    async def there() -> bool:
        more = await place.pending() - FULL
        return reader.status.received == FULL and (more > 0 or place.kind == "list")

    await eventually(there, 10)
    return FULL


async def released(reader: Reader) -> None:
    """Pause it, and wait until it holds nothing but what it has fetched."""
    reader.engine.pause("released", "work")
    source = reader.engine.assemblies[0].intakes[0].ledger.source
    await until(lambda: f" {reader.status.received} held" in repr(source))


async def test_another_engine_handles_what_a_paused_one_had_read_ahead(place: Place) -> None:
    one, other = Reader(place), Reader(place)
    other.may.set()
    await place.publish(range(COUNT))
    async with one.running():
        fetched = await read_ahead(place, one)
        one.engine.pause("released", "work")
        async with other.running():
            await until(lambda: len(other.tries) == COUNT - fetched)
            assert one.status.received == fetched
            one.may.set()
            await until(lambda: one.status.settled == fetched)
            one.engine.resume("released", "work")
            await place.publish(range(COUNT, 2 * COUNT))
            await until(lambda: len(one.tries) + len(other.tries) >= 2 * COUNT)
    assert sorted(one.tries + other.tries) == list(range(2 * COUNT))
    assert (one.status.dead, other.status.dead) == (0, 0)
    if place.kind != "jetstream":  # which counts what was given back
        assert (one.status.redelivered, other.status.redelivered) == (0, 0)


async def test_what_comes_while_it_waits_for_something_and_is_paused_goes_to_another(place: Place) -> None:
    one, other = Reader(place), Reader(place)
    other.may.set()
    async with one.running():
        one.engine.pause("released", "work")
        async with other.running():
            await place.publish(range(COUNT))
            await until(lambda: len(other.tries) == COUNT)
        assert one.status.received == 0
    assert (one.tries, sorted(other.tries), other.status.dead) == ([], list(range(COUNT)), 0)


async def test_paused_and_resumed_many_times_it_has_all_in_order_and_lost_no_try(place: Place) -> None:
    one = Reader(place)
    await place.publish(range(COUNT))
    async with one.running():
        for _ in range(5):
            await read_ahead(place, one)
            await released(one)
            one.engine.resume("released", "work")
        one.may.set()
        await until(lambda: len(one.tries) >= COUNT)
        await until(lambda: one.status.settled == COUNT)
    assert one.tries == list(range(COUNT))
    assert (one.status.redelivered, one.status.dead) == (0, 0)


async def test_paused_while_the_broker_is_away_it_gives_back_what_it_had_once_that_is_there(place: Place) -> None:
    await place.publish(range(COUNT))
    async with Proxy(place.server) as proxy:
        behind = Place(proxy, place.kind, place.name)
        one, other = Reader(behind), Reader(behind)
        other.may.set()
        async with one.running():
            fetched = await read_ahead(place, one)
            proxy.cut()
            one.engine.pause("released", "work")
            link = one.engine.assemblies[0].intakes[0].link
            await until(lambda: not link.connected)
            proxy.mend()
            await until(lambda: link.connected)
            async with other.running():
                await until(lambda: len(other.tries) == COUNT - fetched)
            one.may.set()
            await until(lambda: one.status.settled == fetched)
        assert proxy.resets > 0
    assert sorted(one.tries + other.tries) == list(range(COUNT))
    assert (one.status.dead, other.status.dead) == (0, 0)
