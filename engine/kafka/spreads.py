"""`Spreads`: the topics that a sink writes to, made when they are first needed, and how each is spread."""

from collections.abc import Sequence, Set
from logging import getLogger

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from actors import Message
from engine.brokers.endpoint import INBOX
from engine.kafka import topics as kafka_topics
from engine.kafka.batches import Spread
from engine.kafka.options import KafkaOptions
from engine.kafka.place import LEGAL, Place

logger = getLogger("headrace.kafka")


class Spreads:
    """What is known of the topics of one sink. A template may name any number of them."""

    def __init__(self, place: Place, options: KafkaOptions) -> None:
        self._place = place
        self._options = options
        self._known: dict[str, Spread] = {}

    async def ensure(self) -> None:
        """See to it that the one topic of this place is there; nothing where its name depends on the message."""
        place = self._place
        if not place.template:
            await kafka_topics.ensure(
                self._options, place.name, place.partitions, place.replication, create=place.create
            )
            self._known[place.name] = self._spread()

    def know(self, topics: Set[str]) -> bool:
        """Whether all of these are there, as far as anybody has heard."""
        return self._known.keys() >= topics

    def forget(self) -> None:
        """Ask again for each, when it is next needed."""
        self._known.clear()

    async def begin(
        self, producer: AIOKafkaProducer, run: Sequence[Message], failures: dict[int, Exception]
    ) -> dict[str, Spread]:
        """How a run is spread over each of its topics, as they are now.

        Messages for the inbox of somebody who has gone are left out; those for one of many topics that is refused are
        told in `failures`. Raises `BrokerUnavailable`, and `TopicRefused` where there is only that one.
        """
        spreads = {}
        for topic in {message.destination for message in run}:
            try:
                spread = self._known.get(topic) or await self._find(producer, topic)
            except kafka_topics.TopicRefused as error:
                if not self._place.template:
                    raise
                # One of many topics: the others are no worse for it.
                failures |= {index: error for index, message in enumerate(run) if message.destination == topic}
                continue
            if spread is not None:
                partitions = await producer.partitions_for(topic)
                spread.begin(partitions, producer.client.cluster.available_partitions_for_topic(topic) or ())
                spreads[topic] = spread
        return spreads

    async def _find(self, producer: AIOKafkaProducer, topic: str) -> Spread | None:
        """See to it that a topic is there. None for the inbox of somebody who has gone: it is not made for that."""
        place, options = self._place, self._options
        if not LEGAL.fullmatch(topic):  # one that is too long could not even be asked for
            raise kafka_topics.TopicRefused(
                f"Kafka at {options.where}: {topic[:40]!r} is no name for a topic: "
                "it has 1 to 249 letters, digits, dots, underscores and hyphens"
            )
        there = await kafka_topics.described(producer.client, options, topic)
        if topic.startswith(INBOX):
            if not there:
                logger.debug("a reply came too late: %s is gone", topic)
            return self._spread() if there else None  # and not remembered: it may go at any time
        if not there:
            await kafka_topics.ensure(options, topic, place.partitions, place.replication, create=place.create)
        spread = self._known[topic] = self._spread()
        return spread

    def _spread(self) -> Spread:
        return Spread(self._options.client.get("partitioner") or DefaultPartitioner())
