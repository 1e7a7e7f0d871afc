"""A drain that cannot finish: what is left is told by stage and goes back, whatever it is that hangs."""

import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from engine import closing
from engine.assembly.connect import ByBroker
from headrace import Actor, Batch, DrainTimeout, Engine, Memory, Retry, Topology, TopologyError

pytestmark = pytest.mark.anyio


async def fill(memory: Memory, count: int) -> None:
    async with memory:
        for number in range(count):
            await memory.topic("in").publish({"id": number})


async def run_and_drain(engine: Engine, when: anyio.Event) -> DrainTimeout | None:
    """Run it, drain it at that moment; what it raised."""

    async def drain() -> None:
        await when.wait()
        engine.drain()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            try:
                await engine.run()
            except DrainTimeout as error:
                return error
    return None


async def rest(memory: Memory) -> list[int]:
    """What comes again when the same group reads once more."""
    topology, seen = Topology("drained"), []

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> None:
        seen.append(body["id"])

    await Engine(topology.graph()).run(burst=True)
    return sorted(seen)


async def until(there: Any) -> None:
    with anyio.fail_after(20):
        while not there():
            await anyio.sleep(0.005)


async def test_what_a_hanging_handler_holds_up_is_listed_by_stage_and_goes_back() -> None:
    memory, topology, engine = Memory(), Topology("drained"), None
    full = anyio.Event()

    @topology.subscriber(memory.topic("in"), max_workers=3, mailbox=5)
    async def work(body: dict[str, int]) -> None:
        if engine is not None and engine.status()[0].depth == 5:
            full.set()
        await anyio.sleep_forever()

    await fill(memory, 20)
    engine = Engine(topology.graph(), drain=0.05)
    async with anyio.create_task_group() as tasks:

        async def see() -> None:
            await until(lambda: engine.assemblies and engine.status()[0].depth == 5 and engine.status()[0].busy == 3)
            full.set()

        tasks.start_soon(see)
        error = await run_and_drain(engine, full)
    assert error is not None
    (left,) = error.unfinished
    assert (left.stage, left.count, left.waiting) == ("work", 8, ("3 in its handler", "5 in its mailbox"))
    assert left.oldest >= 0.05
    assert "work 8 (oldest 0." in str(error)
    assert engine.status()[0].settled == 0
    assert await rest(memory) == list(range(20))


async def test_what_waits_in_a_stage_behind_is_told_with_the_stage_that_fetched_it() -> None:
    memory, topology, stuck = Memory(), Topology("drained"), anyio.Event()

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> dict[str, int]:
        return body

    @topology.subscriber(work, mailbox=2)
    async def store(body: dict[str, int]) -> None:
        stuck.set()
        await anyio.sleep_forever()

    await fill(memory, 3)
    error = await run_and_drain(Engine(topology.graph(), drain=0.05), stuck)
    assert error is not None
    (left,) = error.unfinished
    assert (left.stage, left.count) == ("work", 3)
    assert "store: 1 in its handler" in left.waiting
    assert await rest(memory) == [0, 1, 2]


async def test_a_retry_that_comes_too_late_goes_back_and_is_no_failure_of_the_drain() -> None:
    memory, topology, failed = Memory(), Topology("drained"), anyio.Event()

    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=2, first=600, cap=600))
    async def work(body: dict[str, int]) -> None:
        failed.set()
        raise ValueError("not now")

    await fill(memory, 1)
    assert await run_and_drain(Engine(topology.graph(), drain=5), failed) is None
    assert await rest(memory) == [0]


async def test_a_publisher_that_hangs_is_told_of() -> None:
    memory, topology, stuck = Memory(), Topology("drained"), anyio.Event()

    class Hanging:
        destination = "out"

        async def open(self) -> None: ...

        async def close(self) -> None:
            await anyio.sleep_forever()

        async def publish(self, run: Any) -> None:
            stuck.set()
            await anyio.sleep_forever()

    class Connect(ByBroker):
        def sink(self, endpoint: Any) -> Any:
            return Hanging() if endpoint.name == "out" else endpoint.sink()

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> dict[str, int]:
        return body

    await fill(memory, 4)
    error = await run_and_drain(Engine(topology.graph(), drain=0.05, connect=Connect()), stuck)
    assert error is not None
    assert error.left == {"work": 4}
    assert any("not confirmed" in wait for wait in error.unfinished[0].waiting)
    assert await rest(memory) == [0, 1, 2, 3]


async def test_what_a_thread_holds_goes_back_before_the_thread_returns(caplog: pytest.LogCaptureFixture) -> None:
    memory, topology, release, stuck = Memory(), Topology("drained"), threading.Event(), anyio.Event()

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    def work(body: dict[str, int]) -> dict[str, int]:
        anyio.from_thread.run_sync(stuck.set)
        assert release.wait(30)
        return body

    await fill(memory, 3)
    engine = Engine(topology.graph(), drain=0.05)
    errors: list[DrainTimeout | None] = []

    async def run() -> None:
        errors.append(await run_and_drain(engine, stuck))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await until(lambda: "something does not end" in caplog.text)
            assert not errors
            assert await rest(memory) == [0, 1, 2]
        finally:
            release.set()
    assert errors[0] is not None
    assert errors[0].left == {"work": 3}
    assert memory.messages("out") == [], "what the thread made came too late: others have its message"


