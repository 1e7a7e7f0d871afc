"""`RabbitSink`: publishes runs to what an endpoint stands for, and has it declared."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import aiormq

from actors import BrokerRefused, Message, PublishError
from engine.rabbitmq import refusals
from engine.rabbitmq.lives import Lives
from engine.rabbitmq.messages import Publishing
from engine.rabbitmq.outgoing import RouteOf
from engine.rabbitmq.publisher import Publisher
from engine.rabbitmq.refusals import OneRefused
from engine.rabbitmq.sent import RabbitSent
from engine.rabbitmq.shared import Shared
from engine.rabbitmq.wire import Wire

Declare = Callable[[Wire, str], Coroutine[Any, Any, None]]
"""Makes an exchange, or the queue behind the default exchange, be there."""


class RabbitSink:
    """Publishes to the queues, or the exchange, of an endpoint.

    A message is persistent, and returned by the server where no queue takes it, unless the endpoint says otherwise.
    A tombstone arrives as an empty body: AMQP has no other.
    """

    in_flight = 2
    """Runs that may be on their way at once: as many as its `window` has room for, if that is fewer."""

    def __init__(
        self,
        connections: Callable[[], Shared],
        about: object,
        destination: str,
        route_of: RouteOf,
        manner: Publishing,
        declare: Declare | None,
    ) -> None:
        self._about = about
        self._destination = destination
        self._route_of = route_of
        self._declare = declare

        def begin(wire: Wire, channel: aiormq.Channel) -> Publisher:
            return Publisher(wire, channel, about, route_of, manner)

        def lives() -> Lives[Publisher]:
            return Lives(connections, begin, self._prepare, f"sink of {about!r}", "publishing", confirms=True)

        self._lives = lives()
        self._apart = lives
        self._confirmed: set[Message] = set()
        """Of runs that were refused half-way: what need not be published again."""
        self._away: set[RabbitSent] = set()
        """What was sent, and is not asked for yet."""

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._destination

    async def open(self) -> None:
        """Connect, and declare the destination where it is no template."""
        await self._lives.start()

    async def _prepare(self, publisher: Publisher) -> None:
        if "{" not in self._place(self._destination):
            await self._provide(publisher, self._destination)

    def _place(self, destination: str) -> str:
        """What has to be there before anything is published to that destination: an exchange, or a queue."""
        exchange, queue = self._route_of(destination, None)
        return exchange or queue

    async def _provide(self, publisher: Publisher, destination: str) -> None:
        place = self._place(destination)
        if self._declare is not None and place not in publisher.declared:
            await self._declare(publisher.wire, place)
            publisher.declared.add(place)

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order and return when all of it is confirmed.

        `PublishError` has those that cannot be sent and that no queue took; meanwhile the others are on their way. A
        server that makes no progress for a whole `timeout` is out of reach, and so is one that is short of memory or
        disk. A queue that is full is waited for, and what was taken is remembered; of a template's many only the
        messages for that one fail. Where the server has closed the channel over one message, they go one by one.
        """
        publisher = await self._living()
        failures = await self._unprovided(publisher, run)
        done = self._confirmed
        wanted = list(range(len(run)))
        if failures or done:
            wanted = [at for at in wanted if at not in failures and run[at] not in done]
        try:
            refused = await publisher.publish(run, wanted, failures)
        except OneRefused:  # it may be another's message, too
            refused = await self._one_by_one(run, wanted, failures)
        done.difference_update(run)
        if refused and "{" not in self._destination:
            done.update(set(run).difference(run[at] for at in (*refused, *failures)))
            full = refusals.full(self._about)
            publisher.lost(full)  # where the limit is taken away, RabbitMQ tells only new channels that there is room
            raise full
        failures |= {at: refusals.not_taken(self._about) for at in refused}
        if failures:
            raise PublishError(failures)

    async def _one_by_one(self, run: Sequence[Message], wanted: list[int], failures: dict[int, Exception]) -> list[int]:
        """Publish those messages over a channel that nobody else uses: whichever ends it was the one. As `publish`."""
        lives, refused, full = self._apart(), list[int](), set[str]()
        await lives.start()
        try:
            for at in wanted:
                message = run[at]
                if message.destination in full:
                    refused.append(at)
                    continue
                publisher = await lives.living()
                publisher.check_blocked()
                try:
                    if await publisher.publish(run, [at], failures):
                        full.add(message.destination)
                        refused.append(at)
                    elif at not in failures:
                        self._confirmed.add(message)
                except OneRefused as error:
                    if self._mistaken(message, str(error)):
                        raise
                    failures[at] = error
        finally:
            await lives.close()
        return refused

    def _mistaken(self, message: Message, said: str) -> bool:
        """Whether no other message would fare better."""
        exchange, _ = self._route_of(self._destination, None)
        if refusals.EXCHANGE in said:
            return "{" not in exchange
        by_key = self._route_of(self._destination, "a") != self._route_of(self._destination, "b")
        return refusals.TOPIC in said and message.destination == self._destination and not by_key

    async def send(self, run: Sequence[Message]) -> RabbitSent | None:
        """Write a run behind those on their way; None where something has to be waited for, or seen to, before."""
        publisher, taken = self._lives.now, self._confirmed
        if publisher is None or not publisher.ready or not all(sent.allows(publisher) for sent in self._away):
            return None
        if (taken and not taken.isdisjoint(run)) or not self._provided(publisher, run):
            return None
        written = publisher.send(run)
        return None if written is None else RabbitSent(publisher, run, written, self._away, taken)

    def _provided(self, publisher: Publisher, run: Sequence[Message]) -> bool:
        """Whether all destinations of a run are there, as far as it is known."""
        if self._declare is None:
            return True
        try:
            return publisher.declared.issuperset([self._place(each) for each in {one.destination for one in run}])
        except ValueError:  # no destination of this endpoint
            return False

    async def _unprovided(self, publisher: Publisher, run: Sequence[Message]) -> dict[int, Exception]:
        """Have all destinations of a run be there; which of its messages have none, and why."""
        failures: dict[int, Exception] = {}
        for destination in dict.fromkeys([message.destination for message in run]):
            try:
                await self._provide(publisher, destination)
            except (BrokerRefused, ValueError) as error:  # ValueError: no destination of this endpoint
                if isinstance(error, BrokerRefused) and destination == self._destination:
                    raise  # a mistake in the topology: no other message would fare better
                failures |= {at: error for at, message in enumerate(run) if message.destination == destination}
        return failures

    async def _living(self) -> Publisher:
        publisher = await self._lives.living()
        publisher.check_blocked()
        return publisher

    async def ping(self) -> None:
        """Return when the server has answered, and would take a message; connects anew where need be."""
        await (await self._living()).wire.ping()

    async def close(self) -> None:
        """Let go of the channel, and of the connection where nobody else needs it."""
        self._confirmed.clear()
        await self._lives.close()

    def __repr__(self) -> str:
        return repr(self._lives)
