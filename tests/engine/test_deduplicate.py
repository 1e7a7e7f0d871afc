"""`deduplicate=` in whole topologies: a duplicate is done once, and nothing that was not done counts as done."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from headrace import (
    Batch,
    Crash,
    Deduplicate,
    Drop,
    Engine,
    Harness,
    Memory,
    Message,
    Reject,
    Retry,
    Supervision,
    Topology,
    graves,
    redrive,
)

pytestmark = pytest.mark.anyio


class Payment(BaseModel):
    reference: str
    amount: int = 1


def topology_of(memory: Memory, handled: list[str], **options: Any) -> Topology:
    topology = Topology("payments")

    @topology.publisher(memory.topic("done"))
    @topology.subscriber(memory.topic("in"), **{"deduplicate": True, **options})
    async def pay(payment: Payment) -> Payment:
        handled.append(payment.reference)
        if payment.amount < 0:
            raise Reject("less than nothing")
        if payment.amount == 0:
            raise Drop("nothing to pay")
        return payment

    return topology


def references(harness: Harness, memory: Memory) -> list[str]:
    return [payment.reference for payment in harness.published(memory.topic("done"))]


async def test_the_same_id_and_body_is_done_once_within_the_window() -> None:
    memory, handled = Memory(), list[str]()
    async with Harness(topology_of(memory, handled, deduplicate=60)) as harness:
        for id in ("1", "2", "1", "1"):
            await harness.publish(memory.topic("in"), Payment(reference=f"r{id}"), id=id)
        await harness.settle()
        assert references(harness, memory) == ["r1", "r2"]
        assert harness.engine.status()[0].duplicates == 2
        assert harness.engine.status()[0].settled == 4
        await harness.publish(memory.topic("in"), Payment(reference="another with id 1"), id="1")
        await harness.settle()
        await harness.advance(60)
        await harness.publish(memory.topic("in"), Payment(reference="r1"), id="1")
        await harness.settle()
        assert handled == ["r1", "r2", "another with id 1", "r1"]


async def test_by_a_field_whatever_the_id_is() -> None:
    memory, handled = Memory(), list[str]()
    async with Harness(topology_of(memory, handled, deduplicate=Deduplicate(by="reference"))) as harness:
        for number, reference in enumerate(["a", "b", "a"]):
            await harness.publish(memory.topic("in"), Payment(reference=reference, amount=number + 1), id=str(number))
        await harness.settle()
        assert references(harness, memory) == ["a", "b"]


async def test_dropped_counts_as_done_and_dead_does_not() -> None:
    memory, handled = Memory(), list[str]()
    async with Harness(topology_of(memory, handled, deduplicate=Deduplicate(by="reference"))) as harness:
        for reference, amount in [("dropped", 0), ("dead", -1)] * 2 + [("dead", 5)]:
            await harness.publish(memory.topic("in"), Payment(reference=reference, amount=amount))
            await harness.settle()
        assert handled == ["dropped", "dead", "dead", "dead"]
        assert len(harness.dead_letters(memory.topic("in"))) == 2
        assert references(harness, memory) == ["dead"]


async def test_a_dead_letter_put_back_is_handled() -> None:
    memory, handled, open_now = Memory(), list[str](), False
    topology = Topology("payments")

    @topology.subscriber(memory.topic("in"), deduplicate=True)
    async def pay(payment: Payment) -> None:
        handled.append(payment.reference)
        if not open_now:
            raise Reject("closed")

    async with memory:
        await memory.topic("in").publish(Payment(reference="a"), id="1")
    await Engine(topology.graph()).run(burst=True)
    open_now = True
    (grave,) = graves(topology.graph())
    assert (await redrive(grave, 10)).redriven == 1
    await Engine(topology.graph()).run(burst=True)
    assert handled == ["a", "a"]


async def test_a_duplicate_waits_for_a_first_that_is_being_retried() -> None:
    memory, tries = Memory(), list[str]()
    topology = Topology("payments")

    @topology.subscriber(
        memory.topic("in"), deduplicate=True, max_workers=4, retry=Retry(attempts=3, first=10, factor=1, jitter=0)
    )
    async def pay(payment: Payment) -> None:
        tries.append(payment.reference)
        if len(tries) < 3:
            raise ValueError("not yet")

    async with Harness(topology) as harness:
        for _ in range(2):
            await harness.publish(memory.topic("in"), Payment(reference="a"), id="1")
        await harness.advance(10)
        assert (len(tries), harness.engine.status()[0].settled) == (2, 0)
        await harness.settle()
        status = harness.engine.status()[0]
        assert (len(tries), status.settled, status.duplicates) == (3, 2, 1)


async def test_a_drain_gives_back_a_duplicate_together_with_its_first() -> None:
    memory = Memory()
    topology = Topology("payments")

    @topology.subscriber(memory.topic("in"), deduplicate=True, retry=Retry(attempts=3, first=1000, cap=1000, jitter=0))
    async def pay(payment: Payment) -> None:
        raise ValueError("not yet")

    async with Harness(topology) as harness:
        for _ in range(3):
            await harness.publish(memory.topic("in"), Payment(reference="a"), id="1")
        await harness.advance(1)
    status = harness.engine.status()[0]
    assert (status.settled, status.returned, status.duplicates) == (0, 3, 0)


async def test_from_two_topics_the_same_id_is_two_messages_and_the_same_field_is_one() -> None:
    for by, expected in ((None, 2), ("reference", 1)):
        memory, handled = Memory(), list[str]()
        topology = Topology("payments")

        @topology.subscriber(memory.topic("a"), memory.topic("b"), deduplicate=Deduplicate(by=by))
        async def pay(payment: Payment, handled: Any = handled) -> None:
            handled.append(payment.reference)

        async with Harness(topology) as harness:
            for name in ("a", "b"):
                await harness.publish(memory.topic(name), Payment(reference="r"), id="1")
            await harness.settle()
        assert len(handled) == expected


async def test_in_batches() -> None:
    memory, batches = Memory(), list[list[str]]()
    topology = Topology("payments")

    @topology.subscriber(memory.topic("in"), deduplicate=Deduplicate(by="reference"), batch=Batch(size=2, wait=1))
    async def pay(payments: list[Payment]) -> None:
        batches.append([payment.reference for payment in payments])

    async with Harness(topology) as harness:
        for reference in "aabacb":
            await harness.publish(memory.topic("in"), Payment(reference=reference))
        await harness.settle()
        assert batches == [["a", "b"], ["c"]]
        assert harness.engine.status()[0].duplicates == 3


async def test_nothing_is_lost_and_each_engine_does_it_once_through_faults_of_all_kinds() -> None:
    """Each payment comes one to four times, some long after. What is missing at the end would be a loss."""
    count, chance = 2_000, random.Random(7)
    memory = Memory(capacity=20_000)
    topology = Topology("oracle", supervision=Supervision(intensity=100_000, period=1, backoff=0))
    faults: Counter[str] = Counter()

    @topology.subscriber(
        memory.topic("in"),
        deduplicate=Deduplicate(by="reference"),
        max_workers=8,
        retry=Retry(attempts=3, first=0, jitter=0),
        key="amount",
    )
    async def first(payment: Payment) -> AsyncIterator[Payment]:
        luck = chance.random()
        if luck < 0.05:
            faults["failed"] += 1
            raise ValueError("bad luck")
        if luck < 0.06:
            faults["dead"] += 1
            raise Reject("very bad luck")
        if luck < 0.07:
            faults["crashed"] += 1
            raise Crash("the worst luck")
        if luck < 0.3:
            await checkpoint()
        yield payment

    topology.publisher(memory.topic("done"))(first)
    async with memory:
        copies = [number for number in range(count) for _ in range(chance.randint(1, 4))]
        chance.shuffle(copies)
        for number in copies:
            await memory.topic("in").publish(Payment(reference=str(number), amount=number % 50 + 1))
    duplicates = 0
    for last in (False, False, False, True):
        engine = Engine(topology.graph())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(engine.run, burst=last))
            await engine.started.wait()
            for _ in range(0 if last else chance.randint(20, 60)):
                await checkpoint()
            if not last:
                engine.drain()
        duplicates += engine.status()[0].duplicates

    done = Counter(Payment.model_validate_json(each.raw or b"").reference for each in memory.messages("done"))
    dead = {Payment.model_validate_json(each.raw or b"").reference for each in memory.messages("in.dead")}
    assert done.keys() | dead == {str(number) for number in range(count)}
    assert len(copies) == done.total() + len(memory.messages("in.dead")) + duplicates
    assert max(done.values()) <= 4  # once an engine: each begins without knowing what those before it have done
    assert min(faults.values()) > 5
    assert duplicates > 1000


async def test_messages_without_an_id_are_all_handled() -> None:
    memory, handled = Memory(), list[str]()
    async with Harness(topology_of(memory, handled)) as harness:
        for _ in range(3):
            await harness.publish(memory.topic("in"), Payment(reference="a"))
        await harness.settle()
        assert handled == ["a"] * 3


async def test_a_function_of_the_message_may_look_at_a_header() -> None:
    memory, handled = Memory(), list[str]()

    def request_id(message: Message) -> object:
        return (message.headers or {}).get("request")

    async with Harness(topology_of(memory, handled, deduplicate=Deduplicate(by=request_id))) as harness:
        for number, request in enumerate(["x", "y", "x", None, None]):
            headers = {"request": request} if request else None
            await harness.publish(memory.topic("in"), Payment(reference=str(number)), headers=headers)
        await harness.settle()
        assert handled == ["0", "1", "3", "4"]


async def test_what_a_generator_yields_has_not_the_id_of_its_message_and_is_all_handled() -> None:
    """Each would have the same id, and some have the same body: the stage that reads them would leave some out."""
    memory, handled = Memory(), list[str]()
    topology = Topology("unpacking")

    @topology.publisher(memory.topic("parts"))
    @topology.subscriber(memory.topic("in"))
    async def unpack(payment: Payment) -> AsyncIterator[Payment]:
        for _ in range(payment.amount):
            yield Payment(reference=payment.reference)
        yield Message(Payment(reference=payment.reference), id="the handler's own")  # type: ignore[misc]

    @topology.subscriber(memory.topic("parts"), deduplicate=True)
    async def pay(payment: Payment, message: Message) -> None:
        handled.append(f"{payment.reference} {message.id} {message.correlation_id}")

    async with Harness(topology) as harness:
        for _ in range(2):
            await harness.publish(memory.topic("in"), Payment(reference="a", amount=3), id="1")
        await harness.settle()
    assert Counter(handled) == {"a None None": 6, "a the handler's own None": 1}
