"""What a message looks like in Redis: the fields of a stream's entry, and one value in a list or on a channel.

An entry's first field is `body`, or `null` where the message has none; `key`, `id`, `correlation-id`,
`reply-to` and `header:<name>` follow as far as there are any. In lists and on channels a body stands alone where there
is nothing else to tell; otherwise a first line goes before it, `headrace1 {"key": ..., "headers": {...}}`, and what is
no text in there is `{"base64": ...}`.

What others wrote is a body too: an entry's only field is the body whatever it is called, several are a JSON object.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors import Message, Origin, delivered
from engine.brokers import wire

Value = str | bytes
Fields = Sequence[bytes]
"""Names and values in turn."""

MARK = b"headrace1 {"
_KNOWN = frozenset((b"id", b"correlation-id"))
_HEADER = b"header:"


class Entry(Origin):
    """Where a message of a stream came from. What hardly anybody reads is worked out when somebody does."""

    __slots__ = ("entry", "fields")

    entry: bytes
    fields: Fields

    @property
    def named(self) -> bool:
        """Whether somebody gave it an id; else it is the position in the stream, which is nobody else's business."""
        return self.id is None or self.id.encode() != self.entry

    @property
    def place(self) -> str:
        """Where it is in the stream; its number holds the time."""
        return f"{self.source} {self.entry.decode()}"

    def __getattr__(self, name: str) -> Any:
        find = _OF_ENTRY.get(name)
        if find is None:
            raise AttributeError(name)
        value = find(self)
        setattr(self, name, value)
        return value


class Element(Origin):
    """Where a message of a list or channel came from: `value` is all that Redis has of it."""

    __slots__ = ("value",)

    value: bytes


def fields_of(message: Message) -> list[Value]:
    """The fields that a message is stored as; TypeError or ValueError where nothing could carry it."""
    raw, origin = message.raw, message.origin
    fields: list[Value] = ["null", b""] if raw is None else ["body", raw]
    if type(raw) is not bytes and raw is not None:
        raise TypeError(f"the body is {type(raw).__name__}: expected bytes, it is encoded before it is published")
    if message.key is not None:
        fields += ("key", wire.text(message.key, "the key"))
    id = origin.id
    if id is not None and (type(origin) is not Entry or origin.named):
        fields += ("id", id if type(id) is str and id.isascii() else wire.text(id, "the id"))
    if origin.correlation_id is not None:
        fields += ("correlation-id", wire.text(origin.correlation_id, "the correlation id"))
    if message.reply_to is not None:
        fields += ("reply-to", wire.text(message.reply_to, "the reply-to"))
    if message.headers:
        for name, value in wire.headers(message.headers).items():
            fields += (f"header:{name}", value)
    return fields


def entry_message(source: str, entry: bytes, fields: Fields, attempt: int = 1) -> Message:
    """The message that an entry of a stream is."""
    origin = _new(Entry)
    origin.source = source
    origin.entry = entry
    origin.fields = fields
    origin.id = entry.decode()
    origin.correlation_id = None
    first = fields[0]
    if len(fields) == 2:
        return delivered(None if first == b"null" else fields[1], None, {}, origin, attempt, None)
    if first == b"body" or first == b"null":
        found = _own(fields, origin)
        if found is not None:
            key, headers, reply_to = found
            return delivered(None if first == b"null" else fields[1], key, headers, origin, attempt, reply_to)
    return delivered(_foreign(fields), None, {}, origin, attempt, None)


def _own(fields: Fields, origin: Entry) -> tuple[Value | None, dict[str, Value], str | None] | None:
    """Key, headers, and where a reply goes, the rest into the origin; None where a field is none of ours."""
    key: Value | None = None
    reply_to: str | None = None
    headers: dict[str, Value] = {}
    given: dict[bytes, str] = {}
    for at in range(2, len(fields), 2):
        name, value = fields[at], fields[at + 1]
        if name.startswith(_HEADER):
            headers[_readable(name[7:])] = wire.text(value, "a header")
        elif name == b"key":
            key = wire.text(value, "the key")
        elif name == b"reply-to":
            reply_to = _readable(value)
        elif name in _KNOWN:
            given[name] = _readable(value)
        else:
            return None
    origin.id = given.get(b"id", origin.id)
    origin.correlation_id = given.get(b"correlation-id")
    return key, headers, reply_to


def _foreign(fields: Fields) -> bytes:
    pairs = zip(map(_readable, fields[::2]), map(_readable, fields[1::2]), strict=True)
    return json.dumps(dict(pairs), ensure_ascii=False).encode()


def _readable(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


# -- lists and channels ------------------------------------------------------------------------------------------


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


# -- what is worked out of an entry when it is asked for -----------------------------------------------------------


def _record(entry: Entry) -> tuple[bytes, dict[bytes, bytes]]:
    return entry.entry, dict(zip(entry.fields[::2], entry.fields[1::2], strict=True))


_OF_ENTRY: dict[str, Callable[[Entry], Any]] = {
    "timestamp": lambda entry: int(entry.entry.partition(b"-")[0]) / 1000,
    "partition": lambda entry: None,
    "offset": lambda entry: entry.entry.decode(),
    "record": _record,
}
_new: Any = object.__new__
