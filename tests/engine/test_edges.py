"""What handlers, models and messages may do wrong: it costs one message, or the start; never the stage behind it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import FunctionType
from typing import Annotated, Any

import anyio
import pytest
from pydantic import BaseModel, field_validator

from actors import VirtualClock
from headrace import (
    Actor,
    Batch,
    Depends,
    DrainTimeout,
    Engine,
    Harness,
    Memory,
    Message,
    Retry,
    Topology,
    TopologyError,
)
from tests.engine.telemetry.traced import Spans

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int
    customer: str = "a"


class Panic(BaseException):
    """Like what an extension module raises when it panics."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Untold(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


async def await_what_is_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def panic() -> None:
    raise Panic("index out of bounds")


async def close_nothing() -> None:
    raise GeneratorExit


async def stop_nothing() -> None:
    raise StopAsyncIteration


async def panic_beside_another() -> None:
    raise BaseExceptionGroup("both", [Panic("index out of bounds"), ValueError("and this")])


async def reasons_of(topology: Topology, memory: Memory, *bodies: Any) -> tuple[list[Any], list[str]]:
    """What came out for these bodies, and why the others are dead."""
    async with Harness(topology) as harness:
        for body in bodies:
            await harness.publish(memory.topic("in"), body)
        await harness.settle()
        dead = [str((each.headers or {})["headrace-reason"]) for each in harness.dead_letters(memory.topic("in"))]
        return harness.published(memory.topic("out")), dead


WRONG = [await_what_is_cancelled, panic, panic_beside_another, close_nothing, stop_nothing]


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_error_that_is_no_exception_costs_one_message(wrong: Callable[[], Any]) -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(order: Order) -> Order:
        if order.id == 1:
            await wrong()
        return order

    out, dead = await reasons_of(topology, memory, {"id": 1}, {"id": 2})
    assert out == [Order(id=2)]
    assert len(dead) == 1


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_error_that_is_no_exception_costs_one_batch(wrong: Callable[[], Any]) -> None:
    memory, topology = Memory(), Topology("edges")
    sizes: list[int] = []

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), batch=Batch(size=2, wait=1))
    async def handle(orders: list[Order]) -> None:
        if orders[0].id == 1:
            await wrong()
        sizes.append(len(orders))

    _, dead = await reasons_of(topology, memory, {"id": 1}, {"id": 2}, {"id": 3}, {"id": 4})
    assert len(dead) == 2
    assert sizes == [2]


@pytest.mark.parametrize("error", [Panic("index out of bounds"), GeneratorExit("index out of bounds"), StopIteration()])
async def test_a_thread_that_panics_costs_one_message(error: BaseException) -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    def handle(order: Order) -> Order:
        if order.id == 1:
            raise error
        return order

    out, dead = await reasons_of(topology, memory, {"id": 1}, {"id": 2})
    assert out == [Order(id=2)]
    assert len(dead) == 1
    assert dead[0].startswith(("index out of bounds", type(error).__name__))


async def test_an_actor_whose_start_raises_what_closes_generators_is_started_again() -> None:
    memory, topology = Memory(), Topology("edges")
    starts: list[int] = []

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    class Late(Actor):
        async def on_start(self) -> None:
            starts.append(1)
            if len(starts) == 1:
                raise GeneratorExit

        async def receive(self, order: Order) -> Order:
            return order

    assert await reasons_of(topology, memory, {"id": 1}) == ([Order(id=1)], [])
    assert len(starts) == 2


async def test_an_actor_whose_start_was_cancelled_by_somebody_else_is_started_again() -> None:
    memory, topology = Memory(), Topology("edges")
    starts: list[int] = []

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    class Late(Actor):
        async def on_start(self) -> None:
            starts.append(1)
            if len(starts) == 1:
                await await_what_is_cancelled()

        async def receive(self, order: Order) -> Order:
            return order

    assert await reasons_of(topology, memory, {"id": 1}) == ([Order(id=1)], [])
    assert len(starts) == 2


def test_what_the_end_of_the_event_loop_cancels_has_not_failed() -> None:
    memory, topology = Memory(), Topology("edges")
    at_work: list[int] = []
    all_busy = asyncio.Event()

    @topology.subscriber(memory.topic("in"), max_workers=3)
    async def hang(order: Order) -> None:
        at_work.append(order.id)
        if len(at_work) == 3:
            all_busy.set()
        await anyio.sleep_forever()

    engine = Engine(topology.graph())

    async def main() -> None:
        running = asyncio.ensure_future(engine.run())
        async with memory:
            for number in range(3):
                await memory.topic("in").publish({"id": number})
        await all_busy.wait()
        assert not running.done()

    asyncio.run(main())
    (status,) = engine.status()
    assert (status.failed, status.returned) == (0, 3)
    assert memory.messages("in.dead") == []


