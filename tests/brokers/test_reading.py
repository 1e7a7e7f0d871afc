"""Reads that outlive the fetch which began them."""

import asyncio

import anyio
import pytest

from engine.redis.reading import Reading

pytestmark = pytest.mark.anyio


class Reads:
    """Counts reads; each brings what it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.brings: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.begun += 1
        return await self.brings


async def test_a_read_brings_its_result_once() -> None:
    reading: Reading[str] = Reading()
    reads = Reads()
    reads.brings.set_result("a")
    assert await reading.result(reads) == "a"
    assert await reading.result(reads) == "a"
    assert reads.begun == 2


async def test_whoever_comes_after_one_who_was_cancelled_gets_the_same_read() -> None:
    reading: Reading[str] = Reading()
    reads, got = Reads(), []

    async def wait() -> None:
        got.append(await reading.result(reads))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    reads.brings.set_result("a")
    await wait()
    assert (got, reads.begun) == (["a"], 1)


async def test_a_read_that_was_begun_before_anybody_waits_is_the_one_that_is_waited_for() -> None:
    reading: Reading[str] = Reading()
    reads = Reads()
    reading.begin(reads)
    reading.begin(reads)
    reads.brings.set_result("a")
    assert await reading.result(reads) == "a"
    assert reads.begun == 1


async def test_an_error_comes_to_whoever_waits_even_where_another_was_cancelled() -> None:
    reading: Reading[str] = Reading()
    reads = Reads()
    with anyio.move_on_after(0):
        await reading.result(reads)
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(OSError, match="gone"):
                await reading.result(reads)

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        reads.brings.set_exception(OSError("gone"))
    assert reads.begun == 1


async def test_an_error_that_nobody_waited_for_is_not_told_to_whoever_asks_later() -> None:
    reading: Reading[str] = Reading()
    for begun_by in ("result", "begin"):
        failed, reads = Reads(), Reads()
        with anyio.move_on_after(0):
            await reading.result(failed) if begun_by == "result" else reading.begin(failed)
        failed.brings.set_exception(OSError("gone"))
        await anyio.wait_all_tasks_blocked()
        reads.brings.set_result("a")
        assert await reading.result(reads) == "a"
        assert (failed.begun, reads.begun) == (1, 1)


async def test_being_woken_leaves_the_read_under_way() -> None:
    reading: Reading[str] = Reading()
    reads, got = Reads(), []

    async def wait() -> None:
        got.append(await reading.result(reads))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        reading.wake()
    reads.brings.set_result("a")
    await wait()
    assert (got, reads.begun) == ([None, "a"], 1)


async def test_stopping_ends_the_read_whatever_became_of_it() -> None:
    reading: Reading[str] = Reading()
    await reading.stop()
    for outcome in ("under way", "failed"):
        reads = Reads()
        with anyio.move_on_after(0):
            await reading.result(reads)
        if outcome == "failed":
            reads.brings.set_exception(OSError("gone"))
            await anyio.wait_all_tasks_blocked()
        assert await reading.stop() is None
        assert reads.brings.done()


async def test_what_a_read_has_brought_when_it_is_stopped_is_handed_out() -> None:
    reading: Reading[str] = Reading()
    reads = Reads()
    reading.begin(reads)
    reads.brings.set_result("a")
    await anyio.wait_all_tasks_blocked()
    assert await reading.stop() == "a"
    assert await reading.stop() is None


async def test_what_a_read_has_brought_is_handed_out_to_whoever_is_cancelled_while_stopping_it() -> None:
    for patience in (0.0, 60.0):
        reading: Reading[str] = Reading()
        reads, got = Reads(), list[str | None]()
        reading.begin(reads)
        reads.brings.set_result("a")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            scope.cancel()
            got.append(await reading.stop(patience))
        assert got == ["a"]


async def test_a_read_that_is_stopped_with_patience_may_still_end() -> None:
    reading: Reading[str] = Reading()
    reads, got = Reads(), []

    async def stop() -> None:
        got.append(await reading.stop(60))

    reading.begin(reads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        await anyio.wait_all_tasks_blocked()
        assert not reads.brings.done()
        reads.brings.set_result("a")
    assert got == ["a"]
    reading.begin(late := Reads())
    assert await reading.stop(0.001) is None
    assert late.brings.done()


async def test_whoever_gives_up_stopping_a_read_leaves_it_under_way() -> None:
    reading: Reading[str] = Reading()
    reads = Reads()
    reading.begin(reads)
    with anyio.move_on_after(0.001):
        await reading.stop(60)
    assert not reads.brings.done()
    reads.brings.set_result("a")
    assert await reading.result(reads) == "a"
