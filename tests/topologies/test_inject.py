"""What handlers may ask for beside the body: each kind, and missing ones."""

import logging
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from logging import Logger, LoggerAdapter, getLogger
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from actors import DecodeError, Message, TopologyError
from tests.topologies.handling import Worker, compiled, handled
from topologies import Context, Depends, Header

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


# -- message and logger -----------------------------------------------------------------------------------------


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
    lines, plain = Lines(), getLogger(f"tests.inject.{hint}")
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


# -- headers ----------------------------------------------------------------------------------------------------


class Tier(StrEnum):
    GOLD = "gold"


async def header_of(hint: Any, value: Any, **defaults: Any) -> Any:
    async def handle(order: int, wanted: Any) -> Any:
        return wanted

    handle.__defaults__ = tuple(defaults.values())
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


# -- context ----------------------------------------------------------------------------------------------------


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
    with pytest.raises(TopologyError, match=r"here.py:1: stage: the context has no 'http', which `client` asks for"):
        Worker(handler)


# -- annotations in quotes --------------------------------------------------------------------------------------


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
