"""Streams, lists and channels in AsyncAPI's words, for documents."""

from actors import Description, Server
from engine.redis.options import Target, shown


def describe(target: Target, kind: str, name: str, group: str | None, *, reading: bool) -> Description:
    """What Redis has under that name; a stream is read as a group."""
    operation = {"x-group": group, "x-consumer": target.options.consumer if group is not None and reading else None}
    return Description(
        server=_server(target),
        kind=kind,
        address=name,
        binding="redis",
        channel={"x-kind": kind},
        operation={word: value for word, value in operation.items() if value is not None},
        reply_to="reply-to",
        correlation_id="correlation-id",
    )


def _server(target: Target) -> Server:
    options = target.options
    kinds = {
        "userPassword": options.password is not None,
        "X509": options.certfile is not None,
    }
    path = [part for part in (target.service, str(options.database) if options.database else "") if part]
    return Server(
        ",".join(map(shown, target.addresses)),
        "rediss" if target.tls else "redis",
        "".join(f"/{part}" for part in path),
        tuple(kind for kind, asked in kinds.items() if asked),
    )
