"""What brokers and endpoints of every kind offer from outside of an engine: publishing, and asking for a reply."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from time import time_ns
from typing import Any, Protocol, Self, cast, runtime_checkable
from uuid import uuid4

from anyio import CancelScope, Lock, fail_after

from actors import Broker, BrokerError, DecodeError, Endpoint, Headers, Message, Origin, Sink
from engine.brokers.replies import Replies
from engine.telemetry.provider import outside
from topologies import codec, encode, guess

INBOX = "headrace.inbox."
"""What the names of inboxes begin with."""

CLOSING = 5.0
"""Seconds that closing may take when a broker's block ends, also where it ends by being cancelled."""


class Reachable:
    """An endpoint that can be published to and asked from outside; needs `async with broker:` around it."""

    __slots__ = ()

    @property
    def sink_kind(self) -> Hashable:
        """Endpoints whose kinds are equal share one sink: it publishes to whatever destination a message has."""
        return self

    async def publish(
        self: "OwnEndpoint",
        body: Any,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        id: str | None = None,
        correlation_id: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        """Encode a body by its type, publish it, and return when the broker has confirmed it.

        Raises `PublishError` where the broker refuses it, `BrokerUnavailable` where it is out of reach,
        `TypeError` where the body cannot be encoded.
        """
        origin = Origin(id, correlation_id=correlation_id)
        message = Message(body, key=key, headers=headers, origin=origin, reply_to=reply_to)
        await self.broker.session.publish(self, message)

    async def request(
        self: "OwnEndpoint",
        body: Any,
        *,
        timeout: float | None = 10.0,
        returns: Any = Any,
        key: str | bytes | None = None,
        headers: Headers | None = None,
    ) -> Message:
        """Publish a body and wait for its reply, at most `timeout` seconds; its body is decoded as `returns`.

        Without `returns` it is what its bytes are: from JSON, else text, else bytes.
        Raises `TimeoutError`, `DecodeError` where the reply is something else, and whatever `publish` does.
        A reply that comes later is dropped.
        """
        if not self.capabilities.replies:
            raise BrokerError(f"{self!r} does not carry replies: publish to it instead")
        message = Message(body, key=key, headers=headers)
        try:
            with fail_after(timeout):
                reply = await self.broker.session.ask(self, message)
        except TimeoutError:
            raise TimeoutError(
                f"no reply from {self!r} within {timeout} s: does a subscriber of it run, and return something?"
            ) from None
        try:
            reply.body = _decoder(returns)(reply.raw or b"")
        except DecodeError as error:
            raise DecodeError(f"the reply of {self!r}: {error}") from error
        return reply


class Declared(Reachable):
    """An endpoint that is a dataclass, its broker and its name before all else."""

    __slots__ = ()
    broker: Any
    name: str

    @property
    def options(self) -> Mapping[str, Any]:
        """What was declared beside the name."""
        declared = fields(cast(Any, self))[2:]
        given = {field.name: getattr(self, field.name) for field in declared}
        return {field.name: given[field.name] for field in declared if given[field.name] != field.default}

    @property
    def kind(self) -> str:
        """What it is, by the name of the method that makes it."""
        return type(self).__name__.lower().removeprefix(self.broker.system)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.broker!r}.{self.kind}({self.name!r}{options})"


class Enterable:
    """A broker object as a context: within it, its endpoints publish and ask. It may be entered again inside."""

    _entered = 0
    _session: "Session | None" = None

    def inbox(self) -> Endpoint:
        """A new endpoint for replies that nobody else uses; its name begins with `INBOX`."""
        raise NotImplementedError

    @property
    def session(self) -> "Session":
        """What is open between entering and leaving; `BrokerError` outside of that."""
        if self._session is None:
            raise BrokerError(f"{self!r} is not open: publish and request inside of `async with broker:`")
        return self._session

    async def __aenter__(self) -> Self:
        if self._session is None:
            self._session = Session(self.inbox)
        self._entered += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._entered -= 1
        if self._entered == 0 and self._session is not None:
            session, self._session = self._session, None
            await session.close()


class OwnBroker(Broker, Protocol):
    """A broker as `Reachable` needs it: one that is `Enterable`."""

    @property
    def session(self) -> "Session": ...


class OwnEndpoint(Endpoint, Protocol):
    """An endpoint as `Reachable` needs it."""

    @property
    def broker(self) -> OwnBroker: ...

    @property
    def sink_kind(self) -> Hashable: ...


@runtime_checkable
class Remembering(Protocol):
    """A sink that keeps something of a run that failed, for when it is published again."""

    def forget(self, run: Sequence[Message]) -> None:
        """It will not be."""


class Session:
    """The sinks and the inbox that one broker object has open for those outside of an engine."""

    def __init__(self, inbox: Callable[[], Endpoint]) -> None:
        self._inbox = inbox
        self._replies: Replies | None = None
        self._sinks: dict[Hashable, Sink] = {}
        self._opening = Lock()

    async def publish(self, endpoint: OwnEndpoint, message: Message) -> None:
        """Encode and publish one message."""
        if "{" in endpoint.name:
            raise ValueError(f"{endpoint!r} is a template: publish to an endpoint with the name filled in")
        message.raw = encode(message.body)
        message.destination = endpoint.name
        sink = self._sinks.get(endpoint.sink_kind) or await self._open(endpoint)
        traced = outside()
        try:
            if traced is None:
                await sink.publish([message])
            else:
                await traced.publish(sink, endpoint, message)
        except BaseException:
            if isinstance(sink, Remembering):
                sink.forget([message])  # whoever tries again makes another
            raise

    async def ask(self, endpoint: OwnEndpoint, message: Message) -> Message:
        """Publish one message and wait for the reply to it."""
        replies = await self._listen()
        correlation_id = uuid4().hex
        message.origin = Origin(correlation_id=correlation_id)
        message.reply_to = replies.address
        with replies.expect(correlation_id) as slot:
            await self.publish(endpoint, message)
            began = time_ns()
            reply = await replies.wait(slot)
        if (traced := outside()) is not None:
            traced.replied(endpoint, reply, began)
        return reply

    async def close(self) -> None:
        """Close the inbox and the sinks."""
        with CancelScope(shield=True), fail_after(CLOSING):
            if self._replies is not None:
                await self._replies.source.close()
            for sink in self._sinks.values():
                await sink.close()

    async def _open(self, endpoint: OwnEndpoint) -> Sink:
        async with self._opening:
            sink = self._sinks.get(endpoint.sink_kind)
            if sink is None:
                sink = endpoint.sink()
                await sink.open()
                self._sinks[endpoint.sink_kind] = sink
            return sink

    async def _listen(self) -> Replies:
        async with self._opening:
            if self._replies is None:
                replies = Replies(self._inbox())
                await replies.source.open()
                self._replies = replies
            return self._replies


def _decoder(hint: Any) -> Callable[[bytes], Any]:
    if hint is Any:
        return guess
    try:
        return _compiled(hint)
    except TypeError:  # a hint that cannot be hashed: Annotated with something that cannot
        return codec(hint).decode


@lru_cache(maxsize=256)
def _compiled(hint: Any) -> Callable[[bytes], Any]:
    return codec(hint).decode
