"""What of a run is on its way to NATS, and what became of each message."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from nats import errors

from actors import BrokerError, BrokerUnavailable, Message
from engine.brokers.telling import Telling
from engine.nats.denials import Denials

_LONGEST = 3_900
"""Bytes of a subject: with what else stands in a line the server hangs up at more than 4,096 (`max_control_line`)."""


class Part:
    """A message on its way: `headers` hold the id by which the server knows it again."""

    __slots__ = ("headers", "index", "message", "raw", "subject")

    def __init__(self, index: int, message: Message, subject: str, raw: bytes, headers: dict[str, str]) -> None:
        self.index = index
        self.message = message
        self.subject = subject
        self.raw = raw
        self.headers = headers


class Again(BrokerUnavailable):
    """What is left of a run can be published again at once."""


class Run(Telling):
    """What of a run is not confirmed yet, and what the server said against some of it, or against all."""

    __slots__ = ("against", "denied", "left", "line", "missing", "news", "numbers", "parts", "refused")

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = parts
        self.left = {part.index: part for part in parts}
        self.refused: dict[int, Exception] = {}
        self.against: BrokerError | None = None
        self.denied: Denials | None = None
        """Rights that were denied while it was on its way: it may have needed them."""
        self.missing = 0
        """1 when no stream took a message of it, and 2 when one was looked for since, and found."""
        self.line: object = None
        """The connection that it was last written on."""
        self.numbers: list[int] = []
        """Those of its confirms, as it was last written."""
        self.news = asyncio.Event()

    @property
    def troubled(self) -> bool:
        """Whether something is known to be against what is left of it."""
        return self.against is not None or self.missing > 0 or self.denied is not None

    def confirm(self, index: int) -> None:
        """That one is stored."""
        self.left.pop(index, None)
        if not self.left:
            self.tell()

    def refuse(self, index: int, error: Exception) -> None:
        """That one will never be."""
        self.refused[index] = error
        self.confirm(index)

    def tell(self) -> None:
        """Have it looked at."""
        self.news.set()
        super().tell()

    @property
    def known(self) -> bool:
        """Whether it is to be looked at."""
        return not self.left or self.news.is_set()


def found_text(error: Any) -> str:
    """What the server said, with its code."""
    return f"{error.get('description')} ({error.get('err_code')})"


@lru_cache(maxsize=4096)
def checked(subject: str) -> str:
    """A subject that can be published to; ValueError for any other."""
    if not subject or not isinstance(subject, str):
        raise ValueError(f"the subject {subject!r}: expected a name")
    if len(subject) > _LONGEST // 4 and (size := len(subject.encode())) > _LONGEST:  # no character has more bytes
        raise ValueError(f"the subject {subject[:40]!r}… has {size} bytes: there is room for {_LONGEST}")
    if subject[0] == "." or subject[-1] == "." or ".." in subject or any(each in subject for each in "*> \t\r\n"):
        raise ValueError(f"the subject {subject!r}: wildcards, spaces and empty parts cannot be published to")
    return subject


def too_long(raw: bytes, headers: Mapping[str, str] | None, most: int) -> Exception | None:
    """The error for a message that the server would not take but hang up at: nats-py looks at the body alone."""
    if not headers:
        return None
    size = 12 + 4 * len(headers) + sum(map(len, headers)) + sum(map(len, headers.values()))
    if len(raw) + 4 * size <= most:  # no character has more bytes
        return None
    size = 12 + 4 * len(headers) + sum(len(each.encode()) for line in headers.items() for each in line)
    if len(raw) + size <= most:
        return None
    return ValueError(f"a body of {len(raw)} bytes and headers of {size} are over the server's max_payload of {most}")


def too_much(error: Exception, raw: bytes, most: int) -> Exception:
    """The error for what nats-py does not send."""
    if isinstance(error, errors.MaxPayloadError):
        return ValueError(f"a body of {len(raw)} bytes is over the server's max_payload of {most}")
    return ValueError(f"{type(error).__name__}: {error}")
