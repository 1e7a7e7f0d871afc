"""Core NATS: `SubjectSource` gets what is published while it listens, `SubjectSink` publishes to whoever listens."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from logging import getLogger
from random import random

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from actors import BrokerError, BrokerUnavailable, Message, PublishError
from engine.nats.client import Link, flushed
from engine.nats.confirms import checked, too_long, too_much
from engine.nats.denials import Denials
from engine.nats.errors import refused, trouble
from engine.nats.headers import Delivery, decode, encode
from engine.nats.options import Target

AGAIN = (0.05, 5.0)
"""The first and the longest wait, in seconds, between two tries to connect anew."""
_logger = getLogger("headrace")


class SubjectSource:
    """Listens to a subject, wildcards included, at most once: what is published while nobody listens is gone.

    With `queue` each message goes to one of those who share that name. With `own` the subject is an inbox, and the
    last part of what it was answered on tells the question where a plain NATS client answers. A connection that breaks
    is made anew at once, fetched from or not. What comes while `buffer` messages wait is dropped, and counted in
    `dropped`.
    """

    def __init__(self, target: Target, name: str, queue: str, *, own: bool = False) -> None:
        self._name = name
        self._queue = queue
        self._own = own
        self._most = target.options.buffer
        self._target = target
        self._link = Link(target, name, self._start, self._lost, self._denied)
        self._subscription: Subscription | None = None
        self._buffer: deque[Message] = deque()
        self._news = asyncio.Event()
        self._again: asyncio.Task[None] | None = None
        self._trouble: BrokerError | None = None
        self._open = False
        self.dropped = 0

    async def open(self) -> None:
        """Connect and listen: what is published after this has returned arrives."""
        self._trouble = None
        await self._link.connected()
        self._open = True

    async def _start(self, client: Client) -> None:
        subject = f"{self._name}.>" if self._own else self._name
        with self._link.denials() as denied:
            self._subscription = await client.subscribe(
                subject, queue=self._queue, cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
            )
            if self._own:
                await client.subscribe(self._name, cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0)
            await flushed(client, self._target.options.timeout)
        if denied.other:
            raise refused(self._link.where, denied.other)

    async def _arrived(self, record: Msg) -> None:
        if len(self._buffer) >= self._most:
            if not self.dropped & (self.dropped - 1):  # 1, 2, 4, 8 ...
                _logger.warning("%s: a slow consumer, %d messages dropped", self._link.where, self.dropped + 1)
            self.dropped += 1
            return
        message = decode(record, 1, record.reply or None)
        origin = message.origin
        if self._own and isinstance(origin, Delivery) and origin.correlation_id is None:
            origin.correlation_id = record.subject[len(self._name) + 1 :] or None
        self._buffer.append(message)
        self._news.set()

    def _denied(self, said: str) -> None:
        self._trouble = refused(self._link.where, said)
        self._news.set()

    def _lost(self) -> None:
        if self._open and (self._again is None or self._again.done()):
            self._trouble = self._link.unavailable()
            self._again = asyncio.create_task(self._listen_again())
            self._news.set()

    async def _listen_again(self) -> None:
        wait, longest = AGAIN
        while self._open:
            try:
                await self._link.connected()
            except BrokerError as error:
                self._trouble = error
                self._news.set()
                await asyncio.sleep(wait * (0.5 + random()))
                wait = min(longest, wait * 2)
            else:
                return

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them in order."""
        buffer = self._buffer
        while True:
            if not self._open:
                raise BrokerUnavailable(f"this source of {self._name} is closed: open it before fetching")
            if buffer:
                return [buffer.popleft() for _ in range(min(limit, len(buffer)))]
            if self._trouble is not None:
                found, self._trouble = self._trouble, None
                raise found
            self._news.clear()
            await self._news.wait()

    async def drain(self) -> list[Message]:
        """Listen no more; what had come and was not fetched."""
        client, subscription = self._link.client, self._subscription
        if client is not None and subscription is not None:
            try:
                async with asyncio.timeout(self._target.options.timeout):
                    await subscription.drain()
            except Exception as error:
                _logger.debug("%s: draining: %r", self._link.where, error)
        run = list(self._buffer)
        self._buffer.clear()
        return run

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Nothing to tell: the server has forgotten it."""

    async def close(self) -> None:
        """Listen no more; what was not fetched is gone."""
        self._open = False
        self._news.set()
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait((self._again,))
            self._again = None
        if self._buffer:
            _logger.warning("%s: closed with %d messages not fetched", self._link.where, len(self._buffer))
            self._buffer.clear()
        await self._link.close()

    async def ping(self) -> None:
        """Return when the server has answered."""
        await self._link.ping()

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._link.client is not None

    def pending(self) -> int | None:
        """Not known: the server keeps nothing."""
        return None

    def __repr__(self) -> str:
        return f"<source of {self._name}: {'open' if self._open else 'closed'}, {self.dropped} dropped>"


class SubjectSink:
    """Publishes to any subject. Confirmed is that the server has it, and not that anybody listens."""

    def __init__(self, target: Target, destination: str, inboxes: str) -> None:
        self._destination = destination
        self._inboxes = inboxes
        self._target = target
        self._link = Link(target, destination, self._start)
        self._open = False

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._destination

    async def _start(self, client: Client) -> None:
        pass

    async def open(self) -> None:
        """Connect."""
        await self._link.connected()
        self._open = True

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order, and return when the server has answered what came behind it.

        What it denies of the sink's own subject is a `BrokerRefused`, of any other one a `PublishError`.
        """
        if not self._open:
            raise BrokerUnavailable(f"this sink of {self._destination} is closed: open it before publishing")
        client = await self._link.connected()
        with self._link.denials() as denied:
            try:
                failures = await self._write(client, run)
                await flushed(client, self._target.options.timeout)
            except Exception as error:
                await self._link.close()
                raise trouble(error, self._link.where) from None
        if denied:
            failures |= self._refused({at: each for at, each in enumerate(run) if at not in failures}, denied)
        if failures:
            raise PublishError(failures)

    async def _write(self, client: Client, run: Sequence[Message]) -> dict[int, Exception]:
        """Publish each; what nats-py does not send."""
        failures: dict[int, Exception] = {}
        for index, message in enumerate(run):
            try:
                reply, headers = self._reply(message), encode(message, None)
                if (wrong := too_long(message.raw or b"", headers, client.max_payload)) is not None:
                    raise wrong
                await client.publish(checked(message.destination), message.raw or b"", reply, headers or None)
            except (errors.MaxPayloadError, errors.BadHeaderError, errors.BadSubjectError) as error:
                failures[index] = too_much(error, message.raw or b"", client.max_payload)
            except (TypeError, ValueError) as error:
                failures[index] = error
            if self._link.stuck:
                raise TimeoutError
        return failures

    def _refused(self, written: Mapping[int, Message], denied: Denials) -> dict[int, Exception]:
        """What the server has denied of those, and of no others that were published meanwhile."""
        found: dict[int, Exception] = {}
        for index, message in written.items():
            if said := denied.of(message.destination, self._reply(message)) or denied.other:
                found[index] = refused(self._link.where, said)
                if message.destination == self._destination:
                    raise found[index]
        return found

    def _reply(self, message: Message) -> str:
        """Where the answer goes: to an address of its own for each question, as plain NATS clients answer no more."""
        reply = message.reply_to or ""
        correlation = message.origin.correlation_id
        if correlation and reply.startswith(self._inboxes) and not any(each in correlation for each in "*>. \t\r\n"):
            return f"{reply}.{correlation}"
        return reply

    async def ping(self) -> None:
        """Return when the server has answered."""
        await self._link.ping()

    async def close(self) -> None:
        """Let go of the connection."""
        self._open = False
        await self._link.close()

    def __repr__(self) -> str:
        return f"<sink of {self._destination}: {'open' if self._open else 'closed'}>"
