"""`KafkaSink`: publishes runs, in batches of its own making, and waits until all of them are confirmed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer, errors
from anyio import CancelScope

from actors import BrokerError, Message, PublishError, Sent
from engine.kafka import client as kafka_client
from engine.kafka.batches import Batch, Cutter, Spread
from engine.kafka.errors import REMEDIES, diagnosed, explained, mapped
from engine.kafka.options import KafkaOptions
from engine.kafka.place import Place
from engine.kafka.sent import Footing, KafkaSent, handed_over
from engine.kafka.spreads import Spreads

_ANSWER = 5.0
"""Seconds in which a broker that is there tells what topics it has."""
_BROKEN = (errors.OutOfOrderSequenceNumber, errors.InvalidProducerEpoch, errors.UnknownProducerId,
           errors.InvalidProducerIdMapping)  # fmt: skip
"""What a producer does not get over: another takes its place."""


@dataclass(slots=True)
class _Work:
    """A run that is being published, and the producer that has, or had, the last of it."""

    run: Sequence[Message]
    failures: dict[int, Exception] = field(default_factory=dict)
    producer: AIOKafkaProducer | None = None


class KafkaSink:
    """One producer, to any topic of its broker. Not for use by two threads, or two event loops.

    A run goes out in batches of its own: a future for each message would cost five times as much. Those of one
    partition follow one another, so that the order of a run is kept in each partition. Topics are made when they are
    first needed, as the source makes them.
    """

    def __init__(self, place: Place, options: KafkaOptions) -> None:
        self._place = place
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._cutter: Cutter
        self._spreads = Spreads(place, options)
        self._published: set[Message] = set()
        """Of runs that failed on their way: what need not be published again."""
        self._on_their_way: set[KafkaSent] = set()
        self._handed: set[asyncio.Future[Any]] = set()
        """The batches that a producer has and that are not confirmed."""
        self._footing = Footing()
        self._spent = False
        """Whether the producer has failed with something, and is of no more use than to hear of what it still has."""
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._place.name

    async def open(self) -> None:
        """Connect; make the topic if it is missing and may be made."""
        # Before there is a producer: who may not write anywhere gets none, and would not be told about the topic.
        await self._spreads.ensure()
        await self._open()

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = kafka_client.producer(self._options)
                try:
                    async with asyncio.timeout(self._options.request_timeout):
                        await producer.start()
                except BaseException as error:
                    with CancelScope(shield=True):
                        await kafka_client.end(producer)
                        if isinstance(error, Exception):
                            raise await diagnosed(error, self._options, str(self._place)) from error
                    raise
                most = self._options.client.get("max_request_size", 1024 * 1024)
                self._cutter = Cutter(producer.create_batch, most, self._options.linger > 0)
                self._producer = producer
            return self._producer

    async def _fit(self) -> AIOKafkaProducer:
        """A producer to publish with. One that is spent goes when nothing is on its way with it any more."""
        if self._spent:
            async with self._turn:  # nobody is in the midst of handing over
                return await self._successor()
        return await self._open()

    async def _successor(self) -> AIOKafkaProducer:
        """Another producer in place of one that is spent; for whoever has the turn."""
        spent = self._producer
        if self._spent and self._handed:
            await asyncio.wait(self._handed.copy())
        if self._spent:
            self._replace(spent)
        return await self._open()

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run; return when all of it is confirmed by as many replicas as `acks` asks for.

        What one wire could not carry, and what the server refuses, is told by `PublishError`; the rest is published.
        """
        if not self._published:
            await self._publish(run)
            return
        left = [at for at, message in enumerate(run) if message not in self._published]
        try:
            await self._publish([run[at] for at in left])
        except PublishError as error:
            self._published.difference_update(run)
            raise PublishError({left[at]: reason for at, reason in error.failures.items()}) from None
        self._published.difference_update(run)

    async def _publish(self, run: Sequence[Message]) -> None:
        work = _Work(run)
        try:
            async with asyncio.timeout(self._options.publish_timeout):
                spreads = await self._spread(work)
                for batches in self._cutter.cut(run, spreads, work.failures):
                    await self._send(work, batches)
        except BrokerError:
            raise
        except Exception as error:
            raise self._given_up(work.producer, error) from error
        if work.failures:
            raise PublishError(work.failures)

    def _given_up(self, producer: AIOKafkaProducer | None, error: BaseException) -> BrokerError:
        """The error for a run of which nothing is known, or not all."""
        # What is on its way might still be published long after it is tried again: not by this producer.
        self._replace(producer)
        self._spreads.forget()
        return explained(error, self._options, str(self._place))

    # -- one run behind another ----------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Two, where the server sees to it that none overtakes another that was lost."""
        return 2 if self._options.idempotent else 1

    async def send(self, run: Sequence[Message]) -> Sent | None:
        """Hand a run over to the producer, behind what it has; None for what `publish` has to see to first."""
        producer = self._producer
        if producer is None or not self._spreads.know({message.destination for message in run}):
            return None
        failures: dict[int, Exception] = {}
        try:
            async with asyncio.timeout(self._options.publish_timeout):
                rounds = self._cutter.cut(run, await self._spreads.begin(producer, run, failures), failures)
                batches = [batch for batches in rounds for batch in batches]
                async with self._turn:
                    # Asked here: whoever had the turn before may have failed.
                    if failures or not self._footing.holds(batches) or not self._may_send(producer, run):
                        return None
                    futures = await self._hand_over(producer, batches)
        except BrokerError:
            raise
        except Exception as error:
            raise self._given_up(producer, error) from error
        timeout = self._options.publish_timeout
        sent = KafkaSent(producer, run, batches, futures, timeout, self._landed, self._on_their_way.discard)
        self._on_their_way.add(sent)
        return sent

    def _may_send(self, producer: AIOKafkaProducer, run: Sequence[Message]) -> bool:
        """Whether a run may go by this producer now, behind what is on its way."""
        return (
            producer is self._producer
            and not self._spent
            and (not self._published or self._published.isdisjoint(run))
            and all(sent.producer is producer for sent in self._on_their_way)  # else it could overtake that one
        )

    def _landed(self, sent: KafkaSent, through: Sequence[Batch], errors: Sequence[BaseException]) -> None:
        """See to it that what failed on its way can be published again; raise what has to be told of it."""
        self._on_their_way.discard(sent)
        if errors:
            self._published.update(sent.run[at] for batch in through for at in batch.indices)
        if sent.producer is not self._producer:
            return  # another run has seen to it: this one was behind that
        self._footing.gained(through)
        if not errors:
            return
        late = next((error for error in errors if isinstance(error, TimeoutError)), None)
        if late is not None:
            raise self._given_up(sent.producer, late) from late
        self._spent = True  # the sequence of a partition has a gap now; why, `publish` will tell

    # -- sending -------------------------------------------------------------------------------------------------

    async def _send(self, work: _Work, batches: Sequence[Batch]) -> None:
        """Send batches of different partitions at once, and those with a message that is refused again one by one.

        One that fails because of what went wrong ahead of it, whosever that was, is sent again as it is.
        """
        for batch, error in zip(batches, await self._sent(work, batches), strict=True):
            while isinstance(error, _BROKEN):
                batch = self._cutter.again(batch, work.run)
                (error,) = await self._sent(work, [batch])
            if error is None:
                continue
            if not self._is_refusal(error):
                raise error
            if batch.shared:
                for alone in self._cutter.alone(batch, work.run):
                    await self._send(work, [alone])
            else:
                work.failures[batch.indices[0]] = explained(error, self._options, f"topic {batch.topic}")

    async def _spread(self, work: _Work) -> dict[str, Spread]:
        """How a run is spread. It is asked again where its producer was let go of meanwhile, for another run's sake."""
        while True:
            producer = work.producer = await self._fit()
            try:
                return await self._spreads.begin(producer, work.run, work.failures)
            except Exception:
                if producer is self._producer:
                    raise
                work.failures.clear()

    async def _sent(self, work: _Work, batches: Sequence[Batch]) -> list[BaseException | None]:
        """Send batches; what each of them has failed with."""
        async with self._turn:
            if self._spent:
                work.producer = await self._successor()
            producer = work.producer = self._producer or work.producer
            assert producer is not None
            sent = asyncio.gather(*await self._hand_over(producer, batches), return_exceptions=True)
        await asyncio.wait((sent,))  # so that one who gives up waiting takes nothing away from the producer
        errors = [each if isinstance(each, BaseException) else None for each in sent.result()]
        if producer is self._producer:
            self._footing.gained(batch for batch, error in zip(batches, errors, strict=True) if error is None)
            # The sequence of a partition has a gap now, which an idempotent producer does not get over.
            self._spent |= any(isinstance(each, _BROKEN) or self._is_refusal(each) for each in errors if each)
        return errors

    async def _hand_over(self, producer: AIOKafkaProducer, batches: Sequence[Batch]) -> list[asyncio.Future[Any]]:
        futures = await handed_over(producer, batches)
        self._handed.update(futures)
        for future in futures:
            future.add_done_callback(self._handed.discard)
        return futures

    def _is_refusal(self, error: BaseException) -> bool:
        """Whether it is about a message, and not about the connection, the producer or the user."""
        if isinstance(error, errors.TopicAuthorizationFailedError | errors.InvalidTopicError):  # e.g. an internal one
            return self._place.template
        response = isinstance(error, errors.BrokerResponseError) and not error.retriable
        return response and not isinstance(error, _BROKEN) and type(error) not in REMEDIES

    def _replace(self, producer: AIOKafkaProducer | None) -> None:
        """Let go of a producer that is broken; the next publish makes a new one."""
        if producer is None or producer is not self._producer:
            return
        self._producer, self._spent = None, False
        self._footing.lost()
        kafka_client.cut_off(producer)

    async def ping(self) -> None:
        """Return when some broker of the cluster has answered."""
        producer = await self._open()
        with mapped(self._options, str(self._place)):
            async with asyncio.timeout(_ANSWER):
                await producer.client.fetch_all_metadata()

    async def close(self) -> None:
        """Let go of the connection."""
        producer, self._producer, self._spent = self._producer, None, False
        self._footing.lost()
        self._spreads.forget()
        self._published.clear()
        if producer is not None:
            await kafka_client.end(producer)
