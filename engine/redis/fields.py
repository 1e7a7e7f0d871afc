"""What a message looks like in a stream of Redis: the fields of an entry.

Its first field is `body`, or `null` where the message has none; `key`, `id`, `correlation-id`, `reply-to` and
`header:<name>` follow as far as there are any. What others wrote is a body too: an entry's only field is the body
whatever it is called, several are a JSON object.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from actors import Message, Origin, delivered
from engine.brokers import wire
from engine.redis.connection import pack

Value = str | bytes
Fields = Sequence[bytes]
"""Names and values in turn."""

_KNOWN = frozenset((b"id", b"correlation-id"))
_HEADER = b"header:"


class Entry(Origin):
    """Where a message of a stream came from. What hardly anybody reads is worked out when somebody does."""

    __slots__ = ("entry", "fields", "named")

    entry: bytes
    fields: Fields
    named: bool
    """Whether somebody gave it an id; else it is the position in the stream, which is nobody else's business."""

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


def fields_of(message: Message) -> list[Value]:
    """The fields that a message is stored as; TypeError or ValueError where nothing could carry it."""
    raw, origin = message.raw, message.origin
    fields: list[Value] = ["null", b""] if raw is None else ["body", raw]
    if type(raw) is not bytes and raw is not None:
        raise TypeError(f"the body is {type(raw).__name__}: expected bytes, it is encoded before it is published")
    if message.key is not None:
        fields += ("key", wire.text(message.key, "the key"))
    id = origin.id if type(origin) is not Entry or origin.named else None
    if id is not None:
        fields += ("id", id if type(id) is str and id.isascii() else wire.text(id, "the id"))
    if origin.correlation_id is not None:
        fields += ("correlation-id", wire.text(origin.correlation_id, "the correlation id"))
    if message.reply_to is not None:
        fields += ("reply-to", wire.text(message.reply_to, "the reply-to"))
    if message.headers:
        for name, value in wire.headers(message.headers).items():
            fields += (f"header:{name}", value)
    return fields


def adding(trim: tuple[str | int, ...] = ()) -> Callable[[Message], bytes]:
    """How messages are packed that are added to streams, with those options of XADD.

    A bare body, which most are, goes behind a beginning that is packed once for a stream.
    """
    known: str | None = None
    beginning = b""

    def add(message: Message) -> bytes:
        nonlocal known, beginning
        name, raw = message.destination, message.raw
        if type(raw) is not bytes or not _bare(message):
            return pack(("XADD", name, *trim, "*", *fields_of(message)))
        if name != known:
            known, beginning = name, pack(("XADD", name, *trim, "*", "body", b"")).removesuffix(b"0\r\n\r\n")
        return b"%b%d\r\n%b\r\n" % (beginning, len(raw), raw)

    return add


def _bare(message: Message) -> bool:
    """Whether there is nothing to tell but the body."""
    if message.key is not None or message.headers or message.reply_to is not None:
        return False
    origin = message.origin
    unnamed = not origin.named if type(origin) is Entry else origin.id is None
    return unnamed and origin.correlation_id is None


def entry_message(source: str, entry: bytes, fields: Fields, attempt: int = 1) -> Message:
    """The message that an entry of a stream is."""
    origin = _new(Entry)
    origin.source = source
    origin.entry = entry
    origin.fields = fields
    origin.named = False
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
    id = given.get(b"id")
    if id is not None:
        origin.id = id
        origin.named = id.encode() != origin.entry
    origin.correlation_id = given.get(b"correlation-id")
    return key, headers, reply_to


def _foreign(fields: Fields) -> bytes:
    pairs = zip(map(_readable, fields[::2]), map(_readable, fields[1::2]), strict=True)
    return json.dumps(dict(pairs), ensure_ascii=False).encode()


def _readable(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


# -- what is worked out of an entry when it is asked for -----------------------------------------------------------


def _record(entry: Entry) -> tuple[bytes, dict[bytes, bytes]]:
    return entry.entry, dict(zip(entry.fields[::2], entry.fields[1::2], strict=True))


_OF_ENTRY: dict[str, Callable[[Entry], Any]] = {
    "id": lambda entry: entry.entry.decode(),
    "timestamp": lambda entry: int(entry.entry.partition(b"-")[0]) / 1000,
    "partition": lambda entry: None,
    "offset": lambda entry: entry.entry.decode(),
    "record": _record,
}
_new: Any = object.__new__
