"""Handlers of every form: how they are run, and how they end."""

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from logging import getLogger
from typing import Any

import pytest
from anyio import CancelScope, Event, create_task_group, from_thread

from actors import Message
from tests.topologies.handling import Worker, compiled, handled

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def here() -> bool:
    return threading.current_thread() is threading.main_thread()


async def test_an_async_def_is_awaited_in_the_loop() -> None:
    async def handle(order: int) -> tuple[int, bool]:
        return order + 1, here()

    assert await handled(handle, Message(1)) == (2, True)


async def test_a_def_runs_in_a_worker_thread() -> None:
    def handle(order: int) -> tuple[int, bool]:
        return order + 1, here()

    assert await handled(handle, Message(1)) == (2, False)


async def test_a_def_of_a_router_decides_in_the_loop() -> None:
    def route(order: int) -> bool:
        return here()

    assert await handled(route, Message(1), router=True) is True


async def test_an_async_generator_emits_its_items_and_returns_nothing() -> None:
    closed = []

    async def split(order: int) -> AsyncIterator[int]:
        try:
            for number in range(order):
                yield number
        finally:
            closed.append(order)

    worker = Worker(compiled(split))
    message = Message(3)
    assert await worker.handle(message) is None
    assert worker.emitted == [(message, 0), (message, 1), (message, 2)]
    assert closed == [3]


async def test_a_generator_runs_in_a_worker_thread_and_emits_in_the_loop() -> None:
    def split(order: int) -> Iterator[tuple[int, bool]]:
        for number in range(order):
            yield number, here()

    worker = Worker(compiled(split))
    assert await worker.handle(Message(3)) is None
    assert worker.items == [(0, False), (1, False), (2, False)]


async def test_a_generator_of_a_router_runs_in_the_loop() -> None:
    def route(order: int) -> Iterator[tuple[str, bool]]:
        yield "target", here()

    worker = Worker(compiled(route, router=True))
    await worker.handle(Message(1))
    assert worker.items == [("target", True)]


@pytest.mark.parametrize("router", [False, True])
async def test_a_generator_that_fails_halfway_has_emitted_the_first_half_and_is_closed(router: bool) -> None:
    def split(order: int) -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    async def split_async(order: int) -> AsyncIterator[int]:
        yield 1
        raise LookupError("no more")

    for function in (split, split_async):
        worker = Worker(compiled(function, router=router))
        with pytest.raises(LookupError, match="no more"):
            await worker.handle(Message(1))
        assert worker.items == [1]


@pytest.mark.parametrize("router", [False, True])
async def test_what_emitting_raises_closes_the_generator(router: bool) -> None:
    closed = []

    def split(order: int) -> Iterator[int]:
        try:
            yield 1
        finally:
            closed.append("def")

    async def split_async(order: int) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("async def")

    async def refuse(message: Message, item: Any, at_once: bool = False) -> None:
        raise LookupError("refused")

    for function in (split, split_async):
        bound = compiled(function, router=router).bind(refuse, {}, getLogger("tests"))
        with pytest.raises(LookupError, match="refused"):
            await bound.invoke(Message(1))
    assert closed == ["def", "async def"]


async def test_a_generator_in_a_thread_ends_when_its_worker_is_cancelled() -> None:
    emitted = []
    closed = []

    def endless(order: int) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(order)

    with CancelScope() as scope:

        async def emit(message: Message, item: Any, at_once: bool = False) -> None:
            emitted.append(item)
            if len(emitted) == 3:
                scope.cancel()

        await compiled(endless).bind(emit, {}, getLogger("tests")).invoke(Message(1))
    assert scope.cancelled_caught
    assert len(emitted) == 3
    assert closed == [1]


async def test_workers_in_threads_never_wait_for_threads_that_wait_for_them() -> None:
    """More generators than any shared pool of threads has, all of them waiting for one `def`."""
    released = Event()
    waiting = 0

    def split(order: int) -> Iterator[int]:
        yield order

    def release(order: int) -> None:
        from_thread.run_sync(released.set)

    async def emit(message: Message, item: Any, at_once: bool = False) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 50:
            group.start_soon(handled, release, Message(1))
        await released.wait()

    async with create_task_group() as group:
        for number in range(50):
            group.start_soon(compiled(split).bind(emit, {}, getLogger("tests")).invoke, Message(number))
    assert waiting == 50


async def test_other_callables_are_handlers_too() -> None:
    @dataclass
    class Adder:
        by: int

        async def __call__(self, order: int) -> int:
            return order + self.by

        async def method(self, order: int) -> int:
            return order - self.by

    async def add(by: int, order: int) -> int:
        return order + by

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @wrapped
    async def behind_a_wrapper(order: int) -> int:
        return order * 2

    assert await handled(Adder(2), Message(5)) == 7
    assert await handled(Adder(2).method, Message(5)) == 3
    assert await handled(functools.partial(add, 3), Message(5)) == 8
    assert await handled(behind_a_wrapper, Message(5)) == 10
    assert await handled(behind_a_wrapper, Message(5), router=True) == 10


async def test_parameters_by_position_by_name_and_with_defaults_get_what_is_theirs() -> None:
    async def positional(order: int, message: Message, /) -> Any:
        return order, message.key

    async def named(*, order: int, message: Message) -> Any:
        return order, message.key

    async def defaults(order: int, times: int = 2, *rest: int, message: Message, sign: int = -1, **more: int) -> Any:
        return order * times * sign, message.key, rest, more

    async def between(order: int, times: int = 2, message: Message | None = None) -> Any:
        return order * times, message.key if message else None

    message = Message(5, key="k")
    assert await handled(positional, message) == (5, "k")
    assert await handled(named, message) == (5, "k")
    assert await handled(defaults, message) == (-10, "k", (), {})
    assert await handled(between, message) == (10, "k")
