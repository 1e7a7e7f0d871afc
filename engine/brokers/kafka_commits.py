"""`Commits`: tells the broker what is done, when that is due."""

import asyncio
from collections.abc import Mapping
from logging import getLogger

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, OffsetMetadataTooLargeError

from actors import BrokerError
from engine.brokers.kafka_errors import mapped
from engine.brokers.kafka_options import KafkaOptions
from engine.brokers.kafka_share import Share
from engine.brokers.offsets import LIMIT

logger = getLogger("headrace.kafka")
PATIENCE = 3.0
"""Seconds that a commit may take."""


class Commits:
    """Commits of one consumer, for those shares that it has; one at a time."""

    def __init__(
        self, consumer: AIOKafkaConsumer, options: KafkaOptions, what: str, shares: Mapping[TopicPartition, Share]
    ) -> None:
        self._consumer = consumer
        self._options = options
        self._what = what
        self._shares = shares
        self._done = 0
        self._due = asyncio.Event()
        self._committing = asyncio.Lock()
        self._limit = LIMIT

    def done(self, count: int) -> None:
        """Note that so many more messages are done: enough of them are committed before their time."""
        self._done += count
        if self._done >= self._options.commit_every:
            self._due.set()

    def hurry(self) -> None:
        """Have what has changed committed at once."""
        self._due.set()

    async def keep(self) -> None:
        """Commit what is due, by time or by count, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._options.commit_interval):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            try:
                await self.commit()
            except BrokerError as error:
                logger.warning("not committed, tried again: %s", error)

    async def commit(self) -> None:
        """Commit what has changed. What a rebalance takes away meanwhile is nobody's business any more.

        Raises `BrokerUnavailable` and `BrokerRefused`; what was not committed then is with the next.
        """
        async with self._committing:
            self._done = 0
            touched = [share for share in self._shares.values() if share.touched]
            told = {share.place: share.told(self._limit) for share in touched}
            due = {share.place: told[share.place] for share in touched if share.committed != told[share.place]}
            for share in touched:
                share.touched = False
            try:
                if due:
                    with mapped(self._options, self._what):
                        await self._send(due)
            except BaseException as error:
                for share in touched:
                    share.touched = True
                if isinstance(error.__cause__, CommitFailedError):
                    logger.info("not committed, as partitions are being given to others: %s", error)
                    return
                raise
            for share in touched:
                share.committed = told[share.place]

    async def _send(self, due: Mapping[TopicPartition, tuple[int, str]]) -> None:
        # The consumer's own `commit` refuses as soon as a pattern has found a topic, before anything is given away.
        commit = self._consumer._coordinator.commit_offsets
        try:
            async with asyncio.timeout(PATIENCE):
                await commit(None, {place: OffsetAndMetadata(*told) for place, told in due.items()})
        except OffsetMetadataTooLargeError:
            said = "the server's offset.metadata.max.bytes is under %d, so that more comes again after a crash: %s"
            logger.warning(said, LIMIT, self._what)
            self._limit = 0
            async with asyncio.timeout(PATIENCE):
                await commit(None, {place: OffsetAndMetadata(position, "") for place, (position, _) in due.items()})
