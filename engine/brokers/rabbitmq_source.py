"""`RabbitSource`: consumes one queue over a channel of its own, as many messages ahead as the engine has room for."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from struct import error as StructError
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage

from actors import BrokerError, BrokerUnavailable, Message, delivered
from engine.brokers import rabbitmq_frames as frames
from engine.brokers import rabbitmq_refusals as refusals
from engine.brokers.rabbitmq_acks import Unsettled
from engine.brokers.rabbitmq_declare import QueueSpec, declare_queue
from engine.brokers.rabbitmq_wire import Shared, Wire

KEY = "headrace-key"
"""The header that carries a message's key, for which AMQP has no place."""
PRIORITY = "amqp-priority"
"""The header that stands for the priority of a message."""
EXPIRATION = "amqp-expiration"
"""The header that says after how many seconds in a queue a message is dropped; it is not seen by who reads it."""
CONTENT_TYPE, CONTENT_ENCODING = "content-type", "content-encoding"
PLAIN = frozenset({"application/json", "text/plain", "application/octet-stream"})
"""Content types that say no more than the engine sets of itself; others are a header `content-type`."""
_COUNT = "x-delivery-count"
_MOST = 65_535
"""The most that a prefetch can be."""


class Delivery:
    """Where a message came from, and by what it is acknowledged."""

    __slots__ = ("attempts", "body", "consumer", "correlation_id", "header", "held", "id", "method", "tag", "timestamp")

    partition: int | None = None
    offset: int | str | None = None
    id: str | None
    timestamp: float | None
    correlation_id: str | None

    def __init__(self, consumer: "Consumer", tag: int, method: bytes, header: bytes, body: bytes) -> None:
        self.consumer = consumer
        self.tag = tag
        self.method = method
        self.header = header
        self.body = body
        self.held = False
        """Whether the engine has it in hand."""
        self.attempts = 0
        """How often it was given back without the server's knowing."""

    @property
    def source(self) -> str:
        """The queue; for a queue that an exchange's endpoint stands for, the exchange and the routing key."""
        return self.consumer.source_of(*self._address())

    @property
    def redelivered(self) -> bool:
        """Whether the server has delivered it before."""
        return bool(self.method[13 + self.method[4]])

    def _address(self) -> tuple[str, str]:
        exchange, at = frames.read_short(self.method, 14 + self.method[4])
        return exchange, frames.read_short(self.method, at)[0]

    @property
    def record(self) -> Any:
        """An `aio_pika.IncomingMessage`, made when it is asked for. It can be read, and not acknowledged."""
        import aio_pika  # here, because hardly anybody asks, and it takes a while
        from pamqp.header import ContentHeader

        method = aiormq.spec.Basic.Deliver()
        method.unmarshal(self.method[4:])
        header = ContentHeader()
        header.unmarshal(self.header)
        return aio_pika.IncomingMessage(DeliveredMessage(method, header, self.body, self.consumer.channel), no_ack=True)


class Consumer:
    """One life of a source: a channel, from its opening until it is lost."""

    def __init__(
        self, wire: Wire, channel: AbstractChannel, about: object, source_of: Callable[[str, str], str]
    ) -> None:
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
        """A message: its place is behind the others."""
        tag = int.from_bytes(method[5 + method[4] : 13 + method[4]], "big")
        self._unsettled.add(tag)
        self._waiting.append(Delivery(self, tag, method, header, body))
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

    async def wait(self) -> None:
        """Wait until there is a message, or the channel is lost."""
        while not (self._waiting or self._back or self.error):
            self._news.clear()
            await self._news.wait()

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
            self.wire.writer.write(b"".join([frames.acknowledgement(number, *ack) for ack in acks]))
        for each in self._let_go(returned):
            each.attempts += 1
            heappush(self._back, (each.tag, each))
            self._news.set()

    def _let_go(self, run: Sequence[Message]) -> Iterator[Delivery]:
        """Those of the run that were handed out by this consumer, and are not settled."""
        for message in run:
            origin = message.origin
            if type(origin) is Delivery and origin.consumer is self and origin.held:
                origin.held = False
                yield origin

    def __repr__(self) -> str:
        return f"{len(self._waiting) + len(self._back)} waiting, {len(self._unsettled)} unsettled"


