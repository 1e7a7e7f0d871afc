"""`KafkaSent`: a run that a producer has taken over, and what becomes of it; `Footing`: where one may be behind it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaProducer

from actors import Message
from engine.kafka.batches import Batch

_LASTING = 600.0
"""Seconds that a footing lasts. A server forgets a producer a day after its last batch, where it is not told otherwise
(`producer.id.expiration.ms`)."""


class Footing:
    """The partitions in which a producer has had a batch confirmed lately. Nothing may be behind another but there.

    A server that knows a producer refuses what comes after a gap in its sequence. From one that it does not know it
    takes any sequence (Kafka's `ProducerAppendInfo.checkSequence`): what is behind a first batch that was refused, too.
    """

    def __init__(self) -> None:
        self._until: dict[tuple[str, int], float] = {}

    def gained(self, batches: Iterable[Batch]) -> None:
        """Note that these are confirmed."""
        until = monotonic() + _LASTING
        for batch in batches:
            self._until[batch.topic, batch.partition] = until

    def holds(self, batches: Iterable[Batch]) -> bool:
        """Whether a gap would be noticed in the partitions of all of these."""
        now, until = monotonic(), self._until
        return all(until.get((batch.topic, batch.partition), now) > now for batch in batches)

    def lost(self) -> None:
        """Another producer begins."""
        self._until.clear()


class KafkaSent:
    """A run in the hands of a producer, which has each of its batches in a future.

    `landed` is told when it is known what became of it, with the batches that are confirmed and what the others failed
    with, and raises what is to be raised. Within `timeout` seconds from when it is asked all is known.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        run: Sequence[Message],
        batches: Sequence[Batch],
        futures: Sequence[asyncio.Future[Any]],
        timeout: float,
        landed: Callable[["KafkaSent", Sequence[Batch], Sequence[BaseException]], None],
        forgotten: Callable[["KafkaSent"], object],
    ) -> None:
        self.producer = producer
        self.run = run
        self.all = asyncio.gather(*futures, return_exceptions=True)
        """Done when all of its batches are confirmed, or have failed; it raises nothing."""
        self._batches = batches
        self._futures = futures
        self._timeout = timeout
        self._landed = landed
        self._forgotten = forgotten

    def then(self, callback: Callable[[], object]) -> None:
        """Call that when all of its batches are confirmed, or have failed."""
        self.all.add_done_callback(lambda _: callback())

    async def confirmed(self) -> bool:
        """Whether all of it is confirmed; else what is not is to be published again."""
        await asyncio.wait((self.all,), timeout=self._timeout)
        through, errors = [], []
        for batch, future in zip(self._batches, self._futures, strict=True):
            error = future.exception() if future.done() else TimeoutError()
            if error is None:
                through.append(batch)
            else:
                errors.append(error)
        self._landed(self, through, errors)
        return not errors

    def forget(self) -> None:
        """It goes on by itself."""
        self._forgotten(self)


async def handed_over(producer: AIOKafkaProducer, batches: Sequence[Batch]) -> list[asyncio.Future[Any]]:
    """Give batches to the producer; what is to be awaited for each.

    One caller at a time: several that wait for room on a partition would race for it, and aiokafka's count of how long
    each may wait runs down faster the more often it loses.
    """
    sent: list[asyncio.Future[Any]] = []
    try:
        for batch in batches:
            if batch.builder is not None:
                batch.builder.close()  # nobody adds to it
                sent.append(await producer.send_batch(batch.builder, batch.topic, partition=batch.partition))
            else:
                key, value, headers = batch.record
                sent.append(await producer.send(batch.topic, value, key, batch.partition, headers=headers))
    except BaseException:
        for future in sent:  # nobody will ask what became of these
            future.add_done_callback(asyncio.Future.exception)
        raise
    return sent
