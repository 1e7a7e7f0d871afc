"""`Consumer`: what a channel has delivered, until it is taken, and until it is settled."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import aiormq

from actors import BrokerError, Message
from engine.rabbitmq import frames, refusals
from engine.rabbitmq.acks import Unsettled
from engine.rabbitmq.messages import Delivery
from engine.rabbitmq.wire import Wire

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
            self.wire.line.write(b"".join([frames.acknowledgement(number, *ack) for ack in acks]))
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
