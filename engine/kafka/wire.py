"""Between a Kafka record and a message: keys, headers, and the three properties that Kafka has no field for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from actors import Message

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

ID, CORRELATION_ID, REPLY_TO = "headrace-id", "headrace-correlation-id", "headrace-reply-to"
"""The headers that carry a message's id, correlation id and place for replies. They are not among its `headers`."""
_CARRIED = (ID, CORRELATION_ID, REPLY_TO)

Packed = Sequence[tuple[str, bytes | None]]


class Record(Protocol):
    """What is read of aiokafka's `ConsumerRecord`, and of what its parser makes, which has no topic and partition."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    checksum: int | None
    headers: Packed


class Fetched:
    """Where a message from Kafka came from: a record, read when somebody asks. Stands in for an `Origin`."""

    __slots__ = ("read", "share")

    read: Record
    """As it was read: a `ConsumerRecord`, or less."""
    share: Any
    """What the source keeps of the partition, for when the message is settled."""

    @property
    def record(self) -> "ConsumerRecord[bytes, bytes]":
        """The client library's own object, made now if it was not made before."""
        from aiokafka import ConsumerRecord  # when somebody asks: naming a topic imports no client

        read = self.read
        if isinstance(read, ConsumerRecord):
            return read
        key, value = read.key, read.value
        return ConsumerRecord(
            *self.share.place,
            read.offset,
            read.timestamp,
            read.timestamp_type,
            key,
            value,
            read.checksum,
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            tuple(read.headers),
        )

    @property
    def id(self) -> str | None:
        """The id that its publisher gave it."""
        return _last(self.read.headers, ID)

    @property
    def place(self) -> str:
        """Where it is in the log, and since when."""
        topic, partition = self.share.place
        return f"{topic} {partition} {self.read.offset} {self.read.timestamp}"

    @property
    def correlation_id(self) -> str | None:
        """What ties an answer to its question."""
        return _last(self.read.headers, CORRELATION_ID)

    @property
    def timestamp(self) -> float | None:
        """When it was published, or appended if the topic says so; in seconds since the epoch."""
        return self.read.timestamp / 1000 if self.read.timestamp >= 0 else None

    @property
    def source(self) -> str:
        """Its topic."""
        return str(self.share.place.topic)

    @property
    def partition(self) -> int:
        """Its partition."""
        return int(self.share.place.partition)

    @property
    def offset(self) -> int:
        """Its offset."""
        return self.read.offset


def _last(headers: Packed, name: str) -> str | None:
    for each, value in reversed(headers):
        if each == name:
            return value.decode(errors="replace") if value is not None else None
    return None


def unpacked(headers: Packed) -> tuple[dict[str, str | bytes], str | None]:
    """Headers as handlers see them, and the place for replies.

    Values are text where they are UTF-8; one that is null is empty; of those of the same name the last counts.
    """
    found: dict[str, str | bytes] = {}
    for name, value in headers:
        if value is None:
            found[name] = ""
            continue
        try:
            found[name] = value.decode()
        except UnicodeDecodeError:
            found[name] = value
    found.pop(ID, None)
    found.pop(CORRELATION_ID, None)
    reply_to = found.pop(REPLY_TO, None)
    return found, reply_to if isinstance(reply_to, str) and reply_to else None


def text(key: bytes) -> str | bytes:
    """A key as handlers see it: text where it is UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def packed(message: Message) -> list[tuple[str, bytes]]:
    """A message's headers for the wire; TypeError or ValueError where no wire could carry them."""
    made: list[tuple[str, bytes]] = []
    if message.headers:
        for name, value in message.headers.items():
            if type(name) is not str:
                raise TypeError(f"the name of header {name!r} is {type(name).__name__}: expected str")
            made.append((name, encoded(value, name)))
    origin = message.origin
    if message.reply_to is None and type(origin) is Fetched and not origin.read.headers:
        return made  # its ids would be among them
    if (id := origin.id) is not None:
        made.append((ID, id.encode()))
    if (correlation_id := origin.correlation_id) is not None:
        made.append((CORRELATION_ID, correlation_id.encode()))
    if message.reply_to is not None:
        made.append((REPLY_TO, message.reply_to.encode()))
    return made


def encoded(value: object, what: str) -> bytes:
    """A key or a header's value for the wire."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"{what} is {type(value).__name__}: expected str or bytes")
