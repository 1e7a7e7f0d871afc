"""`KafkaInbox`: where the replies come in that one broker object asked for; in no group, and nothing is committed."""

import asyncio
from collections.abc import Sequence
from logging import getLogger

from aiokafka import AIOKafkaConsumer, TopicPartition
from anyio import CancelScope

from actors import Message
from engine.brokers.endpoint import INBOX
from engine.kafka import client as kafka_client
from engine.kafka import topics as kafka_topics
from engine.kafka.errors import explained, mapped
from engine.kafka.options import KafkaOptions
from engine.kafka.place import Place
from engine.kafka.share import Share

logger = getLogger("headrace.kafka")
_POLL = 500
"""Milliseconds that one poll waits for messages."""
_KEPT = {"retention.ms": "3600000", "cleanup.policy": "delete"}
"""A topic whose process was killed before it could delete it keeps no replies for longer than an hour."""


class KafkaInbox:
    """Reads a topic from its end, as if it alone did; it deletes the topic in the end, if it was made for it."""

    def __init__(self, place: Place, options: KafkaOptions) -> None:
        self._place = place
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self._shares: dict[TopicPartition, Share] = {}

    async def open(self) -> None:
        """Make the topic unless it is there, and read it from its end."""
        name, options = self._place.name, self._options
        if self._consumer is not None:
            return
        own = name.startswith(INBOX)
        numbers = await kafka_topics.ensure(options, name, 1 if own else None, None, _KEPT if own else None)
        places = [TopicPartition(name, number) for number in numbers]
        consumer = kafka_client.consumer(options, None)
        try:
            with mapped(options, str(self._place)):
                async with asyncio.timeout(options.request_timeout):
                    consumer.assign(places)
                    await consumer.start()
                    ends = await consumer.end_offsets(places)
            for place, end in ends.items():
                self._shares[place] = Share(place, end)
                consumer.seek(place, end)
        except BaseException:
            with CancelScope(shield=True):
                await kafka_client.end(consumer)
            raise
        self._consumer = consumer

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for replies; return 1 to `limit` of them."""
        while True:
            if self._consumer is None:
                await self.open()
            assert self._consumer is not None
            try:
                found = await self._consumer.getmany(timeout_ms=_POLL, max_records=limit)
            except Exception as error:
                with CancelScope(shield=True):
                    await self._let_go()
                raise explained(error, self._options, str(self._place)) from error
            if run := [message for place, records in found.items() for message in self._shares[place].take(records)]:
                return run

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Nothing to tell anybody."""
        for message in (*done, *returned):
            share = getattr(message.origin, "share", None)
            if share is not None:
                share.offsets.complete(message.offset)

    async def close(self) -> None:
        """Let go, and delete the topic if it was made for this; that may be forbidden, and then it stays, empty."""
        await self._let_go()
        if self._place.name.startswith(INBOX):
            try:
                async with asyncio.timeout(kafka_client.GOODBYE), kafka_topics.connected(self._options) as client:
                    await client.delete_topics([self._place.name])
            except Exception as error:
                logger.debug("%s was not deleted: %s", self._place, error)

    async def _let_go(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._shares.clear()
        if consumer is not None:
            await kafka_client.end(consumer)

    def pending(self) -> int | None:
        """Nobody knows what will be answered."""
        return None
