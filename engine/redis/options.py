"""What a Redis connection is told: one frozen model, filled from a URL and from keywords."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from actors import TopologyError
from engine.brokers.options import fill, tls_context

Address = tuple[str, int]
"""A host and a port; the path of a Unix socket, and port 0."""
Kind = Literal["single", "sentinel", "cluster"]

_KINDS: dict[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis-cluster": ("cluster", False),
    "rediss-cluster": ("cluster", True),
}
SCHEMES = tuple(_KINDS)
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_EXAMPLE = (
    "redis://user:password@host:6379/0 (rediss:// for TLS), redis+sentinel://host:26379,host2:26379/service, "
    "redis-cluster://host:6379,host2:6379 or unix:///path/to/socket"
)
_OURS = frozenset(
    {"protocol", "decode_responses", "encoding", "parser_class", "socket_timeout", "retry", "host", "port"}
)


class RedisOptions(BaseModel):
    """How to reach a Redis. Times are in seconds.

    `timeout` is how long an answer may take, beyond the time that a read is asked to wait. A message that a consumer
    has neither finished nor renewed for `min_idle` goes to another one; what is held is renewed every third of it.
    `consumer` is what the names of this process's consumers begin with, the host's name unless given: it should be
    the same after a restart, and another one on every host. Answers to a request that nobody fetches
    are gone after `reply_expiry`. `ssl` goes before `cafile`, `certfile` and `keyfile`. `client` is passed on to
    redis-py's `Connection`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    user: str | None = None
    password: SecretStr | None = None
    database: int = Field(default=0, ge=0)
    cluster: bool = False
    name: str = Field(default="headrace", pattern=r"^[!-~]*$")
    consumer: str | None = Field(default=None, pattern=r"^[!-~]+$")
    connect_timeout: float = Field(default=5.0, gt=0)
    timeout: float = Field(default=20.0, gt=0)
    min_idle: float = Field(default=30.0, ge=0.05)
    reply_expiry: float = Field(default=60.0, ge=1)
    sentinel_user: str | None = None
    sentinel_password: SecretStr | None = None
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    ssl: SSLContext | None = None
    client: Mapping[str, Any] = {}


class Target:
    """Where a Redis is, and how it is reached: a URL, its query included, and the options given as keywords over it.

    Raises `TopologyError`, which never tells the URL or a password.
    """

    def __init__(self, url: str, given: Mapping[str, Any]) -> None:
        kind, tls, addresses, service, found = _parse(url)
        self.options = fill(RedisOptions, "Redis", {**found, **given}, "redis-py's Connection", _EXAMPLE)
        if taken := sorted(_OURS & self.options.client.keys()):
            raise TopologyError(f"Redis(client={{{taken[0]!r}: ...}}) is set by Headrace", remedy="leave it out")
        if self.options.cluster and kind == "sentinel":
            raise TopologyError("Redis: a cluster has no sentinels", remedy=f"a URL is {_EXAMPLE}")
        self.kind: Kind = "cluster" if self.options.cluster else kind
        self.tls = tls
        self.addresses: tuple[Address, ...] = addresses
        self.service = service

    @property
    def where(self) -> str:
        """The server, for people to read; no user and no password."""
        hosts = ",".join(shown(address) for address in self.addresses)
        database = f"/{self.options.database}" if self.options.database else ""
        return f"{hosts}{f'/{self.service}' if self.service else ''}{database}"

    @cached_property
    def context(self) -> SSLContext:
        """What TLS is spoken with. Reads files; raises `OSError`."""
        options = self.options
        return options.ssl or tls_context(options.cafile, options.certfile, options.keyfile)

    def __repr__(self) -> str:
        return self.where


def shown(address: Address) -> str:
    """An address for people to read."""
    host, port = address
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse(url: str) -> tuple[Kind, bool, tuple[Address, ...], str, dict[str, Any]]:
    try:
        parts = urlsplit(url)
        query: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        kind, tls = _KINDS[parts.scheme]
        login, _, hosts = parts.netloc.rpartition("@")
        if parts.scheme == "unix":
            return kind, tls, ((unquote(parts.path), 0),), "", _login(login) | query
        addresses = tuple(_address(host, _PORTS[kind]) for host in hosts.split(","))
        path = [unquote(part) for part in parts.path.split("/") if part]
        service = path.pop(0) if kind == "sentinel" else ""
        database = {"database": int(path.pop(0))} if path else {}
        if path:
            raise ValueError(path)
    except (ValueError, KeyError, IndexError):  # its text may have a part of the password in it
        raise TopologyError(
            "a Redis URL that cannot be read",
            remedy=f"write {_EXAMPLE}; in a password / is %2F, @ is %40, : is %3A",
        ) from None
    return kind, tls, addresses, service, _login(login) | database | query


def _login(login: str) -> dict[str, Any]:
    user, _, password = login.partition(":")
    found = {"user": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or port
