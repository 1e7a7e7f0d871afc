"""All that a broker has to offer: `Endpoint`, `Source` and `Sink`, and what it can do.

An adapter fulfils these. Nothing downstream of them asks which broker it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from actors.message import Message


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an endpoint can do, read by the validator, the docs and the conformance suite.

    `ordered`: messages come in the order they were published. `groups`: several groups each get every
    message. `redelivery`: what is not acknowledged comes again (without it: at most once).
    `persistent`: survives a restart of the server. `partitioned`: order by key holds across engines.
    `embedded`: lives in this process. `replies`: carries `reply_to`. `ids`: carries a message's id.
    `pattern`: stands for many places, so it is read and not published to. `braces`: a `{` in the name of what is read
    is a part of it, and begins no field of a template.
    """

    ordered: bool = True
    groups: bool = False
    redelivery: bool = True
    persistent: bool = False
    partitioned: bool = False
    transactions: bool = False
    delay: bool = False
    replies: bool = False
    embedded: bool = False
    ids: bool = True
    pattern: bool = False
    braces: bool = False


class Source(Protocol):
    """Where a subscriber's messages come from: one per subscriber and endpoint.

    What only some of them have beside, and is asked for where it is there:

    - `ping()` returns when the server has answered, and raises `BrokerError` where it does not in time;
    - `reached()` tells whether the server has let it in and not been lost since;
    - `remade` counts how often it found its consumer gone, and made it anew;
    - `release()` gives what was read ahead and not fetched back to the broker, for other readers to have it, and has
      nothing brought until the next fetch. No fetch is under way meanwhile; it raises as `fetch` does, after which
      it is called again, and may be cancelled;
    - `drain()` gives what is there and would be lost with the source, which fetches nothing after that.
    """

    async def open(self) -> None:
        """Connect and subscribe. Raises `BrokerUnavailable`; may be called again after `close`."""
        ...

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them in order, `raw` set and `body` not.

        Cancelling it loses nothing: what it had taken comes again with the next fetch.
        Raises `BrokerUnavailable`, after which it is called again.
        """
        ...

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Tell the broker of a run: `done` are finished for good, `returned` are to come again.

        Messages of an earlier life of the source (before a reconnect) are forgotten silently.
        """
        ...

    async def close(self) -> None:
        """Let go: what was fetched and is not settled goes back to the broker."""
        ...

    def pending(self) -> int | None:
        """How many messages a fetch could still bring, as far as it is known; None if it is not."""
        ...


class Sink(Protocol):
    """Where a publisher's messages go: one per publisher."""

    @property
    def destination(self) -> str:
        """The name of its endpoint: where a dead letter goes, which is no template."""
        ...

    async def open(self) -> None:
        """Connect. Raises `BrokerUnavailable`; may be called again after `close`."""
        ...

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order and return when the broker has confirmed all of it.

        Of each message it reads `raw`, `destination`, `key`, `headers`, `id`, `correlation_id` and `reply_to`.
        Raises `BrokerUnavailable` (nothing is known: the whole run is tried again) or `PublishError`
        (those messages were refused).
        """
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class Sent(Protocol):
    """A run that is on its way: written, and not yet known to be confirmed."""

    def then(self, callback: Callable[[], object]) -> None:
        """Call that as soon as something is known of it, whatever it is; at once, or in the next turn, where it is."""
        ...

    async def confirmed(self) -> bool:
        """Wait until it is known what became of the run: whether the broker has confirmed all of it.

        False where it is to be given to `publish`, which skips what the broker has taken. Raises as `publish` does.
        """
        ...

    def forget(self) -> None:
        """Nobody will ask what became of it."""
        ...


@runtime_checkable
class Pipelined(Sink, Protocol):
    """A sink that can have several runs on their way at once, in order."""

    @property
    def in_flight(self) -> int:
        """How many, at most; where it is 1, `send` is not called."""
        ...

    async def send(self, run: Sequence[Message]) -> Sent | None:
        """Write a run and return; None, and nothing is written, where it is to be given to `publish` in its turn.

        It is written behind those that are on their way, over the same connection, and never over a newer one: none
        overtakes another that was lost. Raises as `publish` does where nothing was written.
        """
        ...


class Seen(Protocol):
    """Which messages were done within a window: written down before they are acknowledged, looked up by the run."""

    async def open(self) -> None:
        """Connect. Raises `BrokerUnavailable`; may be called again after `close`."""
        ...

    async def known(self, identities: Sequence[bytes]) -> Sequence[bool]:
        """Whether each was kept within the window. False where that is lost: it is handled again then.

        Raises `BrokerUnavailable`, after which it is called again.
        """
        ...

    async def keep(self, identities: Sequence[bytes]) -> None:
        """Return when it is written down that these are done. Raises as `known` does."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """A broker that can remember for several engines, and through their restarts, what they have done."""

    def seen(self, name: str, window: float, most: int) -> Seen:
        """What was done under this name within `window` seconds, at most so many."""
        ...


@runtime_checkable
class Broker(Protocol):
    """A server, named; it opens nothing when it is made."""

    @property
    def system(self) -> str:
        """Its kind in telemetry's words: memory, kafka, rabbitmq, nats, redis."""
        ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *exc: object) -> None: ...


@runtime_checkable
class Endpoint(Protocol):
    """A destination on a broker, as a value: equal when broker, name and options are."""

    @property
    def broker(self) -> Broker:
        """The server that it is on."""
        ...

    @property
    def name(self) -> str:
        """The destination's name; for a publisher it may be a template: `tenant.{tenant_id}`."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What else was declared, for drawings and documents; nothing secret."""
        ...

    def source(self, group: str, bound: int = 256) -> Source:
        """A new source; `group` is used where the endpoint names no group of its own.

        `bound` is the most messages that the engine holds unsettled at once: a broker that pushes, or that limits what
        is in flight, is told so.
        """
        ...

    def sink(self) -> Sink:
        """A new sink; each message's `destination` says where it goes (the filled-in name)."""
        ...

    def dead_letter(self) -> "Endpoint":
        """Where dead letters go when the stage names no place: `{name}.dead` on the same broker."""
        ...

    def reply_to(self, destination: str) -> "Endpoint":
        """The endpoint behind a message's `reply_to`."""
        ...
