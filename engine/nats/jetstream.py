"""`StreamSource`: reads a stream of JetStream by a durable pull consumer.

nats-py's own `fetch` takes a `wait_for` a message. Here one plain subscription gets whatever was asked for, and a
request for more is a publish.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from logging import getLogger
from random import random
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from actors import BrokerError, BrokerUnavailable, Message
from engine.nats.client import Link, flushed
from engine.nats.declare import Place, Reader, born, consumer_for, stream_for
from engine.nats.direct import DirectClient
from engine.nats.errors import refused, trouble
from engine.nats.headers import decode
from engine.nats.options import Target
from engine.nats.orphans import answer_roll_call, call_back, is_alone
from engine.nats.pulls import Pulls
from engine.nats.spared import Spared, sequence

logger = getLogger("headrace.nats")
PATIENCE = 60.0
"""The most seconds that a connection may be silent: it is doubled each time, for one message may be long."""
PAUSE = 0.25
"""Seconds between a request that the server would not take and the next one."""
NAK, RENEW = b"-NAK", b"+WPI"
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
        self._news = asyncio.Event()
        self._held: dict[Message, str] = {}
        """What came and is not settled, with the subject that it is acknowledged on."""
        self._buffer: deque[Message] = deque()
        self._subscription: Subscription | None = None
        self._reading: Any = None
        """The connection that messages come by."""
        self._pulls = Pulls(target, bound)
        self._spared = Spared()
        self._called_back = 0
        """Messages that were called back and have not come yet."""
        self._gathering: asyncio.TimerHandle | None = None
        """When they are no longer waited for."""
        self._seen = 0
        """The highest sequence that was fetched, as far as known here."""
        self._born: str | None = None
        """When the stream was made that it reads."""
        self.remade = 0
        """How often the consumer was found deleted, and made anew."""
        self._heard = False
        self._broken = False
        self._trouble: BrokerError | None = None
        """What somebody has to mend."""
        self._missing = False
        self._pause = False
        self._patience = target.options.timeout
        self._ack_wait = target.options.ack_wait

    # -- from open to close --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Declare the stream and the consumer where they are missing."""
        await self._link.connected()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    async def _start(self, client: DirectClient) -> None:
        self._reading = client
        stream = await self._join(client)
        await self._inherit(client, stream)
        await self._listen(client)
        self._broken = False
        self._trouble = None

    async def _listen(self, client: DirectClient) -> None:
        inbox = client.new_inbox()
        self._subscription = await client.subscribe(
            f"{inbox}.*", cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._pulls.begin(inbox)

    async def _inherit(self, client: Client, stream: str) -> None:
        """Have what an earlier connection had come before anything else, unless that may be another engine's."""
        consumer = f"{stream}.{self._reader.name}"
        roll_call = f"{self._target.options.inbox_prefix}.headrace.{consumer}"
        alone = await is_alone(client, roll_call)
        self._gather(await call_back(self._link, client, consumer, self._sequences) if alone else 0)
        await answer_roll_call(client, roll_call)

    def _gather(self, count: int) -> None:
        """Hand nothing out until so many have come that were called back, or for `timeout`; then in their order."""
        self._ungather()
        self._called_back = count
        if count:
            self._gathering = asyncio.get_running_loop().call_later(self._target.options.timeout, self._ungather)

    def _ungather(self) -> None:
        if self._gathering is None:
            return
        self._gathering.cancel()
        self._gathering = None
        self._called_back = 0  # what has not come by now is asked for no longer
        self._buffer = deque(sorted(self._buffer, key=sequence))
        self._news.set()

    def _sequences(self) -> list[int]:
        """Of what is held."""
        return [sequence(message) for message in self._held]

    async def _join(self, client: Client) -> str:
        stream = await stream_for(self._link, client, self._place, reading=True)
        first = self._resumed(await born(self._link, client, stream))
        joined = await consumer_for(self._link, client, stream, self._reader, first)
        self._ack_wait = joined.ack_wait
        self._seen = max(self._seen, joined.settled_to)
        self._pulls.subject = f"{self._target.api}.CONSUMER.MSG.NEXT.{stream}.{self._reader.name}"
        self._pulls.within(joined.max_batch, joined.max_expires)
        self._missing = False
        return stream

    def _resumed(self, born: str) -> int | None:
        """Where a consumer begins that somebody has deleted and that began at the latest; None where it would anyway.

        Were it to begin at the latest again, what came meanwhile would be nobody's. What is held comes again, for the
        new consumer knows nothing of it. In a stream that is another all is new, and has the sequences of others.
        """
        before, self._born = self._born, born
        if before is not None and before != born:
            self._held.clear()
            self._spared.clear()
            self._seen = 0
        if before is None or self._reader.start == "earliest":
            return None
        return min(map(sequence, self._held), default=self._seen + 1)

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
                    await self._give_back(client, list(self._held))
                await flushed(client, self._target.options.timeout)
        except Exception as error:  # what is left comes again when ack_wait is over
            self._link.unavailable(repr(error))
        finally:
            self._gather(0)
            self._held.clear()
            self._buffer.clear()
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
            self._gather(0)
            await self._spare(client)
        except Exception as error:
            raise trouble(error, self._link.where) from None

    async def _spare(self, client: DirectClient) -> None:
        run = list(self._buffer)
        self._buffer.clear()
        self._spared.spare(run, self._held)
        try:
            await self._give_back(client, run)
        finally:
            for message in run:
                self._held.pop(message, None)

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
            if self._buffer and self._gathering is None:
                await self._ask_ahead(limit)
                if not (buffer := self._buffer) or self._gathering is not None:
                    continue  # it was connected anew, or closed, meanwhile
                run = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
                self._seen = max(self._seen, sequence(run[-1]))
                if self._spared:
                    self._spared.discount(run)
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
                await self._pulls.ask(client, max(limit, self._called_back), self._link.where)
            await self._wait()

    async def _ask_ahead(self, limit: int) -> None:
        """Have the next run on its way while this one is handled."""
        room, client = self._pulls.ahead(limit, len(self._held)), self._link.client
        if room and client is not None and not (self._missing or self._pause or self._gathering):
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
        self._held[message] = reply
        self._buffer.append(message)
        self._pulls.came()
        if self._gathering is None or self._pulls.asked <= 0:
            self._news.set()
        if self._gathering is not None and message.attempt > 1:
            self._called_back -= 1
            if self._called_back <= 0:
                self._ungather()

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
        held = self._held
        acked = [reply for message in done if (reply := held.get(message)) is not None]
        back = [message for message in returned if message in held]
        if not acked and not back:
            return
        client = await self._link.connected()
        try:
            if acked:
                await client.answer_all(acked)
            if back:
                await self._give_back(client, back)
        except Exception as error:
            raise trouble(error, self._link.where) from None
        for message in done:
            held.pop(message, None)
        for message in back:
            held.pop(message, None)

    async def _give_back(self, client: DirectClient, run: list[Message]) -> None:
        """Return when the server has taken them, in their order: what is asked for next then brings them first."""
        run.sort(key=sequence)
        if run[1:]:
            await client.answer_all([self._held[message] for message in run[:-1]], NAK)
        for message in run[-1:]:
            await self._link.request(client, self._held[message], NAK)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            if not self._held:
                continue
            try:
                client = await self._link.connected()
                await client.answer_all(list(self._held.values()), RENEW)
            except BrokerError:
                continue  # whoever fetches or settles meets the same trouble, and says so
            except Exception as error:
                self._link.unavailable(repr(error))

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
        state = "closed" if self._renewing is None else f"{len(self._held)} held"
        return f"<source of {self._place.subject} for {self._reader.name}: {state}>"
