"""Subjects and streams in AsyncAPI's words, for documents."""

from typing import Any

from actors import Description, Server
from engine.nats.declare import Place
from engine.nats.headers import CORRELATION, REPLY_TO
from engine.nats.options import Target

VERSION = "0.1.0"
"""Of the binding."""


def describe_stream(target: Target, place: Place, consumer: str) -> Description:
    """A subject in a stream of JetStream; `consumer` is the one that it is read by, empty where it is published to."""
    told = {"x-stream": place.stream, "x-consumer": consumer or None}
    return _description(target, "stream", place.subject, told)


def describe_subject(target: Target, name: str, queue: str) -> Description:
    """A subject of core NATS, read for a queue."""
    return _description(target, "subject", name, {"queue": queue or None})


def _description(target: Target, kind: str, subject: str, told: dict[str, Any]) -> Description:
    known = {name: value for name, value in told.items() if value is not None}
    return Description(
        server=_server(target),
        kind=kind,
        address=subject,
        binding="nats",
        operation={**known, "bindingVersion": VERSION} if known else {},
        reply_to=REPLY_TO,
        correlation_id=CORRELATION,
    )


def _server(target: Target) -> Server:
    options = target.options
    kinds = {
        "userPassword": options.password is not None or options.user is not None,
        "token": options.token is not None,
        "nkey": options.credentials is not None or options.nkey is not None,
        "X509": options.certfile is not None,
    }
    security = tuple(kind for kind, asked in kinds.items() if asked)
    return Server(target.where, "nats-secure" if target.tls else "nats", security=security)
