"""`RabbitSink`: publishes runs over a channel of its own, and awaits the server's confirms of a whole run at once."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import random
from time import time
from typing import Any
from uuid import uuid4

import aiormq

from actors import BrokerError, BrokerRefused, BrokerUnavailable, Message, PublishError
from engine.rabbitmq import frames, refusals
from engine.rabbitmq.confirms import Confirms, Publication, Run
from engine.rabbitmq.messages import Publishing, body_of, header_of
from engine.rabbitmq.shared import Shared
from engine.rabbitmq.wire import Wire

_CHUNK = 128 * 1024
"""Bytes that are written at once."""
_UNSENT = 8 * _CHUNK
"""Bytes that may wait to be sent before no more are made."""
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds until what the server has refused is sent again: at first, and at most."""
_REFUSED = 5.0
"""Seconds without one message taken after which a destination is said to refuse for now."""
_ROUTES = 1000
"""Places whose frames are remembered."""

RouteOf = Callable[[str, "str | bytes | None"], tuple[str, str]]
"""The exchange and the routing key of a destination and a message's key."""
Declare = Callable[[Wire, str], Coroutine[Any, Any, None]]
"""Makes an exchange, or the queue behind the default exchange, be there."""


class Publisher:
    """One life of a sink: a channel, from its opening until it is lost."""

    def __init__(
        self, wire: Wire, channel: aiormq.Channel, about: object, route_of: RouteOf, manner: Publishing
    ) -> None:
        self.wire = wire
        self.channel = channel
        self.error: BrokerError | None = None
        self.declared: set[str] = set()
        self._about = about
        self._route_of = route_of
        self._manner = manner
        self._confirms = Confirms()
        self._news = asyncio.Event()
        self._ids = uuid4().hex[:20]
        self._numbered = 0
        self._still: float | None = None
        """Since when nothing has moved, as far as somebody has looked."""
        self._methods: dict[tuple[str, str], bytes] = {}

    # -- what the server says ------------------------------------------------------------------------------------

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """Does not happen: nothing is consumed here."""

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The server has taken over what was published, or refused to."""
        self._confirms.confirm(tag, multiple, accepted)
        self._news.set()

    def returned(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message had nowhere to go. Its confirm comes behind it."""
        said, at = frames.read_short(method, 6)
        exchange, at = frames.read_short(method, at)
        routing_key, _ = frames.read_short(method, at)
        error = refusals.returned(self._about, said, exchange, routing_key)
        self._confirms.give_back(frames.read_properties(header).id, (exchange, routing_key), body, error)
        if not exchange:
            self.declared.discard(routing_key)  # the queue was there, and is not any more

    def closed(self, said: str) -> None:
        """The server has closed the channel: something in a run that it would not have."""
        self.wire.learn(said)
        self.lost(refusals.closed(self._about, said))

    def lost(self, error: BrokerError) -> None:
        """The connection is gone, or the sink was closed."""
        self.error = self.error or error
        self._news.set()

    # -- publishing ----------------------------------------------------------------------------------------------

    async def publish(
        self, messages: Sequence[Message], wanted: list[int], failures: dict[int, Exception]
    ) -> list[int]:
        """Publish those messages of a run, and wait until each is confirmed or has failed.

        What the server refuses is sent again for a while: a queue that is full may get room, a new one a leader.
        Returns what of it the server has gone on refusing, while it took nothing else.
        """
        clock, pause = asyncio.get_running_loop().time, _PAUSE
        patience = min(_REFUSED, self.wire.options.timeout)
        until = clock() + patience
        while refused := await self._publish(messages, wanted, failures):
            if len(refused) < len(wanted):
                pause, until = _PAUSE, clock() + patience
            if clock() + pause > until:
                return refused
            await asyncio.sleep(pause * (0.5 + random() / 2))
            pause = min(2 * pause, _LONGEST_PAUSE)
            wanted = [at for at in refused if at not in failures]
        return []

    async def _publish(
        self, messages: Sequence[Message], wanted: list[int], failures: dict[int, Exception]
    ) -> list[int]:
        """Publish those messages; return those that the server has refused."""
        run, now = Run(failures), int(time())
        parts: list[bytes] = []
        size = 0
        for at in wanted:
            try:
                size += self._add(parts, run, at, messages[at], now)
            except (TypeError, ValueError) as error:
                failures[at] = error
            if size >= _CHUNK or len(self._confirms) >= self.wire.options.window:
                self.wire.write(b"".join(parts))
                parts, size = [], 0
                await self._room()
        self.wire.write(b"".join(parts))
        await self._until(lambda: not run.left)
        return run.refused

    def _add(self, parts: list[bytes], run: Run, at: int, message: Message, now: int) -> int:
        """Add the frames of a message, and return about how many bytes they are.

        They must be written before anything else is awaited: the server numbers messages as they come.
        """
        number, most = self.channel.number, self.wire.frame - frames.OVERHEAD
        raw = body_of(message, self.wire.max_size)
        route = self._route_of(message.destination, message.key)
        method = self._methods.get(route) or self._method(route)
        id = message.origin.id or self._id()
        header = header_of(message, number, len(raw), id, now, self._manner)
        if len(header) > most:
            raise ValueError(f"the headers have {len(header)} bytes, there is room for {most}: put them into the body")
        self._confirms.add(Publication(run, at, id, route, raw))
        parts += (method, header)
        parts += frames.bodies(number, raw, most)
        return len(header) + len(raw)

    def _method(self, route: tuple[str, str]) -> bytes:
        if len(self._methods) >= _ROUTES:
            self._methods.clear()
        made = self._methods[route] = frames.publication(self.channel.number, *route, self._manner.mandatory)
        return made

    def _id(self) -> str:
        self._numbered += 1
        return f"{self._ids}{self._numbered:012x}"

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _room(self) -> None:
        """Wait until the window has room again, and most of what was written is on its way."""
        await self._until(lambda: len(self._confirms) < self.wire.options.window)
        while self.wire.unsent > _UNSENT:
            await self._patiently(self.wire.drain())

    async def _until(self, there: Callable[[], bool]) -> None:
        while not there():
            self._check()
            self._news.clear()
            await self._patiently(self._news.wait())

    async def _patiently(self, waiting: Coroutine[Any, Any, Any]) -> None:
        """Wait for that; when nothing has moved for a whole `timeout`, the channel, or the connection, is given up."""
        wire, clock = self.wire, asyncio.get_running_loop().time
        patience = wire.options.timeout
        look = min(_REFUSED, patience)
        before = len(self._confirms), wire.unsent
        try:
            async with asyncio.timeout(look):
                await waiting
        except TimeoutError:
            self.check_blocked()
            if (len(self._confirms), wire.unsent) != before:
                self._still = None
            elif self._still is None:
                self._still = clock() - look
            if self._still is not None and clock() - self._still >= patience and await wire.alive():
                self.lost(BrokerUnavailable(f"{self._about!r}: no confirm within {patience:g} s"))
        else:
            self._still = None
        self._check()

    def _check(self) -> None:
        if self.error is not None:
            raise refusals.again(self.error)

    def check_blocked(self) -> None:
        """Raise `BrokerUnavailable` while the server wants no messages: what is sent now would only be sent twice."""
        if self.wire.blocked is not None:
            raise BrokerUnavailable(f"{self._about!r}: the server takes no messages for now: {self.wire.blocked}")

    def __repr__(self) -> str:
        return f"{len(self._confirms)} unconfirmed"


