"""What a RabbitMQ connection is told: one frozen model, filled from a URL and from keywords."""

from collections.abc import Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from actors import TopologyError
from engine.brokers.options import fill, tls_context

_PORTS = {"amqp": 5672, "amqps": 5671}
_EXAMPLE = "amqp://user:password@host:5672/vhost, or amqps:// for TLS"


class RabbitMQOptions(BaseModel):
    """How to reach a RabbitMQ. Times are in seconds.

    A heartbeat is sent and expected that often; a server that is silent for three of them is given up, and so is one
    that within `timeout` gives no answer, or on a publish makes no progress. A consumer to which nothing is delivered
    for `stall` asks whether there is something; it is made anew if it is stuck. `window` is the most messages that one
    publisher has on the way, unconfirmed. `ssl` goes before `cafile`, `certfile` and `keyfile`. `name` is what the
    server lists the connections by. `auth="external"` logs in by the certificate. `management` is the URL of the
    management API, `http://host:15672`, by which a pre-flight reads what AMQP does not tell; it gets the same user and
    password. `client` is passed on: its `client_properties` to the server, the rest to asyncio's `create_connection`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    host: str = "localhost"
    port: int = Field(default=5672, ge=1, le=65535)
    tls: bool = False
    user: str = "guest"
    password: SecretStr = SecretStr("guest")
    auth: Literal["plain", "external"] = "plain"
    vhost: str = "/"
    name: str = "headrace"
    heartbeat: int = Field(default=20, ge=0, lt=65535)
    connect_timeout: float = Field(default=10.0, gt=0)
    timeout: float = Field(default=30.0, gt=0)
    stall: float = Field(default=30.0, gt=0)
    window: int = Field(default=1024, ge=1)
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    ssl: SSLContext | None = None
    management: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    client: Mapping[str, Any] = {}

    @classmethod
    def of(cls, url: str, given: Mapping[str, Any]) -> Self:
        """The options in a URL, its query included, and over them those given as keywords.

        Raises `TopologyError`, which never tells the URL or a password.
        """
        return fill(cls, "RabbitMQ", {**_of_url(url), **given}, "asyncio's create_connection", _EXAMPLE)

    @property
    def where(self) -> str:
        """The server and its virtual host, for people to read; no user and no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + ("" if self.vhost == "/" else f"/{self.vhost}")

    @property
    def url(self) -> str:
        """The same as the client library reads it, with the password: not to be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{quote(self.user, safe='')}:{quote(self.password.get_secret_value(), safe='')}"
        path = "" if self.vhost == "/" else quote(self.vhost, safe="")
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{login}@{host}:{self.port}/{path}?heartbeat={self.heartbeat}&auth={self.auth}"

    def context(self) -> SSLContext | None:
        """What TLS is spoken with; None for none. Reads files: not for the event loop."""
        if not self.tls:
            return None
        return self.ssl or tls_context(self.cafile, self.certfile, self.keyfile)


def _of_url(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else ())
    except ValueError:  # its text may have a part of the password in it
        raise TopologyError(
            "a RabbitMQ URL whose port is no number, or whose query cannot be read",
            remedy=f"write {_EXAMPLE}; in a password / is %2F, @ is %40, : is %3A",
        ) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise TopologyError("a RabbitMQ URL names a scheme, amqp or amqps, and a host", remedy=f"write {_EXAMPLE}")
    found: dict[str, Any] = {
        "host": parts.hostname,
        "port": port or _PORTS[parts.scheme],
        "tls": parts.scheme == "amqps",
        "user": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
        "vhost": unquote(parts.path[1:]),
    }
    return {name: value for name, value in found.items() if value not in (None, "")} | query
