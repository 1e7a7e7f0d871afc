"""`Commits`: tells the broker what is done, when that is due."""

import asyncio
from collections.abc import Mapping
from logging import getLogger
from random import random

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from actors import BrokerError
from engine.kafka.errors import mapped
from engine.kafka.maps import LIMIT
from engine.kafka.options import KafkaOptions
from engine.kafka.share import Share

logger = getLogger("headrace.kafka")
PATIENCE = 3.0
"""Seconds that a commit may take."""
_AGAIN = 0.1
"""Seconds, give or take a half, until one that did not come through is sent again."""
_MOVED = (IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)
"""What a server says to one whose partitions are, or may be, others'."""


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
        try:
            await self._tell({place: OffsetAndMetadata(*told) for place, told in due.items()})
        except OffsetMetadataTooLargeError:
            said = "the server's offset.metadata.max.bytes is under %d, so that more comes again after a crash: %s"
            logger.warning(said, LIMIT, self._what)
            self._limit = 0
            await self._tell({place: OffsetAndMetadata(position, "") for place, (position, _) in due.items()})

    async def _tell(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """What the consumer's own `commit` does, and can be cancelled.

        That one shields each request, so that one which is given up goes on, and nobody hears how it ended. It also
        refuses as soon as a pattern has found a topic, before anything is given away.
        """
        coordinator = self._consumer._coordinator
        async with asyncio.timeout(PATIENCE):
            while True:
                await coordinator.ensure_coordinator_known()
                try:
                    await coordinator._do_commit_offsets(None, offsets)
                except _MOVED as error:
                    raise CommitFailedError(str(error)) from error
                except KafkaError as error:
                    if not error.retriable:
                        raise
                else:
                    return
                await asyncio.sleep(_AGAIN * (0.5 + random()))
