"""Destinations that take nothing for now: waited for and shown, never a dead letter; all goes on when it is mended."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import nats
import pytest
from redis.asyncio import Redis as RedisClient

from headrace import Engine, Memory, Nats, RabbitMQ, Redis, Retry
from tests.brokers.test_engine import Item, Site, ids
from tests.servers.rabbitmq import RabbitMQ as RabbitServer

pytestmark = pytest.mark.anyio
COUNT = 30
Fault = Callable[[Site, Any], AbstractAsyncContextManager[None]]


def settings_of_redis(**settings: Any) -> Fault:
    @asynccontextmanager
    async def fault(site: Site, server: Any) -> AsyncIterator[None]:
        async with RedisClient.from_url(server.url) as client:
            before = {name: (await client.config_get(name.replace("_", "-"))) for name in settings}
            for name, told in settings.items():
                await client.config_set(name.replace("_", "-"), told)
            yield
            for known in before.values():
                for setting, was in known.items():
                    await client.config_set(str(setting), str(was))

    return fault


@asynccontextmanager
async def read_only(site: Site, server: Any) -> AsyncIterator[None]:
    async with RedisClient.from_url(server.url) as client:
        await client.replicaof("127.0.0.1", "1")
        yield
        await client.replicaof("NO", "ONE")


@asynccontextmanager
async def full_stream(site: Site, server: Any) -> AsyncIterator[None]:
    client = await nats.connect(server.url)
    try:
        subjects = [f"{site.name}.out"]
        await client.jetstream().add_stream(name=site.name, subjects=subjects, max_msgs=1, discard="new")
        await client.publish(f"{site.name}.out", b'{"id": -1, "key": ""}')
        yield
        await client.jetstream().update_stream(name=site.name, subjects=subjects, max_msgs=1000, discard="new")
    finally:
        await client.close()


async def waits_and_goes_on(site: Site, server: Any, fault: Fault, said: str) -> None:
    """Publish into the fault: it is waited for, shown as what it is, and nothing is lost or dead when it is over."""
    memory, topology = Memory(), site.topology()

    @topology.publisher(site.place("out"), retry=Retry(attempts=2, first=0.01))
    @topology.subscriber(memory.topic("in"))
    async def work(item: Item) -> Item:
        return item

    async with memory:
        for number in range(COUNT):
            await memory.topic("in").publish(Item(id=number, key="k"))
    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        async with fault(site, server):
            tasks.start_soon(engine.run)
            await until(lambda: any(said in str(error) for error in engine.out_of_reach().values()))
            assert not engine.health().ready
            assert any(said in reason for reason in engine.health().reasons)
        await until(lambda: sum(status.settled for status in engine.status()) == COUNT)
        engine.drain()
    assert sum(status.dead for status in engine.status()) == 0
    there = [number for number in ids(await site.read("out", COUNT)) if number >= 0]
    assert sorted(set(there)) == list(range(COUNT))
    # A node of RabbitMQ's with an alarm has what it was sent, and reads it when the alarm is over.
    assert len(there) == COUNT or isinstance(site.broker, RabbitMQ)


async def until(there: Callable[[], bool]) -> None:
    with anyio.fail_after(50):
        while not there():
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (settings_of_redis(maxmemory=1), "destination refuses for now: the server said: OOM"),
        (settings_of_redis(min_replicas_to_write=1), "NOREPLICAS"),
        (read_only, "READONLY"),
    ],
    ids=["OOM", "NOREPLICAS", "READONLY"],
)
async def test_redis(redis_server: Any, fault: Fault, said: str) -> None:
    await waits_and_goes_on(Site(Redis(redis_server.url)), redis_server, fault, said)


async def test_nats(nats_server: Any) -> None:
    said = "destination refuses for now: the server said: maximum messages exceeded"
    await waits_and_goes_on(Site(Nats(nats_server.url)), nats_server, full_stream, said)


async def test_a_rabbitmq_queue_that_is_full(rabbitmq_server: Any) -> None:
    broker = RabbitMQ(rabbitmq_server.url)
    site = Site(broker)

    class Narrow(Site):
        def place(self, of: str) -> Any:
            return broker.queue(f"{self.name}.{of}", kind="classic", max_length=10)

    narrow = Narrow(broker)
    narrow.name = site.name
    memory, topology = Memory(), narrow.topology()

    @topology.publisher(narrow.place("out"), retry=Retry(attempts=2, first=0.01))
    @topology.subscriber(memory.topic("in"))
    async def work(item: Item) -> Item:
        return item

    async with memory:
        for number in range(COUNT):
            await memory.topic("in").publish(Item(id=number, key="k"))
    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await until(lambda: any("destination refuses for now" in str(each) for each in engine.out_of_reach().values()))
        found = ids(await narrow.read("out", COUNT))
        await until(lambda: sum(status.settled for status in engine.status()) == COUNT)
        engine.drain()
    assert sum(status.dead for status in engine.status()) == 0
    assert sorted(found) == list(range(COUNT))


@pytest.fixture
def narrow_node(servers: Any) -> Any:
    """A node of its own: an alarm stops every publisher."""
    return servers.get(RabbitServer, settings={"heartbeat": "30"})


@pytest.mark.parametrize(
    ("alarm", "well"),
    [
        (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")),
        (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "1MB")),
    ],
    ids=["memory", "disk"],
)
async def test_a_rabbitmq_node_that_is_short_of_something(
    narrow_node: Any, alarm: tuple[str, ...], well: tuple[str, ...]
) -> None:
    @asynccontextmanager
    async def short(site: Site, server: Any) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(server.ctl, *alarm)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(server.ctl, *well)

    await waits_and_goes_on(Site(RabbitMQ(narrow_node.url)), narrow_node, short, "the server takes no messages for now")
