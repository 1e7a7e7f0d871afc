"""What a message looks like in a list or on a channel of Redis: one value.

A body stands alone where there is nothing else to tell; otherwise a first line goes before it, `headrace1 {"key": ...,
"headers": {...}}`, and what is no text in there is `{"base64": ...}`. What others wrote is a body too.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from actors import Message, Origin
from engine.redis.fields import Value, fields_of

MARK = b"headrace1 {"


class Element(Origin):
    """Where a message of a list or channel came from: `value` is all that Redis has of it."""

    __slots__ = ("value",)

    value: bytes


def value_of(message: Message, plain: bool = False, attempt: int = 1) -> bytes:
    """The one value that a message is stored as; TypeError or ValueError where nothing could carry it.

    `plain` is the body and nothing else.
    """
    fields = fields_of(message)
    raw = message.raw
    if plain or (len(fields) == 2 and raw is not None and attempt == 1 and not raw.startswith(MARK)):
        return raw or b""
    return _with_line({"null": True} if raw is None else {}, fields[2:], attempt) + (raw or b"")


def again(value: bytes, attempt: int) -> bytes:
    """The same value, on its way back into the list, with the number of its next delivery."""
    told, raw = _split(value)
    return b"headrace1 %b\n%b" % (json.dumps(told | {"attempt": attempt}).encode(), raw)


def attempt_of(value: bytes) -> int:
    """Which delivery of a list's value this is."""
    counted = _split(value)[0].get("attempt")
    return counted if type(counted) is int and counted > 0 else 1


def element(source: str, value: bytes, attempt: int | None = None) -> Message:
    """The message that a value of a list or channel is."""
    told, raw = _split(value)
    origin = _new(Element)
    origin.value = origin.record = value
    origin.source = source
    origin.timestamp = origin.partition = origin.offset = None
    origin.id = origin.correlation_id = None
    key: Value | None = None
    reply_to: str | None = None
    headers: dict[str, Value] = {}
    body: bytes | None = raw
    if told:
        body = None if told.get("null") is True else raw
        origin.id, origin.correlation_id = _text(told.get("id")), _text(told.get("correlation-id"))
        key, reply_to = _unpacked(told.get("key")), _text(told.get("reply-to"))
        headers = {_text(name) or "": text for name, given in _items(told) if (text := _unpacked(given)) is not None}
        attempt = attempt or attempt_of(value)
    made = Message(None, raw=body, key=key, headers=headers, attempt=attempt or 1, reply_to=reply_to, origin=origin)
    return made


def _with_line(told: dict[str, Any], fields: Sequence[Value], attempt: int) -> bytes:
    headers: dict[str, Any] = {}
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        assert isinstance(name, str)
        packed = value if isinstance(value, str) else {"base64": b64encode(value).decode()}
        if name.startswith("header:"):
            headers[name[7:]] = packed
        else:
            told[name] = packed
    if headers:
        told["headers"] = headers
    if attempt > 1:
        told["attempt"] = attempt
    return b"headrace1 %b\n" % json.dumps(told).encode()


def _split(value: bytes) -> tuple[dict[str, Any], bytes]:
    """The first line's object and what follows; nothing and all of it where there is no such line."""
    if not value.startswith(MARK):
        return {}, value
    line, found, raw = value.partition(b"\n")
    try:
        told = json.loads(line[len(MARK) - 1 :])
    except (ValueError, RecursionError):
        return {}, value
    return (told, raw) if found and isinstance(told, dict) else ({}, value)


def _items(told: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    headers = told.get("headers")
    return tuple(headers.items()) if isinstance(headers, dict) else ()


def _unpacked(given: Any) -> Value | None:
    if isinstance(given, dict) and isinstance(given.get("base64"), str):
        try:
            return b64decode(given["base64"], validate=True)
        except ValueError:
            return None
    return _text(given)


def _text(given: Any) -> str | None:
    """Text as it can be published again: JSON can name half of a surrogate pair, UTF-8 cannot."""
    return given.encode(errors="backslashreplace").decode() if isinstance(given, str) else None


_new: Any = object.__new__
