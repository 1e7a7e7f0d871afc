"""What a NATS connection is told: one frozen model, filled from URLs and from keywords."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from actors import TopologyError
from engine.brokers.options import fill, tls_context

SCHEMES = ("nats", "tls")
_EXAMPLE = "nats://user:password@host:4222 (tls:// for TLS), nats://token@host; several are separated by commas"
_OURS = frozenset(
    (
        "servers",
        "error_cb",
        "disconnected_cb",
        "closed_cb",
        "reconnected_cb",
        "allow_reconnect",
        "max_reconnect_attempts",
        "user",
        "password",
        "token",
        "user_credentials",
        "nkeys_seed",
        "tls",
        "tls_hostname",
        "tls_handshake_first",
        "connect_timeout",
        "flush_timeout",
        "pending_size",
        "inbox_prefix",
        "no_echo",
        "verbose",
        "skip_subject_validation",
    )
)


class NatsOptions(BaseModel):
    """How to reach a NATS server. Times are in seconds.

    `timeout` is how long an answer may take; a publish that the connection broke under is tried again for
    `publish_timeout`. A message that is neither finished nor renewed for `ack_wait` goes to another consumer; what is
    held is renewed every third of it. A core subscription holds at most `buffer` messages that nobody has fetched, and
    drops what comes on top. `replicas` is for the streams that are declared. `credentials` is a `.creds` file,
    `nkey` a file with a seed. With TLS that comes before anything else is said (`handshake_first` of the server)
    write `tls_first=True`. `ssl` goes before `cafile`, `certfile` and `keyfile`. `client` is passed on to nats-py's
    `connect`. `idempotent` publishes what is made again after a crash under the id that it had. `monitoring` is the URL
    of the server's monitoring, which alone tells a pre-flight some settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    credentials: Path | None = None
    nkey: Path | None = None
    name: str = "headrace"
    connect_timeout: float = Field(default=5.0, gt=0)
    timeout: float = Field(default=5.0, gt=0)
    publish_timeout: float = Field(default=10.0, gt=0)
    ack_wait: float = Field(default=30.0, ge=0.1)
    ping_interval: float = Field(default=20.0, gt=0)
    idempotent: bool = True
    buffer: int = Field(default=65_536, ge=1)
    replicas: int = Field(default=1, ge=1, le=5)
    domain: str | None = Field(default=None, pattern=r"^[^\s.*>]+$")
    inbox_prefix: str = Field(default="_INBOX", pattern=r"^[^\s*>]+$")
    monitoring: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    tls_first: bool = False
    tls_hostname: str | None = None
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    ssl: SSLContext | None = None
    client: Mapping[str, Any] = {}


class Target:
    """Where NATS is, and how it is reached: URLs, with a query, and the options given as keywords over it.

    Raises `TopologyError`, which never tells the URL or a password.
    """

    def __init__(self, servers: str | Sequence[str], given: Mapping[str, Any]) -> None:
        urls = servers.split(",") if isinstance(servers, str) else list(servers)
        found: dict[str, Any] = {}
        self.servers: list[str] = []
        self.tls = False
        for url in urls:
            server, tls, told = _parse(url.strip())
            self.servers.append(server)
            self.tls = self.tls or tls
            found |= told
        if not self.servers:
            raise TopologyError("Nats without a server", remedy=f"write {_EXAMPLE}")
        self.options = fill(NatsOptions, "Nats", {**found, **given}, "nats-py's connect", _EXAMPLE)
        if taken := sorted(_OURS & self.options.client.keys()):
            raise TopologyError(f"Nats(client={{{taken[0]!r}: ...}}) is set by Headrace", remedy="leave it out")
        self.where = ",".join(server.partition("//")[2] for server in self.servers)
        """The servers, for people to read; no user and no password."""

    @property
    def api(self) -> str:
        """What the subjects of JetStream's API begin with."""
        return f"$JS.{self.options.domain}.API" if self.options.domain else "$JS.API"

    def context(self) -> SSLContext:
        """What TLS is spoken with, where a server asks for it. Reads files."""
        options = self.options
        return options.ssl or tls_context(options.cafile, options.certfile, options.keyfile)

    def __repr__(self) -> str:
        return self.where


def _parse(url: str) -> tuple[str, bool, dict[str, Any]]:
    try:
        parts = urlsplit(url if "//" in url else f"nats://{url}")
        query: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if parts.scheme not in SCHEMES or parts.path.strip("/") or not parts.hostname:
            raise ValueError(parts.scheme)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        server = f"{parts.scheme}://{host}:{parts.port or 4222}"
    except ValueError:  # its text may have a part of the password in it
        raise TopologyError(
            "a NATS URL that cannot be read",
            remedy=f"write {_EXAMPLE}; in a password / is %2F, @ is %40, : is %3A",
        ) from None
    login, separator, _ = parts.netloc.rpartition("@")
    user, with_password, password = login.partition(":")
    told: dict[str, Any] = {}
    if separator and with_password:
        told = {"user": unquote(user), "password": unquote(password)}
    elif separator:
        told = {"token": unquote(user)}
    return server, parts.scheme == "tls", told | query