# -- what dead letters say -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unspeakable(), "its text cannot be had: RuntimeError"),
        (Untold("neither"), "neither"),
        (ValueError("\r\n\n  first\r\nHost: evil"), "first"),
        (ValueError("a\x00b\x1b[2J"), r"a\x00b\x1b[2J"),
        (ValueError("x" * 10_000_000), "x" * 500),
        (ValueError("\n"), "ValueError"),
    ],
)
async def test_whatever_an_error_says_its_reason_is_one_line_that_a_header_can_carry(
    error: Exception, reason: str
) -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=2))
    async def handle(order: Order) -> Order:
        if order.id == 1:
            raise error
        return order

    assert await reasons_of(topology, memory, {"id": 1}, {"id": 2}) == ([Order(id=2)], [reason])


async def test_a_long_traceback_keeps_where_it_happened() -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.subscriber(memory.topic("in"))
    async def talkative(order: Order) -> None:
        raise ValueError("x" * 100_000 + "the end")

    async with Harness(topology) as harness:
        await harness.publish(memory.topic("in"), {"id": 1})
        await harness.settle()
        (letter,) = harness.dead_letters(memory.topic("in"))
    told = str((letter.headers or {})["headrace-traceback"])
    assert len(told) <= 4000
    assert "in talkative" in told
    assert told.endswith("the end\n")


class Choosy(BaseModel):
    id: int

    @field_validator("id")
    @classmethod
    def judge(cls, value: int) -> int:
        if value == 1:
            raise Unspeakable
        if value == 2:
            raise Panic("index out of bounds")
        return value


async def test_a_validator_may_raise_anything() -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(body: Choosy) -> Choosy:
        return body

    out, dead = await reasons_of(topology, memory, {"id": 1}, {"id": 2}, {"id": 3})
    assert out == [Choosy(id=3)]
    assert dead == [
        "the body's validator raised Unspeakable: its text cannot be had: RuntimeError",
        "index out of bounds",
    ]


async def test_a_key_that_cannot_be_told_is_the_reason() -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), key="k", max_workers=4)
    async def handle(body: dict[str, Any]) -> dict[str, Any]:
        return body

    out, dead = await reasons_of(topology, memory, {"k": [1]}, {"k": None}, {})
    assert out == [{"k": None}]
    assert dead == [
        "its key cannot be told: TypeError: unhashable type: 'list'",
        "a body of type dict has no field 'k'",
    ]


@pytest.mark.parametrize("headers", [[("a", "b")], "text", 5])
async def test_headers_that_are_no_mapping_are_dead(headers: Any) -> None:
    memory, topology = Memory(), Topology("edges")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def handle(order: Order) -> Message:
        return Message(order, headers=headers if order.id == 1 else {"a": b"\xff"})

    out, dead = await reasons_of(topology, memory, {"id": 1}, {"id": 2})
    assert out == [{"id": 2, "customer": "a"}]
    assert dead == [f"the headers are {type(headers).__name__}: expected a mapping of names to str or bytes"]


async def test_a_publishers_key_may_raise_anything() -> None:
    memory, topology = Memory(), Topology("edges")

    def key(message: Message) -> str:
        if message.body.id == 1:
            raise Panic("index out of bounds")
        return "k"

    @topology.publisher(memory.topic("out"), key=key)
    @topology.subscriber(memory.topic("in"))
    async def handle(order: Order) -> Order:
        return order

    out, dead = await reasons_of(topology, memory, {"id": 1}, {"id": 2})
    assert out == [Order(id=2)]
    assert dead == ["a body of type Order cannot be published: index out of bounds"]


