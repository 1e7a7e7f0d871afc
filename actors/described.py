"""`Described`: what an endpoint may say of itself in its broker's own words, for documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Server:
    """A broker's server as a document names it: no user, no password, and nothing that is opened to find it out.

    `host` may be several, separated by commas. `protocol` is AsyncAPI's word (kafka, kafka-secure, amqp, ...), and
    `security` are the kinds of login: userPassword, plain, scramSha256, scramSha512, gssapi, bearer, token, nkey, X509.
    """

    host: str
    protocol: str
    path: str = ""
    security: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """What an endpoint is in its broker's own words; `channel` and `operation` are AsyncAPI's bindings.

    `address` is where messages go, None where that depends on each message, or is no single place. `binding` is the
    name that AsyncAPI has for the bindings, empty where it has none. `reply_to` and `correlation_id` name what carries
    these, empty where nothing does.
    """

    server: Server
    kind: str
    address: str | None
    binding: str = ""
    channel: Mapping[str, Any] = field(default_factory=dict)
    operation: Mapping[str, Any] = field(default_factory=dict)
    reply_to: str = ""
    correlation_id: str = ""


@runtime_checkable
class Described(Protocol):
    """An endpoint that says more of itself than `Endpoint` asks for; documents show others by name and options."""

    def describe(self, group: str | None) -> Description:
        """What it is to the group that reads it, or, with None, to those who publish to it."""
        ...
