"""Under which id a message is published to JetStream, without a server: made again it has that of its first life."""

from typing import Any

import pytest

from actors import Message, Origin, Receipt
from engine.nats.headers import MESSAGE_ID
from engine.nats.ids import TRACE, Ids
from engine.telemetry.trail import W3C
from tests.actors.fakes import Completed


class Placed(Origin):
    """Somewhere in a stream."""

    place = "ORDERS 5 1700000000"


class Stage(Completed):
    """Whatever makes one message of another."""

    lineage = "shop.copy"


def made(headers: dict[str, Any] | None = None, raw: bytes = b"2") -> Message:
    """What that stage makes of the message in that place, in one life."""
    message = Message(raw=raw, headers=headers)
    message.receipt = Receipt(Stage(), Message(raw=b"1", origin=Placed()))
    message.destination = "copies"
    return message


def id_of(message: Message, ids: Ids | None = None) -> str:
    (part,), failures = (ids or Ids(again=True)).parts_of([message])
    assert not failures
    return part.headers[MESSAGE_ID]


def trace(number: int) -> dict[str, str]:
    return {"traceparent": f"00-{number:032x}-{number:016x}-01", "tracestate": f"a={number}", "baggage": f"b={number}"}


@pytest.mark.parametrize("own", [{}, {"tenant": "a"}], ids=["no headers", "headers"])
def test_made_again_in_another_trace_or_in_none_a_message_has_its_id_again(own: dict[str, Any]) -> None:
    assert id_of(made({**own, **trace(1)})) == id_of(made({**trace(2), **own})) == id_of(made(own))


@pytest.mark.parametrize("traced", [trace(1), {}], ids=["traced", "not traced"])
def test_whatever_else_is_different_makes_it_another_message(traced: dict[str, str]) -> None:
    found = {
        id_of(made({**headers, **traced}, raw)) for headers in ({}, {"a": "1"}, {"a": "2"}) for raw in (b"1", b"2")
    }
    assert len(found) == 6


def test_the_headers_of_a_trace_are_those_that_tracing_writes() -> None:
    assert TRACE == W3C == trace(1).keys()


def test_the_trace_is_published_all_the_same() -> None:
    (part,), _ = Ids(again=True).parts_of([made(trace(1))])
    assert part.headers.items() >= trace(1).items()


def test_where_it_is_not_asked_for_each_life_has_an_id_of_its_own() -> None:
    assert id_of(made(), Ids(again=False)) != id_of(made(), Ids(again=False))
