"""A tap shows what enters and leaves stages, and leaves them as it found them."""

from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from actors import Worker
from engine.taps import KEPT, Sample, Tap
from headrace import Batch, Engine, Memory, Message, Topology

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int
    priority: str = "low"


class Shop:
    """A subscriber, a router and two publishers, fed for as long as it runs."""

    def __init__(self) -> None:
        self.memory, self.topology = Memory(capacity=100_000), Topology("shop")
        memory, topology = self.memory, self.topology
        urgent = topology.publisher(memory.topic("urgent"))
        normal = topology.publisher(memory.topic("normal"))

        @topology.subscriber(memory.topic("in"), max_workers=2)
        async def check(order: Order) -> Message:
            return Message(Order(id=order.id, priority="high" if order.id % 2 else "low"), headers={"checked": "yes"})

        @topology.router(check, to=[urgent, normal])
        def by_priority(order: Order) -> Any:
            return urgent if order.priority == "high" else [normal.send(Order(id=-order.id), key=b"\xff")]

        self.engine = Engine(topology.graph(), drain=0)

    async def feed(self) -> None:
        number = 0
        while True:
            await self.memory.topic("in").publish(Order(id=(number := number + 1)))

    async def sampled(self, glob: str, count: int, rate: float = 1000) -> list[Sample]:
        """The first samples of a tap."""
        taken: list[Sample] = []
        async with self.memory, anyio.create_task_group() as tasks:
            tasks.start_soon(self.engine.run)
            await self.engine.started.wait()
            tasks.start_soon(self.feed)
            self.tap = Tap(self.engine.assemblies, glob, rate)
            with anyio.fail_after(20):
                stream = self.tap.listen()
                async for sample in stream:
                    taken += [sample] if sample is not None else []
                    if len(taken) >= count:
                        break
                await stream.aclose()
            tasks.cancel_scope.cancel()
        return taken


async def test_a_subscriber_shows_bodies_as_they_came_and_what_it_made_of_them() -> None:
    samples = await Shop().sampled("check", 40)
    entered, left = samples[0], samples[1]
    assert (entered.topology, entered.stage, entered.way) == ("shop", "check", "in")
    assert Order.model_validate_json(entered.body).priority == "low"
    assert entered.size == len(entered.body)
    assert left.way == "out"
    assert left.headers["checked"] == "yes"
    for before, after in zip(samples[::2], samples[1::2], strict=True):
        assert Order.model_validate_json(before.body).id == Order.model_validate_json(after.body).id


async def test_a_router_shows_where_it_sends_what() -> None:
    samples = await Shop().sampled("shop.by_priority", 40)
    out = [sample for sample in samples if sample.way == "out"]
    assert {sample.to for sample in out} == {"to:urgent", "to:normal"}
    for sample in out:
        assert (Order.model_validate_json(sample.body).id < 0) == (sample.to == "to:normal")
        assert sample.key == (None if sample.to == "to:urgent" else "\ufffd")


async def test_a_publisher_shows_what_it_has_published_and_where_to() -> None:
    samples = await Shop().sampled("*urgent", 20)
    assert {(sample.stage, sample.to) for sample in samples if sample.way == "out"} == {("to:urgent", "urgent")}


async def test_a_glob_names_stages_of_all_topologies_or_none() -> None:
    shop = Shop()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shop.engine.run)
        await shop.engine.started.wait()
        assert len(Tap(shop.engine.assemblies, "shop.*").stages) == 4
        assert Tap(shop.engine.assemblies, "nothing").stages == []
        tasks.cancel_scope.cancel()


async def test_it_takes_no_more_than_its_rate_however_many_there_are() -> None:
    shop = Shop()
    began = anyio.current_time()
    samples = await shop.sampled("check", 10, rate=20)
    messages = sum(sample.way == "in" for sample in samples)
    assert messages <= 1 + 20 * (anyio.current_time() - began) * 1.2


async def test_when_nobody_listens_any_more_the_stages_are_as_they_were() -> None:
    shop = Shop()
    await shop.sampled("*", 100)
    for running in shop.engine.running:
        for worker in running.pool.workers:
            if isinstance(worker, Worker):
                assert type(worker.pass_on).__name__ == "function"
            else:
                assert not worker.watchers  # type: ignore[attr-defined]


async def test_who_does_not_read_misses_samples_and_is_told_how_many() -> None:
    tap = Tap([], "*")
    sample = Sample(0, "shop", "check", "in", "", 0, None, {}, None, 1)
    for _ in range(KEPT + 7):
        tap._add(sample)
    stream = tap.listen()
    told = [await anext(stream), await anext(stream)]
    await stream.aclose()
    assert [each.missed for each in told if each is not None] == [7, 0]


async def test_the_messages_of_a_batch_are_shown_one_by_one() -> None:
    memory, topology = Memory(), Topology("batches")

    @topology.subscriber(memory.topic("in"), batch=Batch(size=3, wait=0.05))
    async def together(orders: list[Order]) -> list[int]:
        return [order.id for order in orders]

    topology.publisher(memory.topic("out"))(together)
    engine = Engine(topology.graph(), drain=0)
    taken: list[Sample] = []
    async with memory, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        stream = Tap(engine.assemblies, "together").listen()
        tasks.start_soon(_publish, memory, 3)
        async for sample in stream:
            assert sample is not None
            taken.append(sample)
            if len(taken) == 4:
                break
        await stream.aclose()
        tasks.cancel_scope.cancel()
    assert [sample.way for sample in taken] == ["in", "in", "in", "out"]
    assert taken[-1].body == "[0,1,2]"


async def _publish(memory: Memory, count: int) -> None:
    await anyio.sleep(0.01)
    for number in range(count):
        await memory.topic("in").publish(Order(id=number))


async def test_a_body_that_is_large_or_no_text_is_cut_and_shown_all_the_same() -> None:
    memory, topology = Memory(), Topology("large")

    @topology.subscriber(memory.topic("in"))
    async def keep(body: bytes) -> None:
        return None

    engine = Engine(topology.graph(), drain=0)
    async with memory, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        stream = Tap(engine.assemblies, "keep").listen()

        async def publish() -> None:
            await anyio.sleep(0.01)
            await memory.topic("in").publish(b"\xff\x00" * 50_000)

        tasks.start_soon(publish)
        sample = await anext(stream)
        await stream.aclose()
        tasks.cancel_scope.cancel()
    assert sample is not None
    assert (sample.size, len(sample.body)) == (100_000, 2000)
    assert sample.body.startswith("\ufffd\x00")
