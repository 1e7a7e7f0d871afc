"""`RabbitSource`: consumes one queue over a channel of its own, as many messages ahead as the engine has room for."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from random import random
from typing import Any

import aiormq

from actors import BrokerError, BrokerUnavailable, Message
from engine.rabbitmq import frames, refusals
from engine.rabbitmq.acks import Unsettled
from engine.rabbitmq.declare import QueueSpec, declare_queue, delete_queue
from engine.rabbitmq.messages import Delivery
from engine.rabbitmq.methods import Consume, QueueDeclare
from engine.rabbitmq.shared import Shared
from engine.rabbitmq.silence import Silence
from engine.rabbitmq.wire import Wire

_MOST = 65_535
"""The most that a prefetch can be."""
_AGAIN = 0.2
"""Seconds, give or take a half, after which a source of replies connects again."""

SourceOf = Callable[[str, str], str]
"""What a message's source is called, by the exchange and the routing key that it was published with."""


class Consumer:
    """One life of a source: a channel, from its opening until it is lost."""

    def __init__(self, wire: Wire, channel: aiormq.Channel, about: object, source_of: SourceOf) -> None:
        self.wire = wire
        self.channel = channel
        self.source_of = source_of
        self.error: BrokerError | None = None
        self._about = about
        self._waiting: deque[Delivery] = deque()
        self._back: list[tuple[int, Delivery]] = []
        """A heap by tag: what was given back comes before what waits."""
        self._unsettled = Unsettled()
        self._news = asyncio.Event()

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message; its place is behind the others."""
        delivery = Delivery(self, method, header, body)
        self._unsettled.add(delivery.tag)
        self._waiting.append(delivery)
        self._news.set()

    def returned(self, method: bytes, header: bytes, body: bytes) -> None:
        """Does not happen: nothing is published here."""

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        """Does not happen: nothing is published here."""

    def closed(self, said: str) -> None:
        """The server has closed the channel."""
        self.lost(refusals.closed(self._about, said))

    def lost(self, error: BrokerError) -> None:
        """The connection is gone, or the source was closed."""
        self.error = self.error or error
        self._news.set()

    @property
    def news(self) -> bool:
        """Whether there is a message, or the channel is lost."""
        return bool(self._waiting or self._back or self.error)

    async def wait(self) -> None:
        """Wait until there is news."""
        while not self.news:
            self._news.clear()
            await self._news.wait()

    @property
    def unsettled(self) -> int:
        """How many messages the server has delivered that are not acknowledged."""
        return len(self._unsettled)

    def take(self, limit: int) -> list[Delivery]:
        """Up to so many deliveries, in the order of their tags."""
        run: list[Delivery] = []
        back, waiting = self._back, self._waiting
        while back and len(run) < limit:
            run.append(heappop(back)[1])
        if len(waiting) <= limit - len(run):
            run += waiting
            waiting.clear()
        else:
            run += [waiting.popleft() for _ in range(limit - len(run))]
        for each in run:
            each.held = True
        return run

    def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge, in one write; what is returned has its place at the head again."""
        if acks := self._unsettled.settle([each.tag for each in self._let_go(done)]):
            number = self.channel.number
            self.wire.write(b"".join([frames.acknowledgement(number, *ack) for ack in acks]))
        for each in self._let_go(returned):
            each.attempts += 1
            heappush(self._back, (each.tag, each))
            self._news.set()

    def _let_go(self, run: Sequence[Message]) -> Iterator[Delivery]:
        """Those of the run that this consumer has handed out, and that are not settled."""
        for message in run:
            origin: Any = message.origin
            if type(origin) is Delivery and origin.consumer is self and origin.held:
                origin.held = False
                yield origin

    def __repr__(self) -> str:
        return f"{len(self._waiting) + len(self._back)} waiting, {len(self._unsettled)} unsettled"


