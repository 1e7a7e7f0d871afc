"""The engine on every broker: one meaning of order, retry, dead letter, batch, reply, drain and backpressure."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from headrace import (
    Batch,
    Crash,
    DrainTimeout,
    Engine,
    Kafka,
    Memory,
    Message,
    Nats,
    RabbitMQ,
    Redis,
    Retry,
    Supervision,
    Topology,
)

pytestmark = pytest.mark.anyio
PATIENT = Supervision(intensity=100_000, period=1, backoff=0)


class Item(BaseModel):
    id: int
    key: str


class Site:
    """One broker, and places on it that nobody else uses."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.name = f"engine{uuid4().hex[:8]}"

    def place(self, of: str) -> Any:
        name = f"{self.name}.{of}"
        match self.broker:
            case Nats():
                return self.broker.stream(self.name, subject=name)
            case RabbitMQ():
                return self.broker.queue(name)
            case Redis():
                return self.broker.stream(name)
            case _:
                return self.broker.topic(name)

    def topology(self) -> Topology:
        return Topology(self.name, supervision=PATIENT)

    async def fill(self, count: int, keys: int = 10) -> None:
        async with self.broker, anyio.create_task_group() as tasks:
            for key in range(keys):
                tasks.start_soon(self._fill, range(key, count, keys), f"k{key}")

    async def _fill(self, numbers: range, key: str) -> None:
        for number in numbers:  # one after the other: their order is that of the source
            headers = {"number": str(number)}
            await self.place("in").publish(Item(id=number, key=key), key=key, headers=headers)

    async def read(self, of: Any, count: int) -> list[Message]:
        """What lies at a place, read as a consumer of its own would."""
        endpoint = self.place(of) if isinstance(of, str) else of
        source = endpoint.source(f"{self.name}-reader")
        found: list[Message] = []
        await source.open()
        with anyio.move_on_after(20):
            while len(found) < count:
                run = await source.fetch(500)
                found += run
                await source.settle(run, [])
        with anyio.move_on_after(0.3):  # and nothing more
            found += await source.fetch(1)
        await source.close()
        return found


@pytest.fixture(params=["memory", "redis", "nats", "rabbitmq", "kafka"])
def site(request: pytest.FixtureRequest) -> Site:
    if request.param == "memory":
        return Site(Memory())
    kinds = {"redis": Redis, "nats": Nats, "rabbitmq": RabbitMQ, "kafka": Kafka}
    url = request.getfixturevalue(f"{request.param}_server").url
    return Site(kinds[request.param](url.removeprefix("kafka://")))


async def run_until(topology: Topology, done: Callable[[Engine], bool], drain: float = 25) -> Engine:
    engine = Engine(topology.graph(), drain=drain)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        with anyio.fail_after(40):
            while not done(engine):
                await anyio.sleep(0.005)
        engine.drain()
    return engine


def settled(count: int) -> Callable[[Engine], bool]:
    return lambda engine: sum(status.settled for status in engine.status()) >= count


def ids(messages: list[Message]) -> list[int]:
    return [Item.model_validate_json(message.raw or b"").id for message in messages]


async def test_order_by_key_holds_under_sixteen_workers_with_retries_and_crashes(site: Site) -> None:
    chance = random.Random(3)
    handled: dict[str, list[int]] = defaultdict(list)
    faults: dict[str, int] = defaultdict(int)
    topology = site.topology()

    @topology.publisher(site.place("out"), key="key")
    @topology.subscriber(site.place("in"), key="key", max_workers=16, retry=Retry(attempts=30, first=0.002))
    async def handle(item: Item) -> Item:
        await checkpoint()
        if chance.random() < 0.05:
            faults["retries"] += 1
            raise RuntimeError("again")
        if chance.random() < 0.01:
            faults["crashes"] += 1
            raise Crash("gone")
        handled[item.key].append(item.id)
        return item

    await site.fill(1000)
    await run_until(topology, settled(1000))
    assert faults["retries"] > 20
    assert faults["crashes"] > 2
    assert all(numbers == sorted(numbers) for numbers in handled.values())
    out = defaultdict(list)
    for message in await site.read("out", 1000):
        out[str(message.key)].append(Item.model_validate_json(message.raw or b"").id)
    assert sum(map(len, out.values())) == 1000
    assert all(numbers == sorted(numbers) for numbers in out.values())


