"""`Publisher`: publishes runs over a channel, and awaits the server's confirms of a whole run at once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from random import random
from time import time
from typing import Any

import aiormq

from actors import BrokerError, BrokerUnavailable, Message
from engine.rabbitmq import frames, refusals
from engine.rabbitmq.confirms import Confirms, Run
from engine.rabbitmq.messages import Publishing
from engine.rabbitmq.outgoing import Outgoing, RouteOf
from engine.rabbitmq.wire import Wire

_CHUNK = 128 * 1024
"""Bytes that are written at once."""
_UNSENT = 8 * _CHUNK
"""Bytes that may wait to be sent before no more are made."""
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds until what the server has refused is sent again: at first, and at most."""
_REFUSED = 5.0
"""Seconds without one message taken after which a destination is said to refuse for now."""


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
        self._outgoing = Outgoing(channel.number, wire.frame - frames.OVERHEAD, route_of, manner)
        self._confirms = Confirms()
        self._news = asyncio.Event()
        self._crowded = 0
        """How many wait for room in the window: for any confirm, where others wait for the last of their run."""
        self._still: float | None = None
        """Since when nothing has moved, as far as somebody has looked."""

    # -- what the server says ------------------------------------------------------------------------------------

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """Does not happen: nothing is consumed here."""

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The server has taken over what was published, or refused to."""
        if self._confirms.confirm(tag, multiple, accepted) or self._crowded:
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
        self._confirms.end()

    @property
    def ready(self) -> bool:
        """Whether the channel is there, and the server takes messages."""
        return self.error is None and self.wire.blocked is None

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
        run = Run(failures)
        for part in self._written(messages, wanted, run):
            self._check()  # whoever has waited: the number of a channel that is given up is another's by now
            self.wire.line.write(part)
            await self._room()
        await self.land(run)
        return run.refused

    def send(self, messages: Sequence[Message]) -> Run | None:
        """Write a run and return; None where there is no room for it at once, and as a whole."""
        wire = self.wire
        if self._crowded or len(self._confirms) + len(messages) > wire.options.window:
            return None
        if wire.line.unsent + sum([len(message.raw or b"") for message in messages]) > _UNSENT:
            return None
        run = Run({})
        for part in self._written(messages, range(len(messages)), run):
            wire.line.write(part)
        return run

    async def land(self, run: Run) -> None:
        """Wait until each message of a run is confirmed or has failed."""
        await self._until(lambda: not run.left)

    def _written(self, messages: Sequence[Message], wanted: Iterable[int], run: Run) -> Iterator[bytes]:
        """The frames of those messages, in parts; each is to be written before anything else is."""
        now, window, confirms = int(time()), self.wire.options.window, self._confirms
        frames_of, longest = self._outgoing.frames_of, self.wire.max_size
        parts: list[bytes] = []
        size = 0
        for at in wanted:
            try:
                id, route, body, made = frames_of(messages[at], longest, now)
            except Exception as error:  # whatever it is, it is the message's own
                run.failures[at] = error
                continue
            confirms.add((run, at, id, route, body))  # the server numbers messages as they come: nothing is awaited
            parts.append(made)  # before they are written
            size += len(made)
            if size >= _CHUNK or len(confirms) >= window:
                yield b"".join(parts)
                parts, size = [], 0
        yield b"".join(parts)

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _room(self) -> None:
        """Wait until the window has room again, and most of what was written is on its way."""
        self._crowded += 1
        try:
            await self._until(lambda: len(self._confirms) < self.wire.options.window)
        finally:
            self._crowded -= 1
        while self.wire.line.unsent > _UNSENT:
            await self._patiently(self.wire.line.drain())

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
        before = len(self._confirms), wire.line.unsent
        try:
            async with asyncio.timeout(look):
                await waiting
        except TimeoutError:
            self.check_blocked()
            if (len(self._confirms), wire.line.unsent) != before:
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
