"""`RabbitSink`: publishes runs over a channel of its own, and waits for the server's confirms of all of them at once."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, TypeVar
from uuid import uuid4

from aiormq.abc import AbstractChannel

from actors import BrokerError, BrokerRefused, BrokerUnavailable, Message, PublishError
from engine.brokers import rabbitmq_frames as frames
from engine.brokers import rabbitmq_refusals as refusals
from engine.brokers import wire as forms
from engine.brokers.rabbitmq_confirms import Confirms, Publication, Run
from engine.brokers.rabbitmq_source import CONTENT_ENCODING, CONTENT_TYPE, EXPIRATION, KEY, PRIORITY
from engine.brokers.rabbitmq_wire import Shared, Wire

T = TypeVar("T", int, float)

_CHUNK = 128 * 1024
"""Bytes that are written at once."""
_ROUTES = 1000
"""Places whose frames are remembered."""

Route = Callable[[str, "str | bytes | None"], tuple[str, str]]
"""The exchange and the routing key of a destination and a message's key."""
Declare = Callable[[Wire, str], Coroutine[Any, Any, None]]
"""Makes a destination be there, in case it is not."""
_KINDS: dict[type, str | None] = {type(None): None, bytes: "application/octet-stream", str: "text/plain"}
"""The content type of what is sent as it is, by the type of the body; a message without one is passed on untouched."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How messages are published. `expiration` is in seconds."""

    route: Route
    declare: Declare | None = None
    mandatory: bool = True
    persistent: bool = True
    priority: int | None = None
    expiration: float | None = None


