"""`Tap`: reads ahead of aiormq, and takes out what is about messages; everything else flows on to aiormq."""

import asyncio
from collections.abc import Callable
from struct import Struct
from typing import Any, Protocol

from actors import BrokerError
from engine.rabbitmq import frames

_UNTIL_BEAT = 1.0
"""Seconds of frames taken out after which aiormq is told that the server is alive: all it sees is silence."""

_DELIVER = frames.DELIVER.to_bytes(4, "big")
_HEAD = Struct(">BHIHHQ")
"""A frame with properties, up to the size of the body."""


class Listener(Protocol):
    """Whom the frames of one channel go to, as they come."""

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message of a queue."""
        ...

    def returned(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message that was published and has nowhere to go."""
        ...

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The server has taken over what was published, or has not."""
        ...

    def closed(self, said: str) -> None:
        """The server has closed the channel, or taken its queue away. Nothing comes after it."""
        ...

    def lost(self, error: BrokerError) -> None:
        """The connection is gone. Nothing comes after it."""
        ...


class _Content:
    """A message of which not all frames are here yet."""

    __slots__ = ("header", "left", "method", "parts", "returned")

    def __init__(self, method: bytes, returned: bool) -> None:
        self.method = method
        self.returned = returned
        self.header = b""
        self.left = 0
        self.parts: list[bytes] = []


class Tap(asyncio.StreamReader):
    """What aiormq reads from.

    `on_end` is called when nothing more will come, with the bytes that were no AMQP if it is because of those.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[Exception | None, bytes], None]) -> None:
        super().__init__(loop=loop)
        self.listeners: dict[int, Listener] = {}
        """By the number of their channel."""
        self.blocked: str | None = None
        """Why the server takes no messages for now: it is short of memory or of disk."""
        self.said = ""
        """Why the server has closed the connection."""
        self.heard = loop.time()
        """When anything came last, by the event loop's clock."""
        self._on_end = on_end
        self._clock = loop.time
        self._contents: dict[int, _Content] = {}
        self._rest = b""
        self._beat = 0.0

    def feed_data(self, data: Any) -> None:
        """Sort what has come, frame by frame; the transport calls it."""
        self.heard = self._clock()
        if self._rest:
            data = self._rest + data
        at, length, passed = 0, len(data), b""
        read = frames.FRAME.unpack_from
        while length - at >= frames.OVERHEAD:
            kind, channel, size = read(data, at)
            end = at + size + frames.OVERHEAD
            if kind not in frames.KINDS:
                self._on_end(None, data[at : at + 8])
                return
            if end > length:
                break
            if kind == frames.METHOD and data.startswith(_DELIVER, at + 7):
                whole = self._whole(channel, data, at, end)
                if whole:  # as nearly always
                    at = whole
                    continue
            if kind == frames.BODY:
                self._body(channel, data[at + 7 : end - 1])
            elif kind == frames.HEADER:
                self._header(channel, data[at + 7 : end - 1])
            elif kind == frames.HEARTBEAT or not self._method(channel, data[at + 7 : end - 1]):
                passed += data[at:end]
            at = end
        self._rest = data[at:]
        self._pass_on(passed)

    def _whole(self, channel: int, data: bytes, at: int, header: int) -> int:
        """Hand over a delivery whose frames are all here, one behind the other; where it ends, nought if they are not.

        `at` is where its method's frame begins, and `header` that of its properties.
        """
        length = len(data)
        if length - header < _HEAD.size:
            return 0
        kind, its, size, _, _, left = _HEAD.unpack_from(data, header)
        body: int = header + size + frames.OVERHEAD
        end: int = body + left + frames.OVERHEAD
        if kind != frames.HEADER or its != channel or end > length:
            return 0
        if frames.FRAME.unpack_from(data, body) != (frames.BODY, channel, left):
            return 0
        listener = self.listeners.get(channel)
        if listener is not None:
            listener.delivered(data[at + 7 : header - 1], data[header + 7 : body - 1], data[body + 7 : end - 1])
        return end

    def _pass_on(self, data: bytes) -> None:
        now = self._clock()
        if data:
            super().feed_data(data)
        elif now - self._beat < _UNTIL_BEAT:
            return
        else:
            super().feed_data(frames.STILL_ALIVE)
        self._beat = now

    def feed_eof(self) -> None:
        """The server has said all; the transport calls it."""
        self._on_end(None, b"" if self._rest[:1] in (b"", b"\x01", b"\x02", b"\x03", b"\x08") else self._rest)
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke; the transport calls it."""
        self._on_end(exc, b"")
        super().set_exception(exc)

    async def readexactly(self, n: int) -> bytes:
        """What aiormq reads by. At the end it is cancelled: why has been told already, and it would only log it."""
        try:
            return await super().readexactly(n)
        except (EOFError, OSError):
            raise asyncio.CancelledError from None

    def _method(self, channel: int, payload: bytes) -> bool:
        """Whether that was for us."""
        method = int.from_bytes(payload[:4], "big")
        if method == frames.DELIVER:
            self._contents[channel] = _Content(payload, False)
            return True
        if method in (frames.ACK, frames.NACK):
            if listener := self.listeners.get(channel):
                tag = int.from_bytes(payload[4:12], "big")
                listener.confirmed(tag, bool(payload[12] & 1), method == frames.ACK)
            return True
        if method == frames.RETURN:
            self._contents[channel] = _Content(payload, True)
            return True
        if method == frames.CONNECTION_CLOSE:  # not told to aiormq, which would log it as an error of its own
            self.said, _ = frames.read_short(payload, 6)
            self._on_end(None, b"")
            return True
        self._overhear(channel, method, payload)
        return False

    def _overhear(self, channel: int, method: int, payload: bytes) -> None:
        """What aiormq is told concerns us too."""
        if method == frames.BLOCKED:
            self.blocked, _ = frames.read_short(payload, 4)
        elif method == frames.UNBLOCKED:
            self.blocked = None
        elif method == frames.CHANNEL_CLOSE:
            if listener := self.listeners.pop(channel, None):
                listener.closed(frames.read_short(payload, 6)[0])
        elif method == frames.CANCEL and (listener := self.listeners.pop(channel, None)):
            listener.closed("consumer cancelled: the queue was deleted, or the node that leads it is down")

    def _header(self, channel: int, payload: bytes) -> None:
        content = self._contents.get(channel)
        if content is None:
            return
        content.header = payload
        content.left = int.from_bytes(payload[4:12], "big")
        if not content.left:
            self._complete(channel, content, b"")

    def _body(self, channel: int, payload: bytes) -> None:
        content = self._contents.get(channel)
        if content is None:
            return
        content.left -= len(payload)
        if content.left > 0:
            content.parts.append(payload)
        elif content.parts:
            content.parts.append(payload)
            self._complete(channel, content, b"".join(content.parts))
        else:
            self._complete(channel, content, payload)

    def _complete(self, channel: int, content: _Content, body: bytes) -> None:
        del self._contents[channel]
        listener = self.listeners.get(channel)
        if listener is None:
            return
        if content.returned:
            listener.returned(content.method, content.header, body)
        else:
            listener.delivered(content.method, content.header, body)
