"""`deduplicate=` compiled: what makes two messages one, as a digest that is the same in every process."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from actors import Deduplicate, Endpoint, Identify, Message
from topologies.codec import encode
from topologies.fields import lack, reader, scalar
from topologies.handler import Handler
from topologies.place import Where

SIZE = 16
"""Bytes of a digest: of 2 ** 64 messages two would share one by chance."""


def identities_of(
    given: Deduplicate | None, sources: Sequence[Endpoint], handler: Handler, where: Where
) -> Callable[[str], Identify] | None:
    """What makes two messages one that come from an endpoint of this name.

    Raises `TopologyError` where the stage has no endpoints, or these carry no ids, and for a field that is not there.
    """
    if given is None:
        return None
    if not sources:
        raise where.error(
            "deduplicate= on a stage that takes from stages alone: what they pass on is never delivered twice",
            "put it on the stage that takes from the endpoint",
        )
    if given.by is None:
        _check_ids(sources, where)
        return _by_id
    if isinstance(given.by, str):
        return _by(_field(given.by, handler, where))
    return _by(given.by)


def _check_ids(sources: Sequence[Endpoint], where: Where) -> None:
    for source in sources:
        if not source.capabilities.ids:
            raise where.error(
                f"deduplicate=: messages from {source.name} have no id",
                "name what tells them apart, a field of the body or a function of the message: Deduplicate(by=...)",
            )


def _field(path: str, handler: Handler, where: Where) -> Callable[[Message], Any]:
    if handler.codec is None:
        raise where.error(
            f"deduplicate= by {path!r} names a field, and the handler takes no body to read it from",
            "annotate the body as the first parameter, or write by=lambda message: ...",
        )
    wrong = lack(handler.body, path, single=False)
    if wrong is not None:
        raise where.error(f"deduplicate= by {path!r}: {wrong[0]}", wrong[1])
    read = reader(path)
    return lambda message: read(message.body)


def _by_id(endpoint: str) -> Identify:
    """By id and body: an id that two different messages share by mistake makes neither of them a duplicate."""
    scope = _digest(endpoint.encode(), b"")

    def identify(message: Message) -> bytes | None:
        origin, raw = message.origin, message.raw
        id = origin.id
        # A broker's own position is no id: where the broker begins anew it comes again, with another message.
        if id is None or not getattr(origin, "named", True):
            return None
        name = id.encode("utf-8", "surrogatepass")
        # Null is not empty; and the id's length goes before it, so that no other id and body are the same bytes.
        told = b"%b%d:%b" % (scope, len(name), name) + raw if raw is not None else b"%b%d;%b" % (scope, len(name), name)
        return blake2b(told, digest_size=SIZE).digest()

    return identify


def _by(of: Callable[[Message], Any]) -> Callable[[str], Identify]:
    def identify(message: Message) -> bytes | None:
        value = of(message)
        return None if value is None else _digest(type(value).__name__.encode(), _bytes(value))

    return lambda endpoint: identify


def _bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    text = scalar(value)
    if text is not None:
        return text.encode(errors="surrogatepass")
    return encode(value) or b""


def _digest(first: bytes, second: bytes) -> bytes:
    return blake2b(b"%d:%b%b" % (len(first), first, second), digest_size=SIZE).digest()