class Publisher:
    """One life of a sink: a channel, from its opening until it is lost."""

    def __init__(self, wire: Wire, channel: AbstractChannel, about: object, manner: Manner) -> None:
        self.wire = wire
        self.channel = channel
        self.error: BrokerError | None = None
        self.declared: set[str] = set()
        self._about = about
        self._manner = manner
        self._confirms = Confirms()
        self._news = asyncio.Event()
        self._ids = uuid4().hex[:20]
        self._sent = 0
        self._routes: dict[tuple[str, str], bytes] = {}

    # -- what the server says ------------------------------------------------------------------------------------

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """Does not happen: nothing is consumed here."""

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The server has taken over what was published, or refused to."""
        error = None if accepted else BrokerError(f"{self._about!r}: the server did not take it: the queue is full")
        self._confirms.confirm(tag, multiple, error)
        self._news.set()

    def returned(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message had nowhere to go. Its confirm comes behind it."""
        said, at = frames.read_short(method, 6)
        exchange, at = frames.read_short(method, at)
        routing_key, _ = frames.read_short(method, at)
        error = refusals.returned(self._about, said, exchange, routing_key)
        self._confirms.give_back(frames.read_properties(header).id, (exchange, routing_key), body, error)
        self.declared.discard(routing_key)  # it was there, and is not any more

    def closed(self, said: str) -> None:
        """The server has closed the channel: something in a run that it would not have."""
        self.wire.learn(said)
        self.lost(refusals.closed(self._about, said))

    def lost(self, error: BrokerError) -> None:
        """The connection is gone, or the sink was closed."""
        self.error = self.error or error
        self._news.set()

    # -- publishing ----------------------------------------------------------------------------------------------

    async def publish(self, messages: Sequence[Message], failures: dict[int, Exception]) -> None:
        """Publish those that have not failed yet, and wait until each is confirmed or has failed."""
        run, parts, size, now = Run(failures), [], 0, int(time())
        for index, message in enumerate(messages):
            if index in failures:
                continue
            try:
                publication, data = self._publication(run, index, message, now)
            except (TypeError, ValueError) as error:
                failures[index] = error
                continue
            self._confirms.add(publication)
            parts.append(data)
            size += len(data)
            if size >= _CHUNK or len(self._confirms) >= self.wire.options.window:
                self.wire.writer.write(b"".join(parts))
                parts, size = [], 0
                await self._room()
        self.wire.writer.write(b"".join(parts))
        await self._until(lambda: not run.left)

    def _publication(self, run: Run, index: int, message: Message, now: int) -> tuple[Publication, bytes]:
        """What is sent for a message. TypeError or ValueError for what no frame can carry."""
        raw, number, origin, wire = message.raw, self.channel.number, message.origin, self.wire
        if raw is None:
            raw = b""  # AMQP knows no body that is not there
        elif type(raw) is not bytes:
            raise TypeError(f"the body is {type(raw).__name__}: expected bytes, it is encoded before it is published")
        if len(raw) > wire.max_size:
            raise ValueError(f"the body has {len(raw)} bytes, the server takes max_message_size={wire.max_size}")
        route = self._manner.route(message.destination, message.key)
        method = self._routes.get(route) or self._method(route)
        id = origin.id or self._id()
        header = self._header(message, len(raw), id, now)
        if len(header) > wire.frame:
            raise ValueError(f"the headers have {len(header)} bytes, a frame holds {wire.frame}: put them into the body")
        if len(raw) <= wire.frame - frames.OVERHEAD:
            body = frames.FRAME.pack(frames.BODY, number, len(raw)) + raw + frames.END if raw else b""
        else:
            body = b"".join(frames.bodies(number, raw, wire.frame - frames.OVERHEAD))
        return Publication(run, index, id, route, raw), method + header + body

    def _method(self, route: tuple[str, str]) -> bytes:
        if len(self._routes) >= _ROUTES:
            self._routes.clear()
        made = self._routes[route] = frames.publication(self.channel.number, *route, self._manner.mandatory)
        return made

    def _id(self) -> str:
        self._sent += 1
        return f"{self._ids}{self._sent:012x}"

    def _header(self, message: Message, size: int, id: str, now: int) -> bytes:
        manner, table, key = self._manner, b"", message.key
        content_type: str | None = None
        encoding, priority, expiration = None, manner.priority, manner.expiration
        if message.headers or key is not None:
            headers: dict[str, Any] = dict(message.headers or ())
            content_type, encoding = headers.pop(CONTENT_TYPE, None), headers.pop(CONTENT_ENCODING, None)
            priority = _number(headers, PRIORITY, int, priority, 255)
            expiration = _number(headers, EXPIRATION, float, expiration, 2**32 / 1000)
            if key is not None:
                headers[KEY] = forms.text(key, "the key")
            table = frames.table(forms.headers(headers))
        body = message.body
        if type(body) in _KINDS:
            content_type = content_type or _KINDS[type(body)]
        else:  # encoded by the engine, whatever the message that it was made of was
            content_type = content_type if content_type and "json" in content_type else "application/json"
            encoding = None
        return frames.content_header(
            self.channel.number,
            size,
            table,
            content_type,
            encoding,
            manner.persistent,
            priority,
            message.origin.correlation_id,
            message.reply_to,
            None if expiration is None else round(expiration * 1000),
            id,
            now,
        )

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _room(self) -> None:
        """Wait until the window has room again, and what was written is on its way."""
        await self._until(lambda: len(self._confirms) < self.wire.options.window)
        while self.wire.unsent > 8 * _CHUNK:
            await self._patiently(self.wire.drain())

    async def _until(self, there: Callable[[], bool]) -> None:
        while not there():
            if self.error is not None:
                raise refusals.again(self.error)
            self._news.clear()
            await self._patiently(self._news.wait())

    async def _patiently(self, waiting: Coroutine[Any, Any, Any]) -> None:
        """Wait for that; when nothing has moved for a whole `timeout`, the connection is given up."""
        before = len(self._confirms), self.wire.unsent
        try:
            async with asyncio.timeout(self.wire.options.timeout):
                await waiting
        except TimeoutError:
            self.check()
            if (len(self._confirms), self.wire.unsent) == before:
                self.wire.lose(f"no confirm within {self.wire.options.timeout:g} s")
        if self.error is not None:
            raise refusals.again(self.error)

    def check(self) -> None:
        """Raise `BrokerUnavailable` while the server wants no messages: what is sent now would only be sent twice."""
        if self.wire.blocked is not None:
            raise BrokerUnavailable(f"{self._about!r}: the server takes no messages for now: {self.wire.blocked}")


