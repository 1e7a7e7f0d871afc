"""What handlers may ask for beside the body: each kind, missing ones, dependencies and their cleanup."""

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from logging import Logger, LoggerAdapter, getLogger
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from anyio import CancelScope, Event, create_task_group, lowlevel
from pydantic import BaseModel, Field

from actors import Actor, DecodeError, Message, TopologyError
from tests.topologies.handling import Worker, compiled, handled
from topologies import Context, Depends, Header

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


# -- message and logger --------------------------------------------------------------------------------------


async def test_the_message_itself_is_handed_over() -> None:
    async def handle(order: int, message: Message, again: Optional[Message]) -> Any:  # noqa: UP045
        return message, again

    message = Message(1)
    assert await handled(handle, message) == (message, message)


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("hint", [Logger, LoggerAdapter, LoggerAdapter[Logger]])
async def test_a_logger_names_what_its_stage_does_and_the_message(hint: Any) -> None:
    async def handle(order: int, log: Any) -> None:
        log.warning("got %s", order, extra={"more": True})

    handle.__annotations__["log"] = hint
    lines, plain = Lines(), Logger("tests.inject")
    plain.addHandler(lines)
    logger = LoggerAdapter(LoggerAdapter(plain, {"topology": "orders", "stage": "?"}), {"stage": "enrich"})
    await Worker(compiled(handle), logger=logger).handle(Message(5, id="m-1"))
    (record,) = lines.records
    assert record.getMessage() == "got 5"
    assert (record.topology, record.stage, record.message_id, record.more) == ("orders", "enrich", "m-1", True)


async def test_a_plain_logger_will_do() -> None:
    async def handle(order: int, log: Logger) -> Any:
        return log.extra  # type: ignore[attr-defined]

    assert await Worker(compiled(handle), logger=getLogger("tests")).handle(Message(5, id="m")) == {"message_id": "m"}


# -- headers -------------------------------------------------------------------------------------------------


class Tier(StrEnum):
    GOLD = "gold"


async def header_of(hint: Any, value: Any, default: Any = ...) -> Any:
    async def handle(order: int, wanted: Any = default) -> Any:
        return wanted

    if default is ...:

        async def handle(order: int, wanted: Any) -> Any:  # type: ignore[no-redef]  # noqa: F811
            return wanted

    handle.__annotations__["wanted"] = Annotated[hint, Header("x-wanted")]
    headers = None if value is None else {"x-wanted": value, "other": "1"}
    return await handled(handle, Message(1, headers=headers))


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (str, "text", "text"),
        (int, "5", 5),
        (float, "5.5", 5.5),
        (bool, "true", True),
        (Decimal, "1.10", Decimal("1.10")),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (datetime, "2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        (Tier, "gold", Tier.GOLD),
        (Literal["a", "b"], "b", "b"),
        (bytes, "text", b"text"),
        (bytes, b"\xff", b"\xff"),
        (bytes | None, b"\xff", b"\xff"),
        (int | None, "7", 7),
        (Annotated[str, Field(min_length=2)], "ab", "ab"),
        (Any, "text", "text"),
    ],
)
async def test_a_header_is_validated_to_the_type_it_is_asked_for_as(hint: Any, value: Any, expected: Any) -> None:
    assert await header_of(hint, value) == expected


async def test_a_missing_header_is_the_default_or_none_or_an_error_of_the_message() -> None:
    assert await header_of(int, None, default=3) == 3
    assert await header_of(int | None, None) is None
    assert await header_of(int | None, None, default=3) == 3
    with pytest.raises(DecodeError, match="header 'x-wanted' is missing"):
        await header_of(int, None)


@pytest.mark.parametrize(
    ("hint", "value", "why"),
    [
        (int, "five", "header 'x-wanted': Input should be a valid integer"),
        (str, b"\xff", "header 'x-wanted' is not UTF-8 text"),
        (Annotated[str, Field(max_length=2)], "abc", "should have at most 2 characters"),
        (Tier, "x" * 10_000, "Input should be 'gold'"),
    ],
)
async def test_a_header_of_the_wrong_kind_is_an_error_of_the_message(hint: Any, value: Any, why: str) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        await header_of(hint, value)
    assert len(str(caught.value)) < 200


async def test_a_header_without_a_name_has_that_of_its_parameter() -> None:
    async def handle(order: int, request_id: Annotated[str, Header()]) -> str:
        return request_id

    assert await handled(handle, Message(1, headers={"request-id": "r"})) == "r"


# -- context -------------------------------------------------------------------------------------------------


async def test_the_context_is_looked_up_when_the_worker_starts() -> None:
    async def handle(
        order: int,
        client: Annotated[str, Context("http")],
        named: Annotated[str, Context()],
        absent: Annotated[str | None, Context("absent")],
        spare: Annotated[int, Context("spare")] = 4,
    ) -> Any:
        return client, named, absent, spare

    handler = compiled(handle)
    context = {"http": "client", "named": "by its parameter"}
    worker = Worker(handler, context)
    context["http"] = "another"
    assert await worker.handle(Message(1)) == ("client", "by its parameter", None, 4)
    assert handler.needs == {"http", "named"}


async def test_a_name_that_the_context_lacks_is_an_error_of_the_topology() -> None:
    def wanted(client: Annotated[str, Context("http")]) -> str:
        return client

    async def handle(order: int, client: Annotated[str, Depends(wanted)]) -> None: ...

    handler = compiled(handle)
    assert handler.needs == {"http"}
    with pytest.raises(TopologyError, match="here.py:1: stage: the context has no 'http', which `client` asks for"):
        Worker(handler)


# -- dependencies --------------------------------------------------------------------------------------------


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


# -- annotations in quotes -----------------------------------------------------------------------------------


async def test_annotations_in_quotes_are_resolved() -> None:
    async def handle(order: "int", message: "Message", key: "Annotated[str, Header('k')]") -> "int":
        return order

    handler = compiled(handle)
    assert (handler.body, handler.returns) == (int, int)
    assert await Worker(handler).handle(Message(1, headers={"k": "v"})) == 1


async def test_annotations_in_quotes_may_name_what_is_local_to_the_declaration() -> None:
    class Local(BaseModel):
        id: int

    async def wanted(message: "Message") -> "Local":
        return Local(id=2)

    async def handle(order: "Local", two: "Annotated[Local, Depends(wanted)]") -> "Local":
        return Local(id=order.id + two.id)

    handler = compiled(handle, names=locals())
    assert handler.body is Local
    assert await Worker(handler).handle(Message(Local(id=1))) == Local(id=3)
