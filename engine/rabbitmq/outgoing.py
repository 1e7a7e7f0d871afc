"""`Outgoing`: messages as the frames that publish them, over one channel.

What is the same for many is made once: the frame of a place, and of the headers of a run all but a size and an id.
"""

from collections.abc import Callable
from uuid import uuid4

from actors import Message
from engine.rabbitmq import frames
from engine.rabbitmq.messages import Publishing, body_of, header_of, plain_type

_ROUTES = 1000
"""Places whose frames are remembered."""

RouteOf = Callable[[str, "str | bytes | None"], tuple[str, str]]
"""The exchange and the routing key of a destination and a message's key."""


class Outgoing:
    """Makes frames for one channel. `most` are the bytes of a frame's payload."""

    def __init__(self, channel: int, most: int, route_of: RouteOf, manner: Publishing) -> None:
        self._channel = channel
        self._most = most
        self._route_of = route_of
        self._manner = manner
        self._ids = uuid4().hex[:20]
        self._numbered = 0
        self._places: dict[tuple[str, str], bytes] = {}
        self._now = -1
        self._plain: dict[str | None, Plain] = {}

    def frames_of(self, message: Message, longest: int, now: int) -> tuple[str, tuple[str, str], bytes, bytes]:
        """A message's id, the exchange and routing key it goes to, its body, and all of its frames.

        `longest` is the most bytes of a body, `now` in seconds since the epoch. TypeError or ValueError for what
        cannot be sent.
        """
        raw = body_of(message, longest)
        route = self._route_of(message.destination, message.key)
        place = self._places.get(route) or self._place(route)
        id = message.origin.id or self._id()
        header, size = self._header(message, len(raw), id, now), len(raw)
        if 0 < size <= self._most:  # as nearly always
            body = frames.FRAME.pack(frames.BODY, self._channel, size) + raw + frames.END
        else:
            body = b"".join(frames.bodies(self._channel, raw, self._most))
        return id, route, raw, place + header + body

    def _header(self, message: Message, size: int, id: str, now: int) -> bytes:
        origin = message.origin
        if message.headers or not (message.key is message.reply_to is origin.correlation_id is None):
            header = header_of(message, self._channel, size, id, now, self._manner)
            if len(header) > self._most:
                room = f"there is room for {self._most}: put them into the body"
                raise ValueError(f"the headers have {len(header)} bytes, {room}")
            return header
        if now != self._now:
            self._plain.clear()
            self._now = now
        kind = plain_type(message.body)
        plain = self._plain.get(kind)
        if plain is None:
            plain = self._plain[kind] = Plain(self._channel, kind, now, self._manner)
        return plain.header(size, id)

    def _place(self, route: tuple[str, str]) -> bytes:
        if len(self._places) >= _ROUTES:
            self._places.clear()
        made = self._places[route] = frames.publication(self._channel, *route, self._manner.mandatory)
        return made

    def _id(self) -> str:
        self._numbered += 1
        return f"{self._ids}{self._numbered:012x}"


class Plain:
    """The content header of messages that carry an id and nothing else: made but for that and the size."""

    __slots__ = ("_after", "_before", "_channel", "_flags")

    def __init__(self, channel: int, content_type: str | None, now: int, manner: Publishing) -> None:
        whole = frames.content_header(
            channel,
            0,
            content_type=content_type,
            persistent=manner.persistent,
            priority=manner.priority,
            milliseconds=manner.milliseconds,
            id="",
            timestamp=now,
        )
        self._channel = channel
        *_, self._flags = frames.CONTENT_FRAME.unpack_from(whole)
        self._before, self._after = whole[frames.CONTENT_FRAME.size : -10], whole[-9:]  # the id is nought between them

    def header(self, size: int, id: str) -> bytes:
        """The frame for a body of that size. ValueError for an id over 255 bytes."""
        tail = self._before + frames.short(id) + self._after
        pack, channel = frames.CONTENT_FRAME.pack, self._channel
        return pack(frames.HEADER, channel, 13 + len(tail), 60, 0, size, self._flags) + tail