class RabbitSink:
    """Publishes to the queues, or the exchange, of an endpoint.

    A message is persistent, and returned by the server where no queue takes it, unless the endpoint says otherwise.
    A tombstone arrives as an empty body: AMQP has no other.
    """

    def __init__(
        self,
        connections: Callable[[], Shared],
        about: object,
        destination: str,
        route_of: RouteOf,
        manner: Publishing,
        declare: Declare | None,
    ) -> None:
        self._connections = connections
        self._about = about
        self._destination = destination
        self._route_of = route_of
        self._manner = manner
        self._declare = declare
        self._shared: Shared | None = None
        self._publisher: Publisher | None = None
        self._opening = asyncio.Lock()
        self._confirmed: set[Message] = set()
        """Of runs that were refused half-way: what need not be published again."""

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
        channel = await wire.open_channel(confirms=True)
        publisher = Publisher(wire, channel, self._about, self._route_of, self._manner)
        wire.listen(channel, publisher)
        try:
            if "{" not in self._place(self._destination):
                await self._provide(publisher, self._destination)
        except BaseException:
            await wire.close_channel(channel)
            raise
        return publisher

    def _place(self, destination: str) -> str:
        """What has to be there before anything is published to that destination: an exchange, or a queue."""
        exchange, queue = self._route_of(destination, None)
        return exchange or queue

    async def _provide(self, publisher: Publisher, destination: str) -> None:
        place = self._place(destination)
        if self._declare is not None and place not in publisher.declared:
            await self._declare(publisher.wire, place)
            publisher.declared.add(place)

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order and return when all of it is confirmed.

        `PublishError` has those that cannot be sent and that no queue took; meanwhile the others are on their way. A
        server that makes no progress for a whole `timeout` is out of reach, and so is one that is short of memory or
        disk. A queue that is full is waited for, and what was taken is remembered; of a template's many only the
        messages for that one fail.
        """
        publisher = await self._living()
        failures: dict[int, Exception] = {}
        for destination in dict.fromkeys(message.destination for message in run):
            try:
                await self._provide(publisher, destination)
            except BrokerRefused as error:
                if destination == self._destination:
                    raise  # a mistake in the topology: no other message would fare better
                failures |= {at: error for at, message in enumerate(run) if message.destination == destination}
            except ValueError as error:  # no destination of this endpoint
                failures |= {at: error for at, message in enumerate(run) if message.destination == destination}
        done = self._confirmed
        wanted = list(range(len(run)))
        if failures or done:
            wanted = [at for at in wanted if at not in failures and run[at] not in done]
        refused = await publisher.publish(run, wanted, failures)
        done.difference_update(run)
        if refused and "{" not in self._destination:
            done.update(set(run).difference(run[at] for at in (*refused, *failures)))
            full = refusals.full(self._about)
            publisher.lost(full)  # where the limit is taken away, RabbitMQ tells only new channels that there is room
            raise full
        failures |= {at: refusals.not_taken(self._about) for at in refused}
        if failures:
            raise PublishError(failures)

    async def _living(self) -> Publisher:
        if self._shared is None:
            raise BrokerUnavailable(f"this sink of {self._about!r} is closed: open it before publishing")
        async with self._opening:
            publisher = self._publisher
            if publisher is None or publisher.error is not None:
                self._publisher = None
                if publisher is not None:
                    await publisher.wire.close_channel(publisher.channel)
                publisher = self._publisher = await self._connect(self._shared)
        publisher.check_blocked()
        return publisher

    async def ping(self) -> None:
        """Return when the server has answered, and would take a message; connects anew where need be."""
        await (await self._living()).wire.ping()

    async def close(self) -> None:
        """Let go of the channel, and of the connection where nobody else needs it."""
        shared, publisher = self._shared, self._publisher
        self._shared = self._publisher = None
        self._confirmed.clear()
        if publisher is not None:
            publisher.lost(BrokerUnavailable(f"this sink of {self._about!r} was closed"))
            await publisher.wire.close_channel(publisher.channel)
        if shared is not None:
            await shared.leave()

    def __repr__(self) -> str:
        publisher = self._publisher
        return f"<sink to {self._about!r}: {'closed' if publisher is None else publisher.error or repr(publisher)}>"
