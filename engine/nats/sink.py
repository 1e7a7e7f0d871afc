"""`StreamSink`: publishes to JetStream, a run at a time, with all confirms on one inbox."""

import asyncio
from collections.abc import Sequence
from logging import getLogger
from random import random

from nats.aio.msg import Msg

from actors import BrokerUnavailable, Message, PublishError
from engine.nats.client import Link
from engine.nats.commands import Publication
from engine.nats.confirms import Part, Run, checked
from engine.nats.declare import Place, stream_for
from engine.nats.direct import DirectClient
from engine.nats.errors import refused, trouble
from engine.nats.headers import MESSAGE_ID, encode
from engine.nats.ids import Ids
from engine.nats.inbox import Inbox
from engine.nats.options import Target

_logger = getLogger("headrace")
AT_ONCE = 2048
"""Messages that wait for their confirms; the server refuses more than it can buffer."""
AGAIN = 0.1
"""Seconds between two tries."""


class StreamSink:
    """Publishes to any subject that a stream has. Several tasks may use it side by side.

    Each message has an id of its own, under which it is published again when the connection breaks, and when it is made
    again after a crash, so that the server stores it once (within the stream's `duplicate_window`, 2 minutes unless
    configured otherwise).
    """

    def __init__(self, target: Target, place: Place) -> None:
        self._target = target
        self._place = place
        self._inbox = Inbox()
        where, inbox = f"{place.stream} {place.subject}", self._inbox
        self._link = Link(target, where, self._start, inbox.wake, self._noticed, inbox.take)
        self._ids = Ids(target.options.idempotent)
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
        every = self._inbox.begin(client.new_inbox(), self._link.where)
        await client.subscribe(every, cb=self._confirmed, pending_msgs_limit=0, pending_bytes_limit=0)

    def _noticed(self, error: Exception) -> None:
        if self._link.denied:
            self._inbox.wake()

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order.

        What the server has against a single message is a `PublishError`; what it would have against any, a
        `BrokerRefused`.
        """
        if not self._open:
            raise BrokerUnavailable(f"this sink of {self.destination} is closed: open it before publishing")
        parts, failures = self._parts(run)
        runs = [Run(parts[start : start + AT_ONCE]) for start in range(0, len(parts), AT_ONCE)]
        try:
            for some in runs:
                await self._deliver(some)
                failures |= some.refused
        except BaseException:
            self._ids.keep(runs)
            raise
        self._ids.settle(run)
        self._say_twice()
        if failures:
            raise PublishError(failures)

    def _say_twice(self) -> None:
        if twice := self._inbox.said_twice():
            _logger.info("%s: %d messages were published before, and are there once", self._link.where, twice)

    def _parts(self, run: Sequence[Message]) -> tuple[list[Part], dict[int, Exception]]:
        parts: list[Part] = []
        failures: dict[int, Exception] = {}
        done = self._ids.done
        for index, message in enumerate(run):
            if done and message in done:
                continue
            try:
                headers = encode(message, message.reply_to)
                subject = checked(message.destination)
            except (TypeError, ValueError) as error:
                failures[index] = error
                continue
            if MESSAGE_ID not in headers:
                headers[MESSAGE_ID] = self._ids.id_of(message, subject, headers)
            parts.append(Part(index, message, subject, message.raw or b"", headers))
        return parts, failures

    async def _deliver(self, run: Run) -> None:
        """Publish, again where the connection breaks, until all is confirmed or refused."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._target.options.publish_timeout
        tries = 0
        try:
            while run.left:
                tries += 1
                try:
                    await self._send(await self._link.connected(), run)
                    await self._wait(run)
                except BrokerUnavailable:
                    if clock() >= until:
                        raise
                    await asyncio.sleep(AGAIN * (0.5 + random()))
        finally:
            if run.left or tries > 1:  # some confirms will never come
                self._inbox.drop(run)

    async def _send(self, client: DirectClient, run: Run) -> None:
        for some in self._inbox.pieces(run, client.max_payload):
            await self._write(client, some)

    async def _write(self, client: DirectClient, some: Sequence[Publication]) -> None:
        try:
            await client.publish_all(some)
        except Exception as error:
            raise trouble(error, self._link.where) from None
        if self._link.stuck:
            await self._link.close()
            raise self._link.unavailable("the server takes nothing more")

    async def _wait(self, run: Run) -> None:
        while run.left:
            run.news.clear()
            try:
                async with asyncio.timeout(self._target.options.timeout):
                    await run.news.wait()
            except TimeoutError:
                await self._link.close()
                raise self._link.unavailable(f"{len(run.left)} messages were not confirmed in time") from None
            if run.left:
                await self._look(run)

    async def _look(self, run: Run) -> None:
        """What it was woken for, where not all is confirmed."""
        client = self._link.client
        if self._link.denied:
            raise refused(self._link.where, self._link.denied)
        if client is None:
            raise self._link.unavailable()
        if run.against is not None:
            against, run.against = run.against, None
            raise against
        if run.missing == 1:  # somebody has deleted the stream, or taken the subject from it
            run.missing += 1
            await stream_for(self._link, client, self._place, reading=False)
            raise self._link.unavailable("the stream was not there")

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

    def __repr__(self) -> str:
        return f"<sink of {self.destination}: {'open' if self._open else 'closed'}>"