async def test_an_actor_whose_farewell_hangs_holds_up_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    memory, topology, done = Memory(), Topology("drained"), anyio.Event()

    @topology.subscriber(memory.topic("in"))
    class work(Actor):  # noqa: N801 - its group is that of the others
        async def receive(self, body: dict[str, int]) -> None:
            done.set()

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    await fill(memory, 1)
    assert await run_and_drain(Engine(topology.graph(), drain=0.2), done) is None
    assert "on_stop of work took longer than 4 s" in caplog.text
    assert await rest(memory) == []


async def test_a_lifespan_that_does_not_end_is_cut_off_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(closing, "FAREWELL", 0.05)
    memory, topology, done, ended = Memory(), Topology("drained"), anyio.Event(), []

    @topology.lifespan
    async def outer(context: dict[str, Any]) -> AsyncIterator[None]:
        yield
        ended.append("outer")

    @topology.lifespan
    async def database(context: dict[str, Any]) -> AsyncIterator[None]:
        async with anyio.create_task_group():
            yield
            await anyio.sleep_forever()

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> None:
        done.set()
        await anyio.sleep_forever()

    await fill(memory, 1)
    error = await run_and_drain(Engine(topology.graph(), drain=0.05), done)
    assert error is not None
    assert error.left == {"work": 1}
    assert "database took longer than 0.05 s to end" in caplog.text
    assert ended == ["outer"]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_lifespan_that_does_not_yield_once_is_named(count: int) -> None:
    memory, topology = Memory(), Topology("drained")

    @topology.lifespan
    async def database(context: dict[str, Any]) -> AsyncIterator[None]:
        for _ in range(count):
            yield

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> None: ...

    engine = Engine(topology.graph())
    await fill(memory, 1)
    with pytest.raises(
        TopologyError, match=r"lifespan .*database: generator didn't (yield|stop)\n  let it come to one"
    ):
        await engine.run(burst=True)


async def test_what_went_wrong_before_a_lifespan_hung_is_what_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "FAREWELL", 0.05)
    memory, topology = Memory(), Topology("drained")

    @topology.lifespan
    async def database(context: dict[str, Any]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await anyio.sleep_forever()

    @topology.lifespan
    async def broken(context: dict[str, Any]) -> AsyncIterator[None]:
        raise OSError("no queue")
        yield

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> None: ...

    with pytest.raises(OSError, match="no queue"), anyio.fail_after(10):
        await Engine(topology.graph()).run()


@pytest.mark.parametrize("behind", [False, True])
async def test_a_partial_batch_goes_at_once(behind: bool) -> None:
    memory, topology, sizes = Memory(), Topology("drained"), []
    there = anyio.Event()

    async def collect(bodies: list[dict[str, int]]) -> None:
        sizes.append(len(bodies))

    if behind:

        @topology.subscriber(memory.topic("in"))
        async def first(body: dict[str, int]) -> dict[str, int]:
            if body["id"] == 2:
                there.set()
                await until(lambda: sizes)  # it goes before this stage has been drained
            return body

        topology.subscriber(first, batch=Batch(size=100, wait=600))(collect)
    else:
        topology.subscriber(memory.topic("in"), batch=Batch(size=100, wait=600))(collect)
    await fill(memory, 3)
    engine = Engine(topology.graph(), drain=15)
    async with anyio.create_task_group() as tasks:

        async def see() -> None:
            await until(lambda: engine.assemblies and sum(status.received for status in engine.status()) == 3)
            there.set()

        tasks.start_soon(see)
        assert await run_and_drain(engine, there) is None
    assert sum(sizes) == 3
    assert sum(status.settled for status in engine.status()) == 3


async def test_a_drain_of_no_time_gives_back_what_is_not_done_and_acknowledges_what_is() -> None:
    memory, topology, stuck = Memory(), Topology("drained"), anyio.Event()

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> None:
        if body["id"] == 2:
            stuck.set()
            await anyio.sleep_forever()

    await fill(memory, 5)
    error = await run_and_drain(Engine(topology.graph(), drain=0), stuck)
    assert error is not None
    assert error.left == {"work": 3}
    assert await rest(memory) == [2, 3, 4]


async def test_a_drain_of_no_time_with_nothing_to_do_is_no_failure() -> None:
    memory, topology = Memory(), Topology("drained")

    @topology.subscriber(memory.topic("in"))
    async def work(body: dict[str, int]) -> None: ...

    engine = Engine(topology.graph(), drain=0)
    started = engine.started
    assert await run_and_drain(engine, started) is None


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_handler_that_keeps_the_event_loop_does_not_hold_up_a_drain_whose_time_is_over(workers: int) -> None:
    memory, topology, handled, begun = Memory(), Topology("drained"), [], anyio.Event()

    @topology.subscriber(memory.topic("in"), max_workers=workers)
    async def work(body: dict[str, int]) -> None:
        time.sleep(0.1)  # noqa: ASYNC251 - that it blocks is the point
        handled.append(body["id"])
        begun.set()

    await fill(memory, 40)
    began = time.monotonic()
    error = await run_and_drain(Engine(topology.graph(), drain=0.2), begun)
    assert error is not None
    assert time.monotonic() - began < 2
    assert error.left == {"work": 40 - len(handled)}
    assert error.unfinished[0].waiting == (f"{40 - len(handled)} in its mailbox",)
    assert [each for each in await rest(memory) if each in handled] == []
