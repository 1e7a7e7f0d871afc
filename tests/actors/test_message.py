"""`Message` and `Origin`."""

from typing import Any

from actors import NOWHERE, Message, Origin, delivered
from tests.actors.fakes import Completed, message


def test_says_where_it_came_from():
    origin = Origin("id", 1.5, "source", 3, 7, "correlation", "record")
    made = Message("body", origin=origin)
    assert (made.id, made.timestamp, made.source) == ("id", 1.5, "source")
    assert (made.partition, made.offset, made.correlation_id, made.record) == (3, 7, "correlation", "record")


def test_takes_what_says_where_it_came_from_one_by_one_too():
    made = Message("body", id="id", offset="1-0")
    assert (made.id, made.offset, made.source) == ("id", "1-0", None)
    assert Message("body").origin is NOWHERE


def test_as_a_source_delivers_it_it_has_its_raw_bytes_and_no_body():
    origin = Origin(source="source")
    made = delivered(b"raw", "key", {"a": "b"}, origin, 2, "inbox")
    assert (made.raw, made.body, made.key, made.headers) == (b"raw", None, "key", {"a": "b"})
    assert (made.origin, made.attempt, made.reply_to) == (origin, 2, "inbox")


def test_what_is_made_of_it_shares_receipt_and_origin_and_starts_afresh():
    of = message("body", Completed(), key="key")
    of.attempt, of.raw, of.reply_to = 5, b"raw", "inbox"
    made = of.derive("other")
    assert (made.body, made.key, made.origin) == ("other", "key", of.origin)
    assert made.receipt is of.receipt
    assert (made.attempt, made.raw, made.reply_to) == (1, None, None)


def test_any_object_with_the_attributes_may_be_an_origin():
    class Record:
        id = "id"
        source = "topic"

    record: Any = Record()
    made = delivered(b"", None, None, record, 1, None)
    assert (made.id, made.source) == ("id", "topic")


def test_says_what_it_is_in_one_short_line():
    made = Message("x" * 500, id="7", source="orders", attempt=2)
    assert repr(made) == f"<Message 7 from orders, attempt 2: '{'x' * 79}>"
