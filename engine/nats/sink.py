"""`StreamSink`: publishes to JetStream, a run at a time, with all confirms on one inbox."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from logging import getLogger
from random import random

from nats.aio.msg import Msg

from actors import BrokerRefused, BrokerUnavailable, Message, PublishError
from engine.nats.client import Link
from engine.nats.commands import Publication
from engine.nats.confirms import Part, Run, checked, found_text, too_long
from engine.nats.declare import Place, answer, stream_for
from engine.nats.direct import DirectClient
from engine.nats.errors import refused, trouble
from engine.nats.headers import MESSAGE_ID, encode
from engine.nats.ids import Ids
from engine.nats.options import Target

_logger = getLogger("headrace")
AT_ONCE = 2048
"""Messages that wait for their confirms; the server refuses more than it can buffer."""
PIECE = 128 * 1024
"""Bytes that are handed to nats-py in one go, about."""
SPARE = 200
"""What a message has of them beside its body, about."""
AGAIN = 0.1
"""Seconds between two tries."""
_FULL = frozenset((10002, 10023, 10028, 10047, 10077, 10122))
"""What would happen to any other message too: nothing more fits into the stream, or onto the server."""

_ROOM = "raise the limits of the stream or of the account, or let old messages go (discard: old)"


def full(where: str, said: str) -> BrokerRefused:
    """The error for a stream, or a server, that has no room."""
    return refused(f"{where}: destination refuses for now", said, _ROOM)


class StreamSink:
    """Publishes to any subject that a stream has. Several tasks may use it side by side.

    Each message has an id of its own, under which it is published again when the connection breaks, and when it is made
    again after a crash, so that the server stores it once (within the stream's `duplicate_window`, 2 minutes unless
    configured otherwise).
    """

    def __init__(self, target: Target, place: Place) -> None:
        self._target = target
        self._place = place
        self._link = Link(target, f"{place.stream} {place.subject}", self._start, self._lost, self._noticed, self._take)
        self._waiting: dict[int, tuple[Run, int]] = {}
        """What each expected confirm is for, by the number that its subject ends with."""
        self._inbox = ""
        self._read = b""
        """The same, as it is read."""
        self._number = 0
        self._new = Ids(target.options.idempotent)
        self._twice = 0
        """Confirms that said: it is there already."""
        self._ids: dict[Message, str] = {}
        """Of runs that failed half-way: they may be published again."""
        self._done: set[Message] = set()
        """Of the same runs: what was confirmed, and need not be."""
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
        self._inbox = f"{client.new_inbox()}."
        self._read = self._inbox.encode()
        await client.subscribe(f"{self._inbox}*", cb=self._confirmed, pending_msgs_limit=0, pending_bytes_limit=0)

    def _lost(self) -> None:
        for run, _ in self._waiting.values():
            run.news.set()

    def _noticed(self, error: Exception) -> None:
        if self._link.denied:
            self._lost()

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order.

        What the server has against a single message is a `PublishError`; what it would have against any, a
        `BrokerRefused`.
        """
        if not self._open:
            raise BrokerUnavailable(f"this sink of {self.destination} is closed: open it before publishing")
        parts, failures = self._parts(run)
        left = {part.index: part for part in parts}
        try:
            for start in range(0, len(parts), AT_ONCE):
                some = Run(parts[start : start + AT_ONCE])
                try:
                    await self._deliver(some)
                finally:
                    for part in parts[start : start + AT_ONCE]:
                        if part.index not in some.left and part.index not in some.refused:
                            del left[part.index]
                failures |= some.refused
        except BaseException:
            self._done.update(part.message for part in parts if part.index not in left)
            self._ids |= {part.message: part.headers[MESSAGE_ID] for part in left.values()}
            raise
        if self._ids or self._done:
            self._done.difference_update(run)
            for message in run:
                self._ids.pop(message, None)
        if self._twice:
            _logger.info("%s: %d messages were published before, and are there once", self._link.where, self._twice)
            self._twice = 0
        if failures:
            raise PublishError(failures)

    def _parts(self, run: Sequence[Message]) -> tuple[list[Part], dict[int, Exception]]:
        parts: list[Part] = []
        failures: dict[int, Exception] = {}
        done = self._done
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
                headers[MESSAGE_ID] = self._ids.get(message) or self._new.id_of(message, subject, headers)
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
                self._waiting = {name: each for name, each in self._waiting.items() if each[0] is not run}

    async def _send(self, client: DirectClient, run: Run) -> None:
        waiting, inbox, most = self._waiting, self._inbox, client.max_payload
        size = 0
        some: list[Publication] = []
        for part in list(run.left.values()):
            if (wrong := too_long(part.raw, part.headers, most)) is not None:
                run.refuse(part.index, wrong)
                continue
            self._number = number = self._number + 1
            waiting[number] = run, part.index
            some.append((part.subject, f"{inbox}{number}", part.headers, part.raw))
            size += len(part.raw) + SPARE
            if size >= PIECE:
                await self._write(client, some)
                some, size = [], 0
        if some:
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

    def _take(self, subject: bytes, reply: bytes, body: bytes, headers: dict[str, str] | None) -> bool:
        """Take confirms as they are read; what has headers says that there is no stream."""
        if headers is not None or not self._read or not subject.startswith(self._read):
            return False
        self._confirm(subject[len(self._read) :], body, None)
        return True

    async def _confirmed(self, record: Msg) -> None:
        """What was not taken."""
        self._confirm(record.subject[len(self._inbox) :].encode(), record.data, record.headers)

    def _confirm(self, number: bytes, body: bytes, headers: Mapping[str, str] | None) -> None:
        run, index = self._waiting.pop(int(number), (None, 0)) if number.isdigit() else (None, 0)
        if run is None:
            return
        if b'"duplicate"' in body:
            self._twice += 1
        if body and b'"error"' not in body:
            run.confirm(index)
        elif index in run.left:
            self._object(run, index, body, headers)

    def _object(self, run: Run, index: int, body: bytes, headers: Mapping[str, str] | None) -> None:
        """Take down what the server has against a message."""
        where, subject = self._link.where, run.left[index].subject
        if not body:
            if not run.missing:
                run.missing = 1
            if run.missing == 1:
                run.news.set()
                return
            said = f"{(headers or {}).get('Status', 'nothing')}: no stream takes {subject}"
            run.refuse(index, refused(where, said, f"add {subject} to the subjects of a stream"))
            return
        try:
            error = json.loads(body)["error"]
            found = answer(error, where)
        except (ValueError, KeyError, TypeError, AttributeError):
            run.refuse(index, refused(where, body[:200].decode(errors="backslashreplace")))
            return
        if error.get("err_code") in _FULL or isinstance(found, BrokerUnavailable):
            run.against = found if error.get("err_code") not in _FULL else full(where, found_text(error))
            run.news.set()
        else:
            run.refuse(index, found)

    async def ping(self) -> None:
        """Return when the server has answered."""
        await self._link.ping()

    async def close(self) -> None:
        """Let go of the connection; what a failed run had for ids is forgotten."""
        self._open = False
        self._ids.clear()
        self._done.clear()
        await self._link.close()

    def __repr__(self) -> str:
        return f"<sink of {self.destination}: {'open' if self._open else 'closed'}>"
