"""`DirectParser`: nats-py's parser, with a short way for what a source or a sink takes as it comes.

nats-py's own way of a message is two regular expressions, a buffer that is cut four times, a queue, a task and a
callback. Here messages are cut out of what was read and offered to `take`. What that leaves goes the way of nats-py, as
does all else that its protocol knows.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from nats.protocol.parser import Parser

Take = Callable[[bytes, bytes, bytes, dict[str, str] | None], bool]
"""Given subject, reply, body and headers of a message: whether it was taken. Raises nothing and never waits."""
_PLAIN = b"NATS/1.0\r\n"
"""What headers begin with, unless they bring a status."""


class DirectParser(Parser):
    """Of one client. All that comes is offered or passed on in its order, when it is there as a whole."""

    def __init__(self, client: Any, take: Take) -> None:
        self._take = take
        super().__init__(client)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._parts: list[bytes] = []
        """What has come of something that is not there as a whole."""
        self._missing = 0
        """Bytes that it lacks, at least."""

    async def parse(self, data: bytes = b"") -> None:
        """Take note of what the server sends."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        at, most = 0, len(data)
        while at < most:
            try:
                end, took = self._next(data, at)
            except (ValueError, IndexError):  # nats-py says what is wrong with it
                await super().parse(data[at:])
                return
            if end > most:
                self._parts.append(data[at:])
                self._missing = end - most
                break
            if not took:
                await super().parse(data[at:end])
            at = end

    def _next(self, data: bytes, at: int) -> tuple[int, bool]:
        """Where that ends which begins there, beyond the data if it is not there as a whole; whether it was taken."""
        line = data.find(b"\r\n", at)
        if line < 0:
            return len(data) + 1, False
        if data.startswith(b"MSG ", at):
            words = data[at + 4 : line].split()
            subject, reply = words[0], _reply(words, 3)
            block, body, end = b"", line + 2, line + 4 + int(words[-1])
        elif data.startswith(b"HMSG ", at):
            words = data[at + 5 : line].split()
            subject, reply = words[0], _reply(words, 4)
            body, end = line + 2 + int(words[-2]), line + 4 + int(words[-1])
            block = data[line + 2 : body]
        else:
            return line + 2, False
        if end > len(data) or not block.startswith(_PLAIN if block else b""):
            return end, False
        return end, self._take(subject, reply, data[body : end - 2], headers_of(block) if block else None)


def _reply(words: list[bytes], least: int) -> bytes:
    """The word that is there only where somebody waits for an answer."""
    if len(words) == least:
        return b""
    if len(words) != least + 1:
        raise ValueError(words)
    return words[2]


def headers_of(block: bytes) -> dict[str, str] | None:
    """Headers as nats-py reads them."""
    found: dict[str, str] = {}
    for line in block[len(_PLAIN) :].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and (key := _name(name)) is not None:
            found[key] = value.strip().decode("utf-8", "replace")
    return found or None


@lru_cache(maxsize=1024)
def _name(raw: bytes) -> str | None:
    """The name of a header; None for one that nats-py leaves out."""
    try:
        name = raw.strip().decode("ascii")
    except UnicodeDecodeError:
        return None
    return None if any(map(str.isspace, name)) else name
