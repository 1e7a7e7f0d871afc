"""What a Kafka client is told: one frozen model, filled from keywords or from a URL."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from actors import TopologyError

_EXAMPLE = "kafka://user:password@host:9092,other:9092?sasl_mechanism=SCRAM-SHA-512&cafile=ca.pem"


class KafkaOptions(BaseModel):
    """How to reach a Kafka, and how to read and write there. Times are in seconds, sizes in bytes.

    TLS is spoken where `ssl` (which goes before the files), `cafile` or `certfile` is given, and a login is made where
    `user` is; `security_protocol` says so outright. `group_instance_id` makes membership static: a process that comes
    back within `session_timeout` takes its partitions up at once; each process needs one of its own.

    What is done is committed every `commit_interval` or `commit_every` messages, and when closing. When partitions
    are to be given away, what is in hand has `revoke_drain` to be finished. A consumer that has messages waiting
    and brings none for `stall` is made anew. A run that is not confirmed within `publish_timeout` is published again.

    `create_topics` lets missing topics be made. Replies come by a topic of this process's own, or by `reply_topic`.
    `client` is passed on to aiokafka's consumers and producers, each of which gets what it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    servers: tuple[str, ...]
    client_id: str = "headrace"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = None
    ssl: SSLContext | None = Field(default=None, repr=False)
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    keyfile_password: SecretStr | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"] | None = None
    user: str | None = None
    password: SecretStr | None = None
    acks: Literal["all", 1] = "all"
    idempotent: bool = True
    compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    linger: float = Field(default=0.0, ge=0)
    max_batch_size: int = Field(default=256 * 1024, ge=1)
    publish_timeout: float = Field(default=30.0, gt=0)
    group_instance_id: str | None = None
    session_timeout: float = Field(default=10.0, gt=0)
    heartbeat_interval: float | None = Field(default=None, gt=0)
    request_timeout: float = Field(default=40.0, gt=0)
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    commit_interval: float = Field(default=1.0, gt=0)
    commit_every: int = Field(default=10_000, ge=1)
    revoke_drain: float = Field(default=5.0, ge=0)
    stall: float = Field(default=30.0, gt=0)
    create_topics: bool = True
    reply_topic: str | None = None
    client: Mapping[str, Any] = Field(default={}, repr=False)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The options given as keywords. Raises `TopologyError`, which lists those there are and tells no password."""
        if unknown := [name for name in given if name not in cls.model_fields]:
            close = get_close_matches(unknown[0], cls.model_fields, n=1)
            hint = f"did you mean {close[0]}=? " if close else ""
            raise TopologyError(
                f"Kafka has no option {unknown[0]}=",
                remedy=f"{hint}known are: {', '.join(cls.model_fields)}; what aiokafka takes goes into client={{...}}",
            )
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise TopologyError(f"Kafka({name}{'=...' if name else ''}): {first['msg']}") from None

    @classmethod
    def of_url(cls, url: str) -> Self:
        """The options in a URL: user, password, servers, and any other one in its query."""
        try:
            parts = urlsplit(url)
            query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else ())
        except ValueError:  # its text may have a part of the password in it
            raise TopologyError("a Kafka URL whose query cannot be read", remedy=f"write {_EXAMPLE}") from None
        login, _, hosts = parts.netloc.rpartition("@")
        if not hosts or parts.path.strip("/"):
            raise TopologyError("a Kafka URL names servers, and no path after them", remedy=f"write {_EXAMPLE}")
        user, colon, password = login.partition(":")
        found = {"user": unquote(user), "password": unquote(password) if colon else ""}
        return cls.of({"servers": hosts} | {name: text for name, text in found.items() if text} | query)

    @field_validator("servers", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return tuple(given.replace(" ", "").split(",")) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.idempotent and self.acks != "all":
            raise ValueError("acks=1 confirms what may yet be lost, so idempotent=False has to go with it")
        if (self.user is None) != (self.password is None) and self.sasl_mechanism not in ("OAUTHBEARER", "GSSAPI"):
            raise ValueError("user= and password= go together")
        if not self.servers or not all(self.servers):
            raise ValueError("expected a server, or several: host:9092,other:9092")
        if any("://" in server for server in self.servers):
            raise ValueError("servers have no scheme, as host:9092 has none; broker(url) takes a URL")
        return self

    @property
    def where(self) -> str:
        """The servers, for people to read; no user and no password."""
        return ",".join(self.servers)

    @property
    def protocol(self) -> str:
        """Kafka's word for with or without TLS and login."""
        if self.security_protocol is not None:
            return self.security_protocol
        tls = self.ssl is not None or self.cafile is not None or self.certfile is not None
        login = self.user is not None or self.sasl_mechanism is not None
        return {(0, 0): "PLAINTEXT", (1, 0): "SSL", (0, 1): "SASL_PLAINTEXT", (1, 1): "SASL_SSL"}[tls, login]

    def context(self) -> SSLContext | None:
        """What TLS is spoken with; None for none. Reads files: `OSError` where that fails."""
        if not self.protocol.endswith("SSL"):
            return None
        if self.ssl is not None:
            return self.ssl
        context = create_default_context(cafile=self.cafile)
        if self.certfile is not None:
            secret = self.keyfile_password
            context.load_cert_chain(self.certfile, self.keyfile, secret.get_secret_value() if secret else None)
        return context
