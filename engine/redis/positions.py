"""How far a group had come, and where it goes on when somebody has deleted it."""

from typing import Any

from redis.exceptions import ResponseError

from engine.redis.group import Consumer, order
from engine.redis.wire import Wire

BEGINNING = b"0-0"


async def reached(wire: Wire, me: Consumer) -> bytes | None:
    """The id of the last entry that the group has delivered; None where the server does not say."""
    (rows,) = await wire.exchange((("XINFO", "GROUPS", me.stream),))
    for row in rows if isinstance(rows, list) else ():
        told = _told(row)
        if told.get(b"name") == me.group.encode():
            return bytes(told[b"last-delivered-id"])
    return None


async def resumed(wire: Wire, stream: str, seen: bytes) -> bytes:
    """After which entry a group goes on that had seen that one: its stream may have been deleted as well."""
    (row,) = await wire.exchange((("XINFO", "STREAM", stream),))
    return after(None if isinstance(row, ResponseError) else bytes(_told(row)[b"last-generated-id"]), seen)


def after(newest: bytes | None, seen: bytes) -> bytes:
    """That one, unless the stream is gone, or has not come that far: then it is another, and all of it is new."""
    return BEGINNING if newest is None or order(newest) < order(seen) else seen


def _told(row: Any) -> dict[bytes, Any]:
    return dict(zip(row[::2], row[1::2], strict=True))
