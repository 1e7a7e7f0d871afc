"""What a message looks like in NATS, and where it came from.

Headers travel as they are where NATS can carry them: a name of letters, digits and marks, a value of text on one line
with no space around it. Others go into `Headrace-Coded`, a JSON object of names to text, or `{"base64": ...}` for
bytes. A key is `Headrace-Key`, an id `Headrace-Id`, what ties an answer to its question `Headrace-Correlation-Id`; a
body that is null, and not merely empty, has `Headrace-Null: 1`. JetStream takes the place of the reply subject for
itself, so that there it is `Headrace-Reply-To`. Of a header that others have repeated nats-py keeps the last.
`Nats-...` headers that come are left out, and can be found in `record`; those that a handler sets are the server's.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any

from nats.aio.msg import Msg

from actors import Message, Origin, delivered
from engine.brokers import wire

MESSAGE_ID = "Nats-Msg-Id"
KEY = "Headrace-Key"
ID = "Headrace-Id"
CORRELATION = "Headrace-Correlation-Id"
REPLY_TO = "Headrace-Reply-To"
NULL = "Headrace-Null"
CODED = "Headrace-Coded"
_OURS = frozenset((KEY, ID, CORRELATION, REPLY_TO, NULL, CODED))
_STREAM_AT = (4, 2)
"""Where the name of the stream is in what JetStream tells, in the newer form and in the older one."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Delivery(Origin):
    """Where a message came from. What nobody reads is never worked out."""

    __slots__ = ("told",)

    record: Msg
    told: dict[str, str | bytes]
    """All headers, decoded."""

    @property
    def named(self) -> bool:
        """Whether somebody gave it an id; else it is the position in the stream, which is nobody else's business."""
        return ID in self.told or MESSAGE_ID in self.told

    @property
    def place(self) -> str | None:
        """Where it is in the stream, and since when; None where it was in none."""
        reply = self.record.reply
        if not reply.startswith("$JS.ACK."):
            return None
        fields = reply.split(".")
        at = _STREAM_AT[len(fields) == 9]
        return f"{fields[at]} {fields[at + 3]} {fields[at + 5]}"

    def __getattr__(self, name: str) -> Any:
        find = _OF_DELIVERY.get(name)
        if find is None:
            raise AttributeError(name)
        value = find(self)
        setattr(self, name, value)
        return value


def encode(message: Message, reply_to: str | None) -> dict[str, str]:
    """The headers of a message; TypeError or ValueError where nothing could carry it."""
    raw, origin = message.raw, message.origin
    found: dict[str, str] = {}
    odd: dict[str, Any] = {}
    if raw is None:
        found[NULL] = "1"
    elif type(raw) is not bytes:
        raise TypeError(f"the body is {type(raw).__name__}: expected bytes, it is encoded before it is published")
    if message.key is not None:
        _put(found, odd, KEY, wire.text(message.key, "the key"))
    if (type(origin) is not Delivery or origin.named) and origin.id is not None:
        _put(found, odd, ID, wire.text(origin.id, "the id"))
    if origin.correlation_id is not None:
        _put(found, odd, CORRELATION, wire.text(origin.correlation_id, "the correlation id"))
    if reply_to is not None:
        _put(found, odd, REPLY_TO, wire.text(reply_to, "the reply-to"))
    if message.headers:
        for name, value in wire.headers(message.headers).items():
            _put(found, odd, name, value)
    if odd:
        found[CODED] = json.dumps(odd)
    return found


def _put(found: dict[str, str], odd: dict[str, Any], name: str, value: str | bytes) -> None:
    if isinstance(value, bytes):
        odd[name] = {"base64": b64encode(value).decode()}
    elif not _NAME.fullmatch(name) or "\r" in value or "\n" in value or value != value.strip() or name in found:
        odd[name] = value
    else:
        found[name] = value


def decode(record: Msg, attempt: int = 1, reply_to: str | None = None) -> Message:
    """The message that a record of nats-py is. It raises nothing: what cannot be understood stays as it is."""
    origin = _new(Delivery)
    origin.source = record.subject
    origin.record = record
    origin.partition = None
    given = record.headers
    if not given:
        origin.told = {}
        return delivered(record.data, None, {}, origin, attempt, reply_to)
    told: dict[str, str | bytes] = {**given}
    if CODED in told:
        told |= _decoded(given[CODED])
    origin.told = told
    raw = None if NULL in told and not record.data else record.data
    headers = {name: value for name, value in told.items() if name not in _OURS and not name.startswith("Nats-")}
    return delivered(raw, told.get(KEY), headers, origin, attempt, _text(told.get(REPLY_TO)) or reply_to)


def _decoded(coded: str) -> dict[str, str | bytes]:
    try:
        found = json.loads(coded)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    values = {name: _unpacked(given) for name, given in found.items()}
    return {name: value for name, value in values.items() if value is not None}


def _unpacked(given: object) -> str | bytes | None:
    if isinstance(given, Mapping) and isinstance(given.get("base64"), str):
        try:
            return b64decode(given["base64"], validate=True)
        except ValueError:
            return None
    return given.encode(errors="backslashreplace").decode() if isinstance(given, str) else None


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None


def fields_of(reply: str) -> list[str]:
    """What JetStream tells in the subject that a delivery is acknowledged on, in the order of the newer form:
    domain, account, stream, consumer, deliveries, sequence in the stream and for the consumer, time, how many wait.
    """
    fields = reply.split(".")
    return ["", "", *fields[2:]] if len(fields) == 9 else fields[2:]


# -- what is worked out of a delivery when it is asked for ---------------------------------------------------------


def _from_reply(at: int) -> Callable[[Delivery], int | None]:
    def find(delivery: Delivery) -> int | None:
        reply = delivery.record.reply
        return int(fields_of(reply)[at]) if reply.startswith("$JS.ACK.") else None

    return find


_sequence, _nanoseconds = _from_reply(5), _from_reply(7)


def _timestamp(delivery: Delivery) -> float | None:
    nanoseconds = _nanoseconds(delivery)
    return None if nanoseconds is None else nanoseconds / 1e9


def _id(delivery: Delivery) -> str | None:
    told = delivery.told
    given = _text(told.get(ID)) or _text(told.get(MESSAGE_ID))
    if given is None and (sequence := delivery.offset) is not None:
        return str(sequence)
    return given


_OF_DELIVERY: dict[str, Callable[[Delivery], Any]] = {
    "id": _id,
    "timestamp": _timestamp,
    "offset": _sequence,
    "correlation_id": lambda delivery: _text(delivery.told.get(CORRELATION)),
}
_new: Any = object.__new__
