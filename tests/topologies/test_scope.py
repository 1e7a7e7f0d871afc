"""Dependencies: provided once a message, in order, and cleaned up in reverse."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from logging import Logger
from typing import Annotated, Any

import pytest
from anyio import CancelScope, Event, create_task_group, lowlevel

from actors import Actor, Message
from tests.topologies.handling import Worker, compiled, handled
from topologies import Context, Depends, Header

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


async def test_dependencies_of_every_form_are_provided() -> None:
    async def one(message: Message) -> int:
        return int(message.body)

    def two() -> tuple[int, bool]:
        return 2, in_main_thread()

    async def three() -> AsyncIterator[int]:
        yield 3

    def four() -> Iterator[tuple[int, bool]]:
        yield 4, in_main_thread()

    class Five:
        def __init__(self, message: Message) -> None:
            self.body = message.body

    class Six:
        async def __call__(self) -> int:
            return 6

    async def handle(
        order: int,
        a: Annotated[int, Depends(one)],
        b: Annotated[Any, Depends(two)],
        c: Annotated[int, Depends(three)],
        d: Annotated[Any, Depends(four)],
        e: Annotated[Five, Depends(Five)],
        f: Annotated[int, Depends(Six())],
    ) -> Any:
        return order, a, b, c, d, e.body, f

    assert await handled(handle, Message(1)) == (1, 1, (2, False), 3, (4, False), 1, 6)


async def test_a_context_manager_is_the_generator_that_it_was_made_of() -> None:
    log: list[str] = []

    async def opened(name: str) -> AsyncIterator[str]:
        log.append(f"open {name}")
        yield name
        log.append(f"close {name}")

    @asynccontextmanager
    async def session(message: Message) -> AsyncIterator[str]:
        async for name in opened(f"session of {message.body}"):
            yield name

    @contextmanager
    def file(name: Annotated[str, Depends(session)]) -> Iterator[str]:
        log.append("open file")
        yield f"file in {name}"
        log.append("close file")

    async def handle(order: int, held: Annotated[str, Depends(file)], also: Annotated[str, Depends(session)]) -> str:
        log.append(also)
        return held

    assert await handled(handle, Message(1)) == "file in session of 1"
    name = "session of 1"
    assert log == [f"open {name}", "open file", name, "close file", f"close {name}"]


class Database:
    """Sessions as context managers: methods of an object, of the class, and functions bound to their arguments."""

    def __init__(self, name: str) -> None:
        self.name = name

    @asynccontextmanager
    async def session(self, message: Message) -> AsyncIterator[str]:
        yield f"{self.name}, session of {message.body}"

    @contextmanager
    def file(self) -> Iterator[str]:
        yield f"{self.name}, file"

    @classmethod
    @asynccontextmanager
    async def shared(cls) -> AsyncIterator[str]:
        yield f"{cls.__name__}, shared"

    @staticmethod
    @contextmanager
    def local(name: str = "nowhere") -> Iterator[str]:
        yield f"{name}, local"


ORDERS = Database("orders")


@pytest.mark.parametrize(
    ("manager", "provides"),
    [
        (ORDERS.session, "orders, session of 1"),
        (ORDERS.file, "orders, file"),
        (ORDERS.shared, "Database, shared"),
        (ORDERS.local, "nowhere, local"),
        (partial(Database.file, ORDERS), "orders, file"),
        (partial(ORDERS.session), "orders, session of 1"),
        (partial(ORDERS.local, name="here"), "here, local"),
    ],
)
async def test_a_context_manager_may_be_a_method_or_a_partial_of_one(manager: Any, provides: str) -> None:
    async def handle(order: int, held: Annotated[str, Depends(manager)]) -> str:
        return held

    assert await handled(handle, Message(1)) == provides


async def test_every_form_of_handler_may_have_dependencies() -> None:
    async def base() -> int:
        return 10

    def blocking(order: int, ten: Annotated[int, Depends(base)]) -> int:
        return order + ten

    async def items_async(order: int, ten: Annotated[int, Depends(base)]) -> AsyncIterator[int]:
        yield order + ten

    def items(order: int, ten: Annotated[int, Depends(base)]) -> Iterator[int]:
        yield order + ten

    class Adding(Actor):
        async def receive(self, order: int, ten: Annotated[int, Depends(base)]) -> int:
            return order + ten

    message = Message(1)
    assert await handled(blocking, message) == 11
    assert await handled(blocking, message, router=True) == 11
    assert await handled(Adding, message) == 11
    for generator in (items, items_async):
        worker = Worker(compiled(generator))
        await worker.handle(message)
        assert worker.emitted == [(message, 11)]


async def test_a_dependency_may_ask_for_whatever_a_handler_may() -> None:
    async def tenant(
        message: Message,
        log: Logger,
        name: Annotated[str, Header("tenant")],
        known: Annotated[dict[str, int], Context("tenants")],
        fallback: int = 0,
    ) -> int:
        return known.get(name, fallback)

    async def doubled(number: Annotated[int, Depends(tenant)]) -> int:
        return number * 2

    async def handle(order: int, number: Annotated[int, Depends(doubled)]) -> int:
        return number

    message = Message(1, headers={"tenant": "acme"})
    assert await handled(handle, message, {"tenants": {"acme": 21}}) == 42


async def test_a_dependency_is_called_once_a_message_unless_told_otherwise() -> None:
    calls = []

    async def counted() -> int:
        calls.append(1)
        return len(calls)

    async def other(first: Annotated[int, Depends(counted)]) -> int:
        return first

    async def handle(
        order: int,
        a: Annotated[int, Depends(counted)],
        b: Annotated[int, Depends(other)],
        c: Annotated[int, Depends(counted, use_cache=False)],
    ) -> Any:
        return a, b, c

    worker = Worker(compiled(handle))
    assert await worker.handle(Message(1)) == (1, 1, 2)
    assert await worker.handle(Message(1)) == (3, 3, 4)


def tracing(log: list[str]) -> Any:
    async def outer() -> AsyncIterator[str]:
        log.append("open outer")
        try:
            yield "outer"
        except BaseException as error:
            log.append(f"outer sees {type(error).__name__}")
            raise
        finally:
            log.append("close outer")

    def inner(above: Annotated[str, Depends(outer)]) -> Iterator[str]:
        log.append("open inner")
        try:
            yield f"{above}/inner"
        finally:
            log.append("close inner")

    return inner


async def test_cleanup_runs_in_reverse_after_the_handler() -> None:
    log: list[str] = []

    async def handle(order: int, name: Annotated[str, Depends(tracing(log))]) -> str:
        log.append(f"handle with {name}")
        return name

    handle.__annotations__["name"] = Annotated[str, Depends(tracing(log))]
    assert await handled(handle, Message(1)) == "outer/inner"
    assert log == ["open outer", "open inner", "handle with outer/inner", "close inner", "close outer"]


async def test_cleanup_sees_what_the_handler_raised() -> None:
    log: list[str] = []

    async def handle(order: int, name: str) -> None:
        raise LookupError("lost")

    handle.__annotations__["name"] = Annotated[str, Depends(tracing(log))]
    with pytest.raises(LookupError, match="lost"):
        await handled(handle, Message(1))
    assert log == ["open outer", "open inner", "close inner", "outer sees LookupError", "close outer"]


async def test_what_was_provided_is_cleaned_up_when_a_later_dependency_fails() -> None:
    log: list[str] = []

    async def failing() -> None:
        raise LookupError("no connection")

    async def handle(order: int, name: str, other: Annotated[None, Depends(failing)]) -> None: ...

    handle.__annotations__["name"] = Annotated[str, Depends(tracing(log))]
    with pytest.raises(LookupError, match="no connection"):
        await handled(handle, Message(1))
    assert log[-2:] == ["outer sees LookupError", "close outer"]


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_cleanup_that_swallows_the_error_does_not_make_a_success_of_it(threaded: bool) -> None:
    async def swallow() -> AsyncIterator[None]:
        try:
            yield
        except LookupError:
            return

    def swallow_in_thread() -> Iterator[None]:
        try:
            yield
        except LookupError:
            return

    dependency: Any = swallow_in_thread if threaded else swallow

    async def handle(order: int, nothing: None) -> None:
        raise LookupError("lost")

    handle.__annotations__["nothing"] = Annotated[None, Depends(dependency)]
    with pytest.raises(LookupError, match="lost"):
        await handled(handle, Message(1))


async def test_cleanup_that_may_block_runs_even_when_the_worker_is_cancelled() -> None:
    log: list[str] = []
    waiting = Event()

    async def handle(order: int, name: str) -> None:
        waiting.set()
        await lowlevel.checkpoint()
        await Event().wait()

    handle.__annotations__["name"] = Annotated[str, Depends(tracing(log))]
    with CancelScope() as scope:
        async with create_task_group() as group:
            group.start_soon(handled, handle, Message(1))
            await waiting.wait()
            scope.cancel()
    assert log[2] == "close inner"
    assert log[-1] == "close outer"


async def test_each_message_has_values_of_its_own() -> None:
    async def key(message: Message) -> Any:
        await lowlevel.checkpoint()
        return message.key

    async def handle(order: int, found: Annotated[Any, Depends(key)]) -> None:
        seen[order] = found

    seen: dict[int, Any] = {}
    worker = Worker(compiled(handle))
    async with create_task_group() as group:
        for number in range(5):
            group.start_soon(worker.handle, Message(number, key=f"k{number}"))
    assert seen == {number: f"k{number}" for number in range(5)}