class RabbitSource:
    """Reads one queue. What was fetched and given back is handed out again here, before anything else.

    A lost connection is told once, as `BrokerUnavailable`, and the next fetch connects again. What is settled after
    that is forgotten: tags die with their channel, and the message comes again. A source of replies (`passing`)
    connects again by itself, and removes its queue when it is closed.
    """

    def __init__(
        self,
        connections: Callable[[], Shared],
        about: object,
        queue: str,
        spec: QueueSpec,
        bound: int,
        source_of: SourceOf,
        passing: bool = False,
    ) -> None:
        self._connections = connections
        self._about = about
        self._queue = queue
        self._spec = spec
        self._prefetch = max(1, min(bound, _MOST))
        self._source_of = source_of
        self._passing = passing
        self._shared: Shared | None = None
        self._consumer: Consumer | None = None
        # Of a queue that was declared elsewhere nobody knows whether it has a single active consumer.
        self._silence = Silence(spec.declare and not spec.alone)
        self.remade = 0
        """How often the consumer was made anew because nothing came."""

    async def open(self) -> None:
        """Connect, declare the queue, and consume it."""
        if self._shared is not None:
            return
        shared = self._connections()
        shared.join()
        try:
            self._consumer = await self._consume(shared)
        except BaseException:
            await shared.leave()
            raise
        self._shared = shared

    async def _consume(self, shared: Shared) -> Consumer:
        wire = await shared.wire()
        await declare_queue(wire, self._about, self._queue, self._spec)
        channel = await wire.open_channel()
        consumer = Consumer(wire, channel, self._about, self._source_of)
        wire.listen(channel, consumer)
        try:
            await wire.ask(channel.basic_qos(prefetch_count=self._prefetch), about=self._about)
            await wire.ask(channel.rpc(Consume(queue=self._queue)), about=self._about)
        except BaseException:
            await wire.close_channel(channel)
            raise
        return consumer

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them."""
        if limit < 1:
            raise ValueError(f"fetch({limit}): expected at least 1")
        while True:
            try:
                return await self._fetch(limit)
            except BrokerUnavailable:
                if not self._passing or self._shared is None:
                    raise
                await asyncio.sleep(_AGAIN * (0.5 + random()))  # whoever waits for a reply has a patience of its own

    async def _fetch(self, limit: int) -> list[Message]:
        if self._shared is None:
            raise BrokerUnavailable(f"this source of {self._about!r} is closed: open it before fetching")
        if self._consumer is None:
            self._consumer = await self._consume(self._shared)
        consumer = self._consumer
        if not consumer.news:
            await self._listen(consumer)
        if consumer.error is not None:
            self._consumer = None
            await consumer.wire.close_channel(consumer.channel)  # or what it holds would never come again
            raise consumer.error
        return [each.message() for each in consumer.take(limit)]

    async def _listen(self, consumer: Consumer) -> None:
        """Wait for news; where there is none for long, ask the server whether there should be."""
        self._silence.heard()
        while not consumer.news:
            try:
                async with asyncio.timeout(consumer.wire.options.stall):
                    await consumer.wait()
            except TimeoutError:
                await self._look(consumer)

    async def _look(self, consumer: Consumer) -> None:
        wire = consumer.wire
        async with wire.channel() as channel:
            told = await wire.ask(channel.rpc(QueueDeclare(queue=self._queue, passive=True)), about=self._about)
        ready, consumers = told.message_count or 0, told.consumer_count or 0
        why = self._silence.looked(ready, consumers, consumer.unsettled, self._prefetch)
        if why is not None and not consumer.news:
            self.remade += 1
            consumer.lost(BrokerUnavailable(f"{self._about!r}: {why}: consuming anew"))

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge `done`, and hand `returned` out again; those of an earlier connection are forgotten."""
        if self._consumer is not None and self._consumer.error is None:
            self._consumer.settle(done, returned)

    async def close(self) -> None:
        """Give back what is not settled: the server does, as soon as the channel is closed."""
        shared, consumer = self._shared, self._consumer
        self._shared = self._consumer = None
        if consumer is not None:
            consumer.lost(BrokerUnavailable(f"this source of {self._about!r} was closed"))
            await consumer.wire.close_channel(consumer.channel)
            if self._passing:
                try:
                    await delete_queue(consumer.wire, self._about, self._queue)
                except BrokerError:
                    pass  # it goes by itself, a little later
        if shared is not None:
            await shared.leave()

    async def ping(self) -> None:
        """Return when the server has answered, connected anew where need be. The next fetch consumes anew."""
        if self._shared is not None:
            await (await self._shared.wire()).ping()

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._consumer is not None and self._consumer.error is None

    def pending(self) -> int | None:
        """Not known: the server tells how many there are only when it is asked."""
        return None

    def __repr__(self) -> str:
        consumer = self._consumer
        return f"<source of {self._about!r}: {'closed' if consumer is None else consumer.error or repr(consumer)}>"
