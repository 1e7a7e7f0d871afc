"""`RabbitSource`: consumes one queue, as many messages ahead as the engine has room for."""

import asyncio
from collections.abc import Callable, Sequence
from random import random

import aiormq

from actors import BrokerError, BrokerUnavailable, Message
from engine.rabbitmq.consumer import Consumer, SourceOf
from engine.rabbitmq.declare import QueueSpec, declare_queue, delete_queue
from engine.rabbitmq.lives import Lives
from engine.rabbitmq.methods import Consume, QueueDeclare
from engine.rabbitmq.shared import Shared
from engine.rabbitmq.silence import Silence
from engine.rabbitmq.wire import Wire

_MOST = 65_535
"""The most that a prefetch can be."""
_AGAIN = 0.2
"""Seconds, give or take a half, after which a source of replies connects again."""


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
        self._about = about
        self._queue = queue
        self._spec = spec
        self._prefetch = max(1, min(bound, _MOST))
        self._passing = passing

        def begin(wire: Wire, channel: aiormq.Channel) -> Consumer:
            return Consumer(wire, channel, about, source_of)

        self._lives = Lives(connections, begin, self._consume, f"source of {about!r}", "fetching")
        # Of a queue that was declared elsewhere nobody knows whether it has a single active consumer.
        self._silence = Silence(spec.declare and not spec.alone)
        self.remade = 0
        """How often the consumer was made anew because nothing came."""

    async def open(self) -> None:
        """Connect, declare the queue, and consume it."""
        await self._lives.start()

    async def _consume(self, consumer: Consumer) -> None:
        wire, channel, about = consumer.wire, consumer.channel, self._about
        await declare_queue(wire, about, self._queue, self._spec)
        await wire.ask(channel.basic_qos(prefetch_count=self._prefetch), about=about)
        await wire.ask(channel.rpc(Consume(queue=self._queue)), about=about)

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them."""
        if limit < 1:
            raise ValueError(f"fetch({limit}): expected at least 1")
        while True:
            try:
                return await self._fetch(limit)
            except BrokerUnavailable:
                if not self._passing or not self._lives.open:
                    raise
                await asyncio.sleep(_AGAIN * (0.5 + random()))  # whoever waits for a reply has a patience of its own

    async def _fetch(self, limit: int) -> list[Message]:
        consumer = self._lives.now or await self._lives.living()
        if not consumer.news:
            await self._listen(consumer)
        if consumer.error is not None:
            await self._lives.let_go()
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
        consumer = self._lives.now
        if consumer is not None and consumer.error is None:
            consumer.settle(done, returned)

    async def close(self) -> None:
        """Give back what is not settled: the server does, as soon as the channel is closed."""
        await self._lives.close(self._remove if self._passing else None)

    async def _remove(self, wire: Wire) -> None:
        try:
            await delete_queue(wire, self._about, self._queue)
        except BrokerError:
            pass  # it goes by itself, a little later

    async def ping(self) -> None:
        """Return when the server has answered, connected anew where need be. The next fetch consumes anew."""
        if (wire := await self._lives.wire()) is not None:
            await wire.ping()

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._lives.now is not None and self._lives.now.error is None

    def pending(self) -> int | None:
        """Not known: the server tells how many there are only when it is asked."""
        return None

    def __repr__(self) -> str:
        return repr(self._lives)
