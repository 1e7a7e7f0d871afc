"""`key=` compiled: what order is kept by, and what is published as a message's key."""

from collections.abc import Callable, Hashable, Iterable
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from actors import DecodeError, Message
from topologies.fields import lack, reader, scalar
from topologies.handler import Handler
from topologies.place import Where

Key = str | Callable[[Message], Any]


def lane_of(key: Key | None, handler: Handler, where: Where) -> Callable[[Message], Hashable] | None:
    """What a stage keeps order by, checked against the body that its handler takes."""
    if key is None or callable(key):
        return key
    if handler.codec is None:
        raise where.error(
            f"key={key!r} names a field, and the handler takes no body to read it from",
            "annotate the body as the first parameter, or write key=lambda message: ...",
        )
    wrong = lack(handler.body, key, single=False)
    if wrong is not None:
        raise where.error(f"key={key!r}: {wrong[0]}", wrong[1])
    read = reader(key)
    if not _is_model(handler.body) or "." in key:
        return lambda message: read(message.body)
    quick = attrgetter(f"body.{key}")

    def lane(message: Message) -> Hashable:
        try:
            found: Hashable = quick(message)
        except AttributeError:
            found = read(message.body)  # which says what is wrong
        return found

    return lane


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def published_key(
    key: Key | None, upstream: Iterable[Handler], where: Where
) -> Callable[[Message], str | bytes | None] | None:
    """What a publisher's messages have as their key, checked against what its upstream stages return.

    A value of None is no key; other single values are published as text.
    """
    if key is None:
        return None
    if callable(key):
        called, what = key, "key="
        return lambda message: _text(called(message), what)
    check_fields([key], upstream, where, f"key={key!r}")
    read, what = reader(key), f"field {key!r}"
    return lambda message: _text(read(message.body), what)


def check_fields(paths: Iterable[str], upstream: Iterable[Handler], where: Where, what: str) -> None:
    """Raise `TopologyError` if bodies that reach a publisher lack one of these fields, as far as annotations tell."""
    stages = list(upstream)
    for path in paths:
        for handler in stages:
            wrong = lack(handler.passes, path)
            if wrong is not None:
                problem, remedy = wrong
                if handler.inline:
                    remedy += f"; if {handler.name} sends other bodies, annotate it `-> Any`"
                raise where.error(f"{what}: {problem}, which {handler.name} passes on", remedy)


def _text(value: Any, what: str) -> str | bytes | None:
    if value is None or type(value) is str or type(value) is bytes:
        return value
    text = scalar(value)
    if text is None:
        raise DecodeError(f"{what} is of type {type(value).__name__}: a message's key is text or bytes")
    return text