class RabbitSink:
    """Publishes to the queues, or the exchange, of an endpoint.

    A message is persistent, and returned by the server where no queue takes it, unless the endpoint says otherwise.
    A tombstone arrives as an empty body: AMQP has no other.
    """

    def __init__(self, shared: Callable[[], Shared], about: object, destination: str, fixed: bool, manner: Manner) -> None:
        self._connections = shared
        self._about = about
        self._destination = destination
        self._fixed = fixed
        self._manner = manner
        self._shared: Shared | None = None
        self._publisher: Publisher | None = None
        self._opening = asyncio.Lock()

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._destination

    async def open(self) -> None:
        """Connect, and declare the destination where it is no template."""
        if self._shared is not None:
            return
        shared = self._connections()
        shared.join()
        try:
            self._publisher = await self._connect(shared)
        except BaseException:
            await shared.leave()
            raise
        self._shared = shared

    async def _connect(self, shared: Shared) -> Publisher:
        wire = await shared.wire()
        channel = await wire.open_channel(self._about, confirms=True)
        publisher = Publisher(wire, channel, self._about, self._manner)
        wire.listen(channel, publisher)
        try:
            if self._fixed:
                await self._declare(publisher, self._destination)
        except BaseException:
            await wire.close_channel(channel)
            raise
        return publisher

    async def _declare(self, publisher: Publisher, destination: str) -> None:
        if self._manner.declare is not None and destination not in publisher.declared:
            await self._manner.declare(publisher.wire, destination)
            publisher.declared.add(destination)

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order and return when all of it is confirmed.

        `PublishError` has those that cannot be sent, that no queue took, and that the server refused. A server that makes
        no progress for `timeout` is out of reach, and so is one that is short of memory or disk.
        """
        publisher = await self._living()
        failures: dict[int, Exception] = {}
        for destination in dict.fromkeys(message.destination for message in run):
            try:
                await self._declare(publisher, destination)
            except BrokerRefused as error:
                if self._fixed and destination == self._destination:
                    raise  # a mistake in the topology, which no message can help
                failures |= {at: error for at, message in enumerate(run) if message.destination == destination}
        await publisher.publish(run, failures)
        if failures:
            raise PublishError(failures)

    async def _living(self) -> Publisher:
        if self._shared is None:
            raise BrokerUnavailable(f"this sink of {self._about!r} is closed: open it before publishing")
        async with self._opening:
            publisher = self._publisher
            if publisher is None or publisher.error is not None:
                self._publisher = None
                publisher = self._publisher = await self._connect(self._shared)
        publisher.check()
        return publisher

    async def close(self) -> None:
        """Let go of the channel, and of the connection where it was the last to use it."""
        shared, publisher = self._shared, self._publisher
        self._shared = self._publisher = None
        if publisher is not None:
            publisher.lost(BrokerUnavailable(f"this sink of {self._about!r} was closed"))
            await publisher.wire.close_channel(publisher.channel)
        if shared is not None:
            await shared.leave()


def _number(headers: dict[str, Any], name: str, kind: type[T], default: T | None, most: float) -> T | None:
    """Take a number out of the headers; ValueError for one that is none, or out of bounds."""
    given = headers.pop(name, None)
    if given is None:
        return default
    number = kind(given)
    if not 0 <= number <= most:
        raise ValueError(f"header {name} is {given!r}: expected a number from 0 to {most:g}")
    return number
