"""`StreamSource`: reads a stream of JetStream by a durable pull consumer.

nats-py's own `fetch` takes a `wait_for` a message. Here one plain subscription gets whatever was asked for, and a
request for more is a publish.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from logging import getLogger
from random import random
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from actors import BrokerError, BrokerUnavailable, Message
from engine.nats.arrivals import Arrivals
from engine.nats.client import Link, flushed
from engine.nats.consumer import Consumer
from engine.nats.declare import Place, Reader
from engine.nats.direct import DirectClient
from engine.nats.errors import refused, trouble
from engine.nats.headers import decode
from engine.nats.held import Held
from engine.nats.options import Target
from engine.nats.pulls import Pulls
from engine.nats.spared import Spared

logger = getLogger("headrace.nats")
PATIENCE = 60.0
"""The most seconds that a connection may be silent: it is doubled each time, for one message may be long."""
PAUSE = 0.25
"""Seconds between a request that the server would not take and the next one."""
_ACKS = "$JS.ACK."
_ACKS_READ = _ACKS.encode()


class StreamSource:
    """Reads as one of the sources of a consumer.

    It asks for what a fetch has room for, and where the server always has that much, for the next run while one is
    handled, within `bound`. Whatever it holds is renewed every third of `ack_wait`, so that it may take as long as it
    takes. What is returned goes back to the server, which delivers it before anything else.
    """

    def __init__(self, target: Target, place: Place, reader: Reader, bound: int = 256) -> None:
        self._target = target
        self._place = place
        self._reader = reader
        self._link = Link(target, f"{place.stream} {place.subject}", self._start, self._lost, self._denied, self._take)
        self._renewing: asyncio.Task[None] | None = None
        self._held = Held(self._link)
        self._spared = Spared()
        self._consumer = Consumer(self._link, place, reader, self._held, self._spared)
        self._arrivals = Arrivals(target.options.timeout)
        self._news = self._arrivals.news
        self._pulls = Pulls(target, bound)
        self._subscription: Subscription | None = None
        self._reading: Any = None
        """The connection that messages come by."""
        self.remade = 0
        """How often the consumer was found deleted, and made anew."""
        self._heard = False
        self._broken = False
        self._trouble: BrokerError | None = None
        """What somebody has to mend."""
        self._missing = False
        self._pause = False
        self._patience = target.options.timeout

    # -- from open to close --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Declare the stream and the consumer where they are missing."""
        await self._link.connected()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._held.renew())

    async def _start(self, client: DirectClient) -> None:
        self._reading = client
        await self._join(client)
        self._arrivals.gather(await self._consumer.inherit(client))
        await self._listen(client)
        self._broken = False
        self._trouble = None

    async def _listen(self, client: DirectClient) -> None:
        inbox = client.new_inbox()
        self._subscription = await client.subscribe(
            f"{inbox}.*", cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._pulls.begin(inbox)

    async def _join(self, client: Client) -> None:
        joined = await self._consumer.join(client)
        self._pulls.subject = f"{self._target.api}.CONSUMER.MSG.NEXT.{self._consumer.name}"
        self._pulls.within(joined.max_batch, joined.max_expires)
        self._missing = False

    def _lost(self) -> None:
        self._pulls.asked = 0
        self._broken = True
        self._news.set()

    def _denied(self, said: str) -> None:
        """What is said of anything but its acknowledgements, its requests and their answers is of no account."""
        if any(each.lower() in said for each in (_ACKS, self._pulls.subject, self._pulls.inbox)):
            self._trouble = refused(self._link.where, said)
            self._news.set()

    async def close(self) -> None:
        """Give what is not settled back to the server."""
        if self._renewing is None:
            return
        renewing, self._renewing = self._renewing, None
        renewing.cancel()
        self._news.set()
        try:
            await asyncio.wait((renewing,))
            client = self._link.client
            if client is not None and self._subscription is not None:
                async with asyncio.timeout(self._target.options.timeout):
                    await self._subscription.drain()  # what was on its way is held now
                    await self._held.give_back(client, list(self._held.replies))
                await flushed(client, self._target.options.timeout)
        except Exception as error:  # what is left comes again when ack_wait is over
            self._link.unavailable(repr(error))
        finally:
            self._arrivals.clear()
            self._held.replies.clear()
            await self._link.close()

    async def release(self) -> None:
        """Give what came and was not fetched back to the server, and have it forget the request that is under way.

        The server counts these deliveries, which here are no tries.
        """
        if self._renewing is None:
            return
        client = await self._link.connected()
        asked = self._subscription
        try:
            await self._listen(client)
            if asked is not None:
                await asked.unsubscribe()  # where nobody listens any more nothing is delivered
            await flushed(client, self._target.options.timeout)  # what was on its way has come now
            self._pulls.asked = 0
            await self._spare(client)
        except Exception as error:
            raise trouble(error, self._link.where) from None

    async def _spare(self, client: DirectClient) -> None:
        run = self._arrivals.clear()
        self._spared.spare(run, self._held.replies)
        try:
            await self._held.give_back(client, run)
        finally:
            self._held.drop(run)

    # -- fetching ------------------------------------------------------------------------------------------------

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them, in order."""
        while True:
            if self._renewing is None:
                raise BrokerUnavailable(f"this source of {self._place.subject} is closed: open it before fetching")
            if self._trouble is not None:
                found, self._trouble = self._trouble, None
                await self._link.close()  # the next one begins with what was not settled, and asks how the consumer is
                raise found
            if self._arrivals.ready:
                await self._ask_ahead(limit)
                if not self._arrivals.ready:
                    continue  # it was connected anew, or closed, meanwhile
                run = self._arrivals.fetch(limit)
                self._consumer.fetched(run)
                return run
            if self._broken:
                self._broken = False
                raise self._link.unavailable()
            client = await self._link.connected()
            if self._missing:
                await self._join(client)
                self.remade += 1
                logger.warning("%s: the consumer %s was gone: made anew", self._link.where, self._reader.name)
            if self._pause:
                self._pause = False
                await asyncio.sleep(PAUSE * (0.5 + random()))
            self._news.clear()
            if self._pulls.asked <= 0:
                await self._pulls.ask(client, max(limit, self._arrivals.called_back), self._link.where)
            await self._wait()

    async def _ask_ahead(self, limit: int) -> None:
        """Have the next run on its way while this one is handled."""
        room, client = self._pulls.ahead(limit, len(self._held.replies)), self._link.client
        if room and client is not None and not (self._missing or self._pause or self._arrivals.gathering):
            with suppress(BrokerError):  # the next fetch meets the same trouble
                await self._pulls.ask(client, room, self._link.where)

    async def _wait(self) -> None:
        """Wait for news. Where nothing at all is heard the connection is given up, and with it the request."""
        self._heard = False
        try:
            async with asyncio.timeout(self._patience):
                await self._news.wait()
        except TimeoutError:
            if self._heard:
                return
            silent, self._patience = self._patience, min(PATIENCE, self._patience * 2)
            await self._link.close()
            raise self._link.unavailable(f"nothing was heard of the server for {silent:g} s") from None
        self._patience = self._target.options.timeout

    def _take(self, subject: bytes, reply: bytes, body: bytes, headers: dict[str, str] | None) -> bool:
        """Take what is delivered as it is read."""
        if not reply.startswith(_ACKS_READ):
            return False
        try:
            self._came(Msg(self._reading, subject.decode(errors="backslashreplace"), reply.decode(), body, headers))
        except (ValueError, IndexError):  # nothing of JetStream's
            return False
        return True

    async def _arrived(self, record: Msg) -> None:
        """What was not taken."""
        self._heard = True
        if record.reply.startswith(_ACKS):
            self._came(record)
        else:
            self._told(record)

    def _came(self, record: Msg) -> None:
        self._heard = True
        reply = record.reply
        fields = reply.split(".", 7)
        message = decode(record, int(fields[6] if reply.count(".") > 8 else fields[4]))
        self._held.replies[message] = reply
        self._pulls.came()
        self._arrivals.came(message, self._pulls.asked > 0)

    def _told(self, record: Msg) -> None:
        """What the server says about a request."""
        told = self._pulls.told(record)
        if told:
            self._missing = self._missing or told == "missing"
            self._pause = self._pause or told == "busy"
            if told == "refused":
                remedy = f"choose another durable=, or have {self._reader.name} take plain requests for messages"
                self._trouble = refused(self._link.where, self._pulls.said, remedy)
            self._news.set()

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge `done`, each by a publish that nobody waits for, and give `returned` back."""
        await self._held.settle(done, returned)

    async def ping(self) -> None:
        """Return when the server has answered."""
        self._heard = False
        await self._link.ping(lambda: self._heard)

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._link.client is not None

    def pending(self) -> int | None:
        """Not known without asking the server."""
        return None

    def __repr__(self) -> str:
        state = "closed" if self._renewing is None else f"{len(self._held.replies)} held"
        return f"<source of {self._place.subject} for {self._reader.name}: {state}>"
