"""What messages look like in Redis, and what becomes of what others wrote."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Message, Origin
from engine.redis.connection import pack
from engine.redis.fields import adding, entry_message, fields_of
from engine.redis.values import MARK, again, attempt_of, element, value_of

texts = st.text(st.characters(codec="utf-8"))
not_text = st.binary().filter(lambda value: not _is_text(value))
bodies = st.none() | st.binary() | st.binary().map(lambda rest: MARK + rest)
messages = st.builds(
    Message,
    raw=bodies,
    key=st.none() | texts | not_text,
    headers=st.dictionaries(texts, texts | not_text, max_size=4),
    reply_to=st.none() | texts,
    origin=st.builds(Origin, st.none() | texts, correlation_id=st.none() | texts),
)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def stored(message: Message) -> list[bytes]:
    return [field.encode() if isinstance(field, str) else field for field in fields_of(message)]


def carried(message: Message) -> tuple[Any, ...]:
    return (
        message.raw,
        message.key,
        message.headers or {},
        message.reply_to,
        message.id,
        message.correlation_id,
    )


@given(messages)
def test_an_entry_carries_all_of_a_message(message: Message) -> None:
    got = entry_message("orders", b"5-1", stored(message), 3)
    given = "5-1" if message.id is None else message.id
    assert carried(got) == (*carried(message)[:4], given, message.correlation_id)
    assert got.attempt == 3


@given(messages, texts, st.sampled_from([(), ("MAXLEN", "~", 10), ("NOMKSTREAM",)]))
def test_a_message_is_added_with_all_its_fields(message: Message, name: str, trim: tuple[str | int, ...]) -> None:
    add = adding(trim)
    for destination in (name, "another", name):
        message.destination = destination
        assert add(message) == pack(("XADD", destination, *trim, "*", *fields_of(message)))


def test_what_was_read_from_a_stream_is_added_without_its_number_and_with_an_id_that_it_was_given() -> None:
    bare = entry_message("orders", b"5-1", [b"body", b"x"])
    named = entry_message("orders", b"5-1", [b"body", b"x", b"id", b"7"])
    expected: list[tuple[Message, tuple[str | bytes, ...]]] = [
        (bare, ("body", b"x")),
        (named, ("body", b"x", "id", "7")),
    ]
    for message, fields in expected:
        made = Message(raw=b"x", origin=message.origin)
        made.destination = "out"
        assert adding()(made) == pack(("XADD", "out", "*", *fields))
    assert (bare.id, named.id) == ("5-1", "7")


@given(messages, st.integers(1, 5))
def test_a_value_of_a_list_carries_all_of_a_message(message: Message, attempt: int) -> None:
    value = value_of(message)
    assert carried(element("orders", value)) == carried(message)
    returned = element("orders", again(value, attempt))
    assert (*carried(returned), returned.attempt) == (*carried(message), attempt)


def test_a_body_stands_alone_where_there_is_nothing_else_to_tell() -> None:
    assert value_of(Message(raw=b'{"id": 1}')) == b'{"id": 1}'
    assert fields_of(Message(raw=b"{}")) == ["body", b"{}"]
    assert value_of(Message(raw=b"{}", key="k", headers={"a": "b"}), plain=True) == b"{}"


@given(st.binary())
def test_whatever_others_put_into_a_list_is_a_body(value: bytes) -> None:
    got = element("orders", value)
    assert attempt_of(value) == got.attempt == 1
    assert (got.raw, got.key, got.headers) == (value, None, {})


@pytest.mark.parametrize(
    "value",
    [
        b"headrace1 {",
        b'headrace1 {"key": "k"}',
        b"headrace1 {no JSON}\nbody",
        b'headrace1 {"key": "k"\nbody',
        b"headrace1 {" + b'"a":{' * 100_000 + b"\nbody",
    ],
)
def test_a_broken_first_line_is_part_of_the_body(value: bytes) -> None:
    assert element("orders", value).raw == value


def test_a_first_line_with_nonsense_in_it_is_read_as_far_as_it_makes_sense() -> None:
    line = {"key": 5, "headers": {"a": {"base64": "?"}, "b": [1], "c": "\ud800"}, "attempt": "many", "id": {}}
    got = element("orders", b"headrace1 " + json.dumps(line).encode() + b"\nbody")
    assert (got.raw, got.key, got.headers, got.attempt, got.id) == (b"body", None, {"c": "\\ud800"}, 1, None)


def test_an_only_field_is_the_body_whatever_it_is_called() -> None:
    got = entry_message("orders", b"5-1", [b"data", b'{"id": 1}'])
    assert (got.raw, got.key, got.headers, got.id) == (b'{"id": 1}', None, {}, "5-1")


@pytest.mark.parametrize(
    "fields",
    [
        [b"id", b"1", b"customer", b"Z\xc3\xbcrich"],
        [b"body", b"text", b"subject", b"a mail"],
        [b"key", b"k", b"body", b"b"],
    ],
)
def test_several_fields_of_others_are_an_object(fields: list[bytes]) -> None:
    got = entry_message("orders", b"5-1", fields)
    assert (got.key, got.headers, got.id) == (None, {}, "5-1")
    assert json.loads(got.raw or b"") == {
        name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)
    }


def test_fields_that_are_no_text_can_still_be_read() -> None:
    got = entry_message("orders", b"5-1", [b"a\xff", b"\xfe", b"b", b"c"])
    assert json.loads(got.raw or b"") == {"a\\xff": "\\xfe", "b": "c"}


def test_an_entry_tells_where_it_came_from() -> None:
    origin = entry_message("orders", b"1700000000123-4", [b"body", b"x", b"key", b"k"]).origin
    assert (origin.source, origin.offset, origin.id) == ("orders", "1700000000123-4", "1700000000123-4")
    assert (origin.timestamp, origin.partition, origin.correlation_id) == (1700000000.123, None, None)
    assert origin.record == (b"1700000000123-4", {b"body": b"x", b"key": b"k"})
    with pytest.raises(AttributeError):
        origin.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Message(raw="text"), "expected bytes"),  # type: ignore[arg-type]
        (Message(raw=b"", key="\ud800"), "surrogates"),
        (Message(raw=b"", headers={"a": 5}), "header a is int"),  # type: ignore[dict-item]
        (Message(raw=b"", headers={5: "a"}), "header 5 is int"),  # type: ignore[dict-item]
        (Message(raw=b"", id=7), "the id is int"),
    ],
)
def test_what_nothing_could_carry_is_refused(message: Message, told: str) -> None:
    for write in (fields_of, value_of):
        with pytest.raises((TypeError, ValueError), match=told):
            write(message)