async def test_what_fails_is_tried_again_then_dead_and_never_holds_up_the_others(site: Site) -> None:
    tries: dict[int, int] = defaultdict(int)
    topology = site.topology()

    @topology.publisher(site.place("out"))
    @topology.subscriber(site.place("in"), retry=Retry(attempts=3, first=0.05))
    async def handle(item: Item) -> Item:
        tries[item.id] += 1
        if item.id == 0 or (item.id == 1 and tries[1] < 3):
            raise ValueError("not yet")
        return item

    await site.fill(50)
    await run_until(topology, settled(50))
    assert (tries[0], tries[1], tries[2]) == (3, 3, 1)
    assert sorted(ids(await site.read("out", 49))) == list(range(1, 50))
    (letter,) = await site.read(site.place("in").dead_letter(), 1)
    headers = letter.headers or {}
    assert ids([letter]) == [0]
    assert headers["headrace-reason"] == "not yet"
    assert headers["headrace-attempts"] == "3"
    assert headers["number"] == "0"


async def test_a_batch_has_each_messages_own_headers_and_key(site: Site) -> None:
    seen: dict[int, tuple[Any, Any]] = {}
    sizes: list[int] = []
    topology = site.topology()

    @topology.subscriber(site.place("in"), batch=Batch(size=40, wait=0.05))
    async def handle(items: list[Item], messages: list[Message]) -> None:
        sizes.append(len(items))
        for item, message in zip(items, messages, strict=True):
            seen[item.id] = ((message.headers or {}).get("number"), message.key)
            assert message.raw is not None

    await site.fill(100)
    await run_until(topology, settled(100))
    assert seen == {number: (str(number), f"k{number % 10}") for number in range(100)}
    assert max(sizes) > 1


async def test_a_request_gets_the_handlers_answer(site: Site) -> None:
    topology = site.topology()

    @topology.subscriber(site.place("in"))
    async def answer(item: Item) -> Item:
        return Item(id=item.id * 2, key=item.key)

    async with anyio.create_task_group() as tasks:
        engine = Engine(topology.graph())
        tasks.start_soon(engine.run)
        await engine.healthy(20)
        async with site.broker:
            for number in range(3):
                reply = await site.place("in").request(Item(id=number, key="k"), timeout=15, returns=Item)
                assert reply.body == Item(id=number * 2, key="k")
        engine.drain()


async def test_a_drain_in_the_middle_loses_nothing_and_gives_back_what_is_late(site: Site) -> None:
    topology, stuck, mended = site.topology(), anyio.Event(), False

    @topology.publisher(site.place("out"))
    @topology.subscriber(site.place("in"), max_workers=4)
    async def handle(item: Item) -> Item:
        if not mended and item.id == 30:
            stuck.set()
            await anyio.sleep_forever()
        return item

    await site.fill(200)
    engine = Engine(topology.graph(), drain=0.5)
    late: list[DrainTimeout] = []

    async def run() -> None:
        try:
            await engine.run()
        except DrainTimeout as error:
            late.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await stuck.wait()
        engine.drain()
    assert late[0].left == {"handle": 1}
    mended = True
    await run_until(topology, settled(1))
    assert set(ids(await site.read("out", 200))) == set(range(200))


async def test_a_slow_consumer_stops_the_fetching(site: Site) -> None:
    topology, release = site.topology(), anyio.Event()

    @topology.subscriber(site.place("in"), max_workers=3, mailbox=5)
    async def handle(item: Item) -> None:
        await release.wait()

    await site.fill(300)
    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        with anyio.fail_after(20):
            while engine.status()[0:1] == [] or engine.status()[0].received < 8:
                await anyio.sleep(0.01)
        await anyio.sleep(0.2)  # if it went on fetching, it would now
        (status,) = engine.status()
        assert (status.received, status.depth, status.held) == (8, 5, 3), "the mailbox and the hands, nothing more"
        release.set()
        with anyio.fail_after(20):
            while engine.status()[0].settled < 300:
                await anyio.sleep(0.01)
        engine.drain()
