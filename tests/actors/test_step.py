"""`watched`: told of each wait, and otherwise as if it was not there. `not_ours`: why one was cancelled."""

import asyncio

import pytest
from anyio import CancelScope, Event, create_task_group, fail_after, get_cancelled_exc_class, to_thread
from anyio.lowlevel import checkpoint

from actors.step import not_ours, watched
from tests.actors.fakes import quiet

pytestmark = pytest.mark.anyio


async def in_a_task(call, on_wait):
    await watched(call(), on_wait)


async def test_it_is_told_of_each_wait_before_it_happens():
    log, gate = [], Event()

    async def call():
        log.append("begins")
        await gate.wait()
        log.append("goes on")

    async with create_task_group() as tasks:
        tasks.start_soon(in_a_task, call, lambda: log.append("waits"))
        await quiet()
        assert log == ["begins", "waits"]
        gate.set()
    assert log == ["begins", "waits", "goes on"]


async def test_it_is_told_nothing_while_nothing_waits():
    log: list[int] = []
    waits: list[bool] = []

    async def inner():
        log.append(1)

    async def call():
        for _ in range(100):
            await inner()

    await watched(call(), lambda: waits.append(True))
    assert log == [1] * 100
    assert not waits


async def test_it_is_told_as_often_as_it_waits():
    waits = []

    async def call():
        for _ in range(5):
            await checkpoint()

    await watched(call(), lambda: waits.append(True))
    assert len(waits) >= 5


async def test_what_is_raised_passes_through():
    async def call():
        await checkpoint()
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside"):
        await watched(call(), lambda: None)


async def test_what_is_raised_before_the_first_wait_passes_through():
    async def call():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await watched(call(), lambda: None)


async def test_cancellation_reaches_the_inside_and_comes_out_again():
    log = []

    async def call():
        try:
            await Event().wait()
        except get_cancelled_exc_class():
            log.append("cancelled")
            raise
        finally:
            log.append("cleaned up")

    async with create_task_group() as tasks:
        tasks.start_soon(in_a_task, call, lambda: None)
        await quiet()
        tasks.cancel_scope.cancel()
    assert log == ["cancelled", "cleaned up"]


async def test_a_cancellation_may_be_caught_inside_by_a_scope_of_its_own():
    log = []

    async def call():
        with CancelScope() as scope:
            scope.cancel()
            await checkpoint()
        log.append("caught")
        await checkpoint()
        log.append("went on")

    await watched(call(), lambda: None)
    assert log == ["caught", "went on"]


async def test_shields_tasks_and_threads_work_inside():
    log: list = []

    async def call():
        async with create_task_group() as tasks:
            for at in range(3):
                tasks.start_soon(work, at)
        log.append(await to_thread.run_sync(lambda: "thread"))
        with CancelScope(shield=True):
            await checkpoint()

    async def work(at):
        await checkpoint()
        log.append(at)

    with fail_after(5):
        await watched(call(), lambda: None)
    assert sorted(log[:3]) == [0, 1, 2]
    assert log[3:] == ["thread"]


def test_closed_while_it_waits_it_closes_the_inside():
    log = []

    class Pause:
        def __await__(self):
            yield "pause"

    async def call():
        try:
            await Pause()
        finally:
            log.append("closed")

    stepped = watched(call(), lambda: log.append("waits"))
    assert stepped.send(None) == "pause"
    stepped.close()
    assert log == ["waits", "closed"]


async def test_a_cancellation_of_our_own_is_told_from_one_of_something_awaited():
    seen = []

    async def call():
        try:
            await Event().wait()
        except BaseException as error:
            seen.append(not_ours(error))
            raise

    async with create_task_group() as tasks:
        tasks.start_soon(call)
        await quiet()
        tasks.cancel_scope.cancel()
    assert seen == [False]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_cancellation_of_a_future_is_not_ours():
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await future
    assert not_ours(raised.value)


class Panic(BaseException):
    """What an extension module may raise, out of its own world."""


@pytest.mark.parametrize("error", [Panic(), SystemExit(1), BaseExceptionGroup("more", [Panic()])])
async def test_what_nobody_asked_for_is_not_ours(error):
    assert not_ours(error)


@pytest.mark.parametrize(
    "error", [GeneratorExit(), KeyboardInterrupt(), BaseExceptionGroup("more", [Panic(), KeyboardInterrupt()])]
)
async def test_the_wish_to_end_is_ours(error):
    assert not not_ours(error)
