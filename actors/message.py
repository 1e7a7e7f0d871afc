"""`Message`: a body, and all that travels with it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from actors.receipt import Receipt

Headers = Mapping[str, str | bytes]


class Provenance(Protocol):
    """How it reads where a message came from; shared, unchanged, by all that is made of the message.

    An `Origin`, or what stands in for one: an adapter's own object, which may work these out only when somebody reads
    them, or one that the engine puts in front of another, to carry more. Where `id` is no more than the position at the
    source, such an object says so: its `named` is False. Where the position and time of a message tell it from all
    others that its endpoint ever delivers, and are the same when it is delivered again, they are its `place`.
    """

    @property
    def id(self) -> str | None:
        """As its publisher or its broker gave it."""
        ...

    @property
    def timestamp(self) -> float | None:
        """In seconds since the epoch."""
        ...

    @property
    def source(self) -> str | None:
        """The destination that it was published to, and was fetched from."""
        ...

    @property
    def partition(self) -> int | None:
        """The partition that it was fetched from, where there are any."""
        ...

    @property
    def offset(self) -> int | str | None:
        """Its position at the source: an offset, a sequence, an entry's id."""
        ...

    @property
    def correlation_id(self) -> str | None:
        """What ties an answer to its question."""
        ...

    @property
    def record(self) -> Any:
        """The client library's own object."""
        ...


class Origin:
    """Where a message came from, known at once; fulfils `Provenance`."""

    __slots__ = ("correlation_id", "id", "offset", "partition", "record", "source", "timestamp")

    def __init__(
        self,
        id: str | None = None,
        timestamp: float | None = None,
        source: str | None = None,
        partition: int | None = None,
        offset: int | str | None = None,
        correlation_id: str | None = None,
        record: Any = None,
    ) -> None:
        self.id = id
        self.timestamp = timestamp
        self.source = source
        self.partition = partition
        self.offset = offset
        self.correlation_id = correlation_id
        self.record = record


NOWHERE: Provenance = Origin()


def carried(before: Provenance, origin: Provenance) -> Provenance:
    """That origin in the place of the one before, and with it what that one carries: by its method `around`, if any."""
    around: Callable[[Provenance], Provenance] | None = getattr(before, "around", None)
    return origin if around is None else around(origin)


class Message:
    """What a handler may ask for beside the body, and may return instead of a bare body.

    A handler returns `Message(body, key=..., headers=...)` to set them on what goes on;
    what it leaves at `None` is taken over from the message that it handled.

    `raw` is the body as it came, `attempt` counts from 1, `origin` says where it came from, and so do the
    attributes of the same names. `receipt`, `lane` (the key that order is kept by) and `destination` (where a publisher
    sends it) belong to the engine.
    """

    __slots__ = ("attempt", "body", "destination", "headers", "key", "lane", "origin", "raw", "receipt", "reply_to")

    body: Any
    origin: Provenance
    receipt: Receipt
    lane: Hashable
    destination: str

    def __init__(
        self,
        body: Any = None,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        raw: bytes | None = None,
        attempt: int = 1,
        reply_to: str | None = None,
        origin: Provenance | None = None,
        **of_origin: Any,
    ) -> None:
        self.body = body
        self.key = key
        self.headers = headers
        self.raw = raw
        self.attempt = attempt
        self.reply_to = reply_to
        if origin is None:
            origin = Origin(**of_origin) if of_origin else NOWHERE
        self.origin = origin

    @property
    def id(self) -> str | None:
        """Its id, as its publisher or its broker gave it."""
        return self.origin.id

    @property
    def timestamp(self) -> float | None:
        """When it was published, in seconds since the epoch."""
        return self.origin.timestamp

    @property
    def source(self) -> str | None:
        """The destination that it was published to, and was fetched from."""
        return self.origin.source

    @property
    def partition(self) -> int | None:
        """The partition that it was fetched from, where there are any."""
        return self.origin.partition

    @property
    def offset(self) -> int | str | None:
        """Its position at the source: an offset, a sequence, an entry's id."""
        return self.origin.offset

    @property
    def correlation_id(self) -> str | None:
        """What ties an answer to its question."""
        return self.origin.correlation_id

    @property
    def record(self) -> Any:
        """The client library's own object."""
        return self.origin.record

    def derive(self, body: Any) -> Message:
        """What a handler made of this message: the same receipt, origin, key and headers, another body."""
        made = _new(Message)
        made.body = body
        made.key = self.key
        made.headers = self.headers
        made.receipt = self.receipt
        made.origin = self.origin
        made.attempt = 1
        made.raw = None
        made.reply_to = None
        return made

    def __repr__(self) -> str:
        return f"<Message {self.id or ''} from {self.source}, attempt {self.attempt}: {self.body!r:.80}>"


_new = Message.__new__


def delivered(
    raw: bytes | None,
    key: str | bytes | None,
    headers: Headers | None,
    origin: Provenance,
    attempt: int,
    reply_to: str | None,
) -> Message:
    """A message as a source hands it over; the quickest way to make one."""
    made = _new(Message)
    made.body = None
    made.raw = raw
    made.key = key
    made.headers = headers
    made.origin = origin
    made.attempt = attempt
    made.reply_to = reply_to
    return made
