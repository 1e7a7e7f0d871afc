"""What a dead letter looks like: the original, untouched, and headers that say why."""

import traceback
from datetime import UTC, datetime

from actors.message import Message, Origin, carried
from actors.ports import Sink
from actors.receipt import Receipt
from actors.redact import redact

DEAD_LETTER_PREFIX = "headrace-"
DEAD_LETTER_HEADERS = frozenset(
    f"{DEAD_LETTER_PREFIX}{name}"
    for name in (
        "reason",
        "error-type",
        "traceback",
        "stage",
        "attempts",
        "first-failure",
        "last-failure",
        "origin-broker",
        "origin-destination",
        "origin-partition",
        "origin-offset",
    )
)
"""What a dead letter says of itself; a message that comes with any of these loses them in its dead letter."""
TRACEBACK_LIMIT = 4000
"""Characters of a traceback that are kept: half of them where it begins, half where it ends."""


def dead_letter(receipt: Receipt, origin: tuple[str, str], sink: Sink, brief: bool = False) -> Message:
    """The dead letter of a failed receipt: its source's message with body and key untouched.

    A `brief` one has no traceback and less of a reason: a message that was as long as its broker takes gets one.

    Passwords in URLs, which exceptions of clients like to tell, are blanked in what it says of the error.
    """
    message: Message = receipt.message
    failure = receipt.failure
    assert failure is not None
    error = failure.error
    came = message.headers or {}
    headers: dict[str, str | bytes] = {name: came[name] for name in came if name not in DEAD_LETTER_HEADERS}
    headers |= {
        f"{DEAD_LETTER_PREFIX}reason": _line(redact(text(error)))[: 80 if brief else 500] or type(error).__name__,
        f"{DEAD_LETTER_PREFIX}error-type": type(error).__name__,
        f"{DEAD_LETTER_PREFIX}traceback": traced(error),
        f"{DEAD_LETTER_PREFIX}stage": failure.stage,
        f"{DEAD_LETTER_PREFIX}attempts": str(failure.attempts),
        f"{DEAD_LETTER_PREFIX}first-failure": _moment(failure.first),
        f"{DEAD_LETTER_PREFIX}last-failure": _moment(failure.last),
        f"{DEAD_LETTER_PREFIX}origin-broker": origin[0],
        f"{DEAD_LETTER_PREFIX}origin-destination": message.source or origin[1],
    }
    if brief:
        del headers[f"{DEAD_LETTER_PREFIX}traceback"]
    if message.partition is not None:
        headers[f"{DEAD_LETTER_PREFIX}origin-partition"] = str(message.partition)
    if message.offset is not None:
        headers[f"{DEAD_LETTER_PREFIX}origin-offset"] = str(message.offset)
    named = Origin(message.id, correlation_id=message.correlation_id)
    made = Message(raw=message.raw, key=message.key, headers=headers, origin=carried(message.origin, named))
    made.destination = getattr(sink, "destination", "")
    return made


def text(error: BaseException) -> str:
    """What an error says of itself, as text that can be encoded; whoever wrote it may have thought of neither."""
    try:
        return _encodable(str(error))
    except Exception as unspeakable:
        return f"its text cannot be had: {type(unspeakable).__name__}"


def _line(words: str) -> str:
    """The first line that says something, without what a header could not carry."""
    first = next((line for line in words.splitlines() if line.strip()), "").strip()
    return first if first.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in first)


def traced(error: BaseException) -> str:
    """An error's traceback, cut in its middle to `TRACEBACK_LIMIT` characters."""
    try:
        words = redact(_encodable("".join(traceback.format_exception(error))))
    except Exception as unspeakable:
        return f"it cannot be had: {type(unspeakable).__name__}"
    half = TRACEBACK_LIMIT // 2
    return words if len(words) <= TRACEBACK_LIMIT else f"{words[: half - 3]}\n…\n{words[-half:]}"


def _encodable(words: str) -> str:
    return words.encode(errors="backslashreplace").decode()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