class RabbitSource:
    """Reads one queue. What was fetched and given back is handed out again here, before anything else.

    A lost connection is told once, as `BrokerUnavailable`, and the next fetch connects again. What is settled after
    that is forgotten: tags die with their channel, and the message comes again.
    """

    def __init__(
        self,
        shared: Callable[[], Shared],
        about: object,
        queue: str,
        spec: QueueSpec,
        bound: int,
        source_of: Callable[[str, str], str],
        passing: bool = False,
    ) -> None:
        self._connections = shared
        self._about = about
        self._queue = queue
        self._spec = spec
        self._prefetch = max(1, min(bound, _MOST))
        self._source_of = source_of
        self._passing = passing
        self._shared: Shared | None = None
        self._consumer: Consumer | None = None

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
        channel = await wire.open_channel(self._about)
        consumer = Consumer(wire, channel, self._about, self._source_of)
        wire.listen(channel, consumer)
        try:
            await wire.ask(channel.basic_qos(prefetch_count=self._prefetch), about=self._about)
            await wire.ask(channel.basic_consume(self._queue, _never), about=self._about)
        except BaseException:
            await wire.close_channel(channel)
            raise
        return consumer

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them."""
        if limit < 1:
            raise ValueError(f"fetch({limit}): expected at least 1")
        if self._shared is None:
            raise BrokerUnavailable(f"this source of {self._about!r} is closed: open it before fetching")
        if self._consumer is None:
            self._consumer = await self._consume(self._shared)
        consumer = self._consumer
        await consumer.wait()
        if consumer.error is not None:
            self._consumer = None
            raise consumer.error
        return [_message(each) for each in consumer.take(limit)]

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
            if self._passing:
                await self._remove(consumer)
            await consumer.wire.close_channel(consumer.channel)
        if shared is not None:
            await shared.leave()

    async def _remove(self, consumer: Consumer) -> None:
        try:
            await consumer.wire.ask(consumer.channel.queue_delete(self._queue), about=self._about)
        except BrokerError:
            pass  # it goes of itself

    def pending(self) -> int | None:
        """Not known: the server tells how many there are only when it is asked."""
        return None

    def __repr__(self) -> str:
        consumer = self._consumer
        state = "closed" if consumer is None else str(consumer.error) if consumer.error else repr(consumer)
        return f"<source of {self._about!r}: {state}>"


async def _never(message: DeliveredMessage) -> None:
    """What aiormq would call with a message, if it saw any."""


def _message(delivery: Delivery) -> Message:
    try:
        properties = frames.read_properties(delivery.header)
    except (ValueError, IndexError, StructError, RecursionError):
        properties = frames.Properties()  # they cannot be read: what the message is made of can
    delivery.id = properties.id
    delivery.timestamp = properties.timestamp
    delivery.correlation_id = properties.correlation_id
    attempt = 1 + delivery.attempts + delivery.redelivered
    headers: dict[str, str | bytes] = {}
    key: str | bytes | None = None
    if (table := properties.headers) is not None:
        count = table.pop(_COUNT, None)
        if attempt > 1 and isinstance(count, int):
            attempt = 1 + delivery.attempts + max(count, delivery.redelivered)
        headers = {name: frames.text(value) for name, value in table.items()}
        key = headers.pop(KEY, None)
    if properties.content_type is not None and properties.content_type not in PLAIN:
        headers[CONTENT_TYPE] = properties.content_type
    if properties.content_encoding:
        headers[CONTENT_ENCODING] = properties.content_encoding
    if properties.priority:
        headers[PRIORITY] = str(properties.priority)
    return delivered(delivery.body, key, headers, delivery, attempt, properties.reply_to)  # type: ignore[arg-type]