# -- start and end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("traced", [False, True])
async def test_a_generator_that_waits_while_nobody_takes_what_it_makes_is_not_late(traced: bool) -> None:
    memory, topology, clock, spans = Memory(), Topology("shop"), VirtualClock(), Spans()
    out = memory.topic("out", group="readers", capacity=100)

    @topology.publisher(out, mailbox=100)
    @topology.subscriber(memory.topic("in"), timeout=5)
    async def many(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    reader, read = out.source("readers"), 0
    await reader.open()
    async with memory:
        await memory.topic("in").publish(1000)
    with anyio.fail_after(20):
        async with Engine(topology, clock=clock, tracer_provider=spans.provider if traced else None) as engine:
            (handling,) = [running for running in engine.running if running.ledgers]
            (publishing,) = [running for running in engine.running if not running.ledgers]
            while not publishing.mailbox.statistics().putters_waiting:
                await anyio.sleep(0.001)
            clock.advance(1000)
            await anyio.wait_all_tasks_blocked()
            while read < 1000:
                run = await reader.fetch(100)
                read += len(run)
                await reader.settle(run, [])
            while handling.ledgers[0].open:
                await anyio.sleep(0.001)
    assert len(spans.named("process in")) == traced
    assert not memory.messages("in.dead")


@pytest.mark.parametrize("depends", [False, True])
async def test_what_a_generator_in_a_thread_yields_goes_on_before_it_yields_more(depends: bool) -> None:
    memory, topology, seen = Memory(), Topology("shop"), threading.Event()

    def many(count: int) -> Iterator[str]:
        yield "first"
        yield "second" if seen.wait(20) else "too late"

    def nothing() -> int:
        return 0

    def many_with(count: int, number: Annotated[int, Depends(nothing)]) -> Iterator[str]:
        yield from many(count)

    topology.publisher(memory.topic("out"))(topology.subscriber(memory.topic("in"))(many_with if depends else many))
    async with memory:
        await memory.topic("in").publish(1)
    with anyio.fail_after(10):
        async with Engine(topology):
            try:
                while not memory.messages("out"):
                    await anyio.sleep(0.001)
            finally:
                seen.set()
            while len(memory.messages("out")) < 2:
                await anyio.sleep(0.001)
    assert [message.raw for message in memory.messages("out")] == [b"first", b"second"]


async def test_an_engine_that_has_not_started_can_be_drained() -> None:
    memory, topology, begun = Memory(), Topology("edges"), anyio.Event()

    @topology.subscriber(memory.topic("in"))
    class Endless(Actor):
        async def on_start(self) -> None:
            begun.set()
            await anyio.sleep_forever()

        async def receive(self, order: Order) -> None: ...

    engine = Engine(topology.graph(), drain=0)

    async def drain() -> None:
        await begun.wait()
        engine.drain()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            with pytest.raises(DrainTimeout):
                await engine.run()


async def test_a_thousand_stages_in_a_row_start_and_drain() -> None:
    memory, topology = Memory(), Topology("edges")

    async def step(body: dict[str, Any]) -> dict[str, Any]:
        return body

    behind: Any = memory.topic("in")
    for number in range(1000):
        made: Any = FunctionType(step.__code__, step.__globals__, f"step{number}")
        made.__annotations__ = step.__annotations__
        behind = topology.subscriber(behind)(made)
    topology.publisher(memory.topic("out"))(behind)
    async with memory:
        await memory.topic("in").publish({"id": 1})
    with anyio.fail_after(10):
        await Engine(topology.graph()).run(burst=True)
    assert len(memory.messages("out")) == 1


async def test_a_harness_that_cannot_start_says_so_before_the_test_begins() -> None:
    memory, topology, entered = Memory(), Topology("edges"), []

    @topology.lifespan
    async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    @topology.subscriber(memory.topic("in"))
    async def handle(order: Order) -> None: ...

    with pytest.raises(OSError, match="no database"):
        async with Harness(topology):
            entered.append(1)
    assert not entered


async def test_a_harness_that_is_cancelled_while_it_starts_lets_go() -> None:
    memory, topology, begun = Memory(), Topology("edges"), anyio.Event()

    @topology.subscriber(memory.topic("in"))
    class Endless(Actor):
        async def on_start(self) -> None:
            begun.set()
            await anyio.sleep_forever()

        async def receive(self, order: Order) -> None: ...

    async def enter() -> None:
        async with Harness(topology):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert tasks.cancel_scope.cancelled_caught


async def test_a_harness_shows_what_a_router_sent_beside_its_type() -> None:
    memory, topology = Memory(), Topology("edges")
    out = topology.publisher(memory.topic("out"))

    def choose(order: Order) -> object:
        return out if order.id == 1 else out.send({"other": 2})

    @topology.router(memory.topic("in"), to=[out])
    def either(order: Order) -> object:
        return choose(order)

    assert await reasons_of(topology, memory, {"id": 1}, {"id": 2}) == ([Order(id=1), {"other": 2}], [])


def test_two_topologies_of_one_name_are_refused() -> None:
    memory, first, second = Memory(), Topology("orders"), Topology("orders")
    for number, topology in enumerate((first, second)):

        @topology.subscriber(memory.topic(f"into.{number}"))
        def handle(body: str) -> None: ...

    with pytest.raises(TopologyError, match="two topologies are called orders"):
        Engine(first, second)
