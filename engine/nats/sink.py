"""`StreamSink`: publishes runs to JetStream, with all confirms on one inbox."""

import asyncio
from collections.abc import Sequence
from logging import getLogger
from random import random

from nats.aio.msg import Msg

from actors import BrokerError, BrokerUnavailable, Message, PublishError, Sent
from engine.nats.client import Link, flushed
from engine.nats.commands import Publication
from engine.nats.confirms import Again, Run
from engine.nats.declare import Place, stream_for
from engine.nats.denials import Denials
from engine.nats.direct import DirectClient
from engine.nats.errors import refused, trouble
from engine.nats.ids import Ids
from engine.nats.inbox import Inbox
from engine.nats.options import Target
from engine.nats.sent import StreamSent

_logger = getLogger("headrace")
AT_ONCE = 2048
"""Messages that wait for their confirms; the server refuses more than it can buffer."""
UNSENT = 1024 * 1024
"""Bytes that may wait to be written where a run is sent: half of those from which on nats-py has its caller wait."""
AGAIN = 0.1
"""Seconds between two tries."""
LOOK = 1.0
"""Seconds after which a run that nothing is heard of is looked at: nats-py may lose a connection and tell nobody."""


class StreamSink:
    """Publishes to any subject that a stream has. Several tasks may use it side by side.

    Each message has an id of its own, under which it is published again when the connection breaks, and when it is made
    again after a crash, so that the server stores it once (within the stream's `duplicate_window`, 2 minutes unless
    configured otherwise).
    """

    def __init__(self, target: Target, place: Place) -> None:
        self._target = target
        self._place = place
        self._inbox = Inbox(place.pattern)
        where, inbox = f"{place.stream} {place.subject}", self._inbox
        self._link = Link(target, where, self._start, inbox.wake, inbox.denied, inbox.take)
        self._ids = Ids(target.options.idempotent)
        self._sent: list[StreamSent] = []
        """What is on its way, and `publish` has no hand in."""
        self._open = False

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._place.subject

    async def open(self) -> None:
        """Connect, and declare the stream where it is missing."""
        await self._link.connected()
        self._open = True

    async def _start(self, client: DirectClient) -> None:
        await stream_for(self._link, client, self._place, reading=False)
        self._inbox.wake()  # nothing more comes on the connection before
        every = self._inbox.begin(client.new_inbox(), self._link.where)
        with self._link.denials() as denied:
            await client.subscribe(every, cb=self._confirmed, pending_msgs_limit=0, pending_bytes_limit=0)
            await flushed(client, self._target.options.timeout)
        if denied.other:
            raise refused(self._link.where, denied.other)

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order.

        What the server has against a single message is a `PublishError`; what it would have against any, a
        `BrokerRefused`.
        """
        parts, failures = self._ids.parts_of(run)
        runs = [Run(parts[start : start + AT_ONCE]) for start in range(0, len(parts), AT_ONCE)]
        try:
            for some in runs:
                await self._deliver(some)
                failures |= some.refused
        except BaseException:
            self._keep(runs)
            raise
        self._ids.settle(run)
        self._say_twice()
        if failures:
            raise PublishError(failures)

    def forget(self, run: Sequence[Message]) -> None:
        """A run that failed is not published again: its ids are not kept."""
        self._ids.settle(run)

    @property
    def in_flight(self) -> int:
        """Two: the server takes what comes over one connection in order, and confirms both in the time of one."""
        return 2

    async def send(self, run: Sequence[Message]) -> Sent | None:
        """Write a run behind those on their way, over the same connection and while nothing is known against them."""
        size = sum([len(message.raw or b"") for message in run])
        client = self._link.client
        if client is not None and size <= UNSENT < client.pending_data_size + size:
            await asyncio.sleep(0)  # a turn in which nats-py writes what the server takes
        if (client := self._line_for(len(run), size)) is None:
            return None
        parts, failures = self._ids.parts_of(run)
        some = Run(parts)
        some.refused |= failures
        sent = StreamSent(run, some, self._wait, self._ended)
        self._sent.append(sent)
        try:
            await self._send(client, some)
        except BrokerError as error:  # some of it may be written
            some.against = error
            some.tell()
        except BaseException:
            sent.forget()
            raise
        return sent

    def _line_for(self, count: int, size: int) -> DirectClient | None:
        """The connection, where so many messages and bytes go over it at once, and overtake nothing that has failed."""
        client = self._link.client
        if not self._open or client is None or client.pending_data_size + size > UNSENT:
            return None
        if len(self._inbox.waiting) + count > AT_ONCE:
            return None
        overtaken = any(each.run.line is not client or each.run.troubled for each in self._sent)
        return None if overtaken else client

    def _ended(self, sent: StreamSent, known: bool) -> None:
        self._sent.remove(sent)
        if known:
            self._ids.settle(sent.messages)
            self._say_twice()
        else:
            self._inbox.drop(sent.run)
            self._keep([sent.run])

    def _keep(self, runs: Sequence[Run]) -> None:
        if self._open:  # else nobody publishes them again
            self._ids.keep(runs)

    def _say_twice(self) -> None:
        if twice := self._inbox.said_twice():
            _logger.info("%s: %d messages were published before, and are there once", self._link.where, twice)

    async def _deliver(self, run: Run) -> None:
        """Publish, again where the connection breaks, until all is confirmed or refused."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._target.options.publish_timeout
        tries = 0
        try:
            while run.left:
                tries += 1
                try:
                    await self._send(await self._connected(), run)
                    await self._wait(run)
                except BrokerUnavailable:
                    if not self._open or clock() >= until:
                        raise
                    await asyncio.sleep(AGAIN * (0.5 + random()))
        finally:
            if run.left or tries > 1:  # some confirms will never come
                self._inbox.drop(run)

    async def _connected(self) -> DirectClient:
        if not self._open:
            raise BrokerUnavailable(f"this sink of {self.destination} is closed: open it before publishing")
        return await self._link.connected()

    async def _send(self, client: DirectClient, run: Run) -> None:
        run.line, run.against = client, None
        for some in self._inbox.pieces(run, client.max_payload):
            await self._write(client, some)

    async def _write(self, client: DirectClient, some: Sequence[Publication]) -> None:
        try:
            await client.publish_all(some)
        except Exception as error:
            raise trouble(error, self._link.where) from None
        if self._link.stuck:
            raise await self._given_up("the server takes nothing more")

    async def _given_up(self, why: str) -> BrokerUnavailable:
        """Close a connection that is no use, and have all see to what they wrote on it."""
        await self._link.close()
        self._inbox.wake()
        return self._link.unavailable(why)

    async def _wait(self, run: Run) -> None:
        """Return when all of a run is confirmed or refused; `Again` where the connection has gone that it was on.

        A server that for `timeout` seconds confirms nothing of it, and nothing ahead of it, is given up.
        """
        clock, timeout = asyncio.get_running_loop().time, self._target.options.timeout
        ahead, until = len(self._inbox.waiting), clock() + timeout
        while run.left:
            if await self._heard(run, min(LOOK, until - clock())):
                await self._look(run)
            elif (still := self._inbox.ahead(run)) < ahead:
                ahead, until = still, clock() + timeout
            elif clock() >= until and run.line is self._link.client:
                raise await self._given_up(f"{len(run.left)} messages were not confirmed in time")

    async def _heard(self, run: Run, seconds: float) -> bool:
        """Wait for so long until a run is to be looked at; whether it is. `Again` where its connection has gone."""
        if not run.news.is_set():
            self._line_of(run)
            try:
                async with asyncio.timeout(seconds):
                    await run.news.wait()
            except TimeoutError:
                return False
        run.news.clear()
        return True

    def _line_of(self, run: Run) -> DirectClient:
        """The connection that a run is written on; `Again` where that has gone."""
        client = self._link.client
        if client is None or run.line is not client:
            raise Again(str(self._link.unavailable()))
        return client

    async def _look(self, run: Run) -> None:
        """What it was woken for, where not all is confirmed."""
        if run.left and run.denied is not None:
            self._deny(run, run.denied)
        if not run.left:
            return
        if run.against is not None:
            raise run.against
        client = self._line_of(run)
        if run.missing == 1:  # somebody has deleted the stream, or taken the subject from it; or it elects who leads it
            try:
                await stream_for(self._link, client, self._place, reading=False)
            except BrokerUnavailable:
                run.missing = 0  # nothing is known of it
                raise
            run.missing = 2
            raise Again(f"{self._link.where}: the stream did not take it: deleted, or without a leader for now")

    def _deny(self, run: Run, denied: Denials) -> None:
        """Refuse what of a run was denied: one by one, where there are many subjects."""
        run.denied = None
        objections = self._inbox.objections(run, denied)
        if denied.other or (objections and "{" not in self._place.subject):
            raise refused(self._link.where, denied.other or next(iter(objections.values())))
        for index, said in objections.items():
            run.refuse(index, refused(self._link.where, said))

    async def _confirmed(self, record: Msg) -> None:
        """What the inbox did not take as it was read."""
        self._inbox.told(record.subject, record.data, record.headers)

    async def ping(self) -> None:
        """Return when the server has answered."""
        await self._link.ping()

    async def close(self) -> None:
        """Let go of the connection; what a failed run had for ids is forgotten."""
        self._open = False
        self._ids.clear()
        await self._link.close()
        self._inbox.wake()

    def __repr__(self) -> str:
        return f"<sink of {self.destination}: {'open' if self._open else 'closed'}>"
