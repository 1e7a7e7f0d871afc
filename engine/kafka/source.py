"""`KafkaSource`: reads a topic, or all topics that match a pattern, as a member of a group."""

import asyncio
from collections.abc import Mapping, Sequence
from logging import getLogger
from time import monotonic

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from anyio import CancelScope, current_time, move_on_after

from actors import BrokerError, BrokerUnavailable, Message
from engine.kafka import client as kafka_client
from engine.kafka import topics as kafka_topics
from engine.kafka.assignment import Assignment
from engine.kafka.beginning import Beginning
from engine.kafka.errors import explained, mapped
from engine.kafka.options import KafkaOptions
from engine.kafka.place import Place
from engine.kafka.wire import Record

logger = getLogger("headrace.kafka")
_POLL = 500
"""Milliseconds that one poll waits for messages."""
_AHEAD = 1024
"""Messages that are taken over from the client at once, at most: when it has none left it asks the broker for more."""
_FETCHES = 4
"""How many times the most that was asked for are taken over, at most: how large a body is nobody knows."""
_SILENCE = 5.0
"""Seconds without a message after which the broker is asked whether there really is none; it has as many to answer."""
_REFRESH = 30_000
"""Milliseconds after which a pattern finds new topics."""
_NOBODY = TopicPartition("", 0)


class KafkaSource:
    """One consumer, and one member of its group. Not for use by two threads, or two event loops.

    Messages come in order of their offsets within each partition. What is given back is kept here and comes again
    before anything else. What is settled is committed soon after, and when closing; after a crash, what was settled and
    not committed comes again. Each partition's commit says which offsets above its position are done, and how often
    the others were delivered.
    """

    def __init__(self, place: Place, options: KafkaOptions, group: str) -> None:
        self._place = place
        self._options = options
        self._group = group
        self._what = f"{place}, group {group}"
        self._beginning = Beginning(place.start)
        self._assignment: Assignment | None = None
        self._committer: asyncio.Task[None] | None = None
        self._polling: CancelScope | None = None
        self._heard = self._moved = 0.0
        self._at: dict[TopicPartition, int] = {}
        self._reached = False
        self._asked = 1
        """The most that were asked for at once."""
        self._silence = min(_SILENCE, options.stall)
        self.remade = 0
        """How often the consumer was made anew because it was stuck."""

    async def open(self) -> None:
        """Join the group, having made the topic if it is missing and may be made; wait to be let in."""
        if self._assignment is None:
            await self._connect()

    async def _connect(self) -> Assignment:
        options, place = self._options, self._place
        if place.pattern is None:
            await kafka_topics.ensure(options, place.name, place.partitions, place.replication)
        else:
            async with kafka_topics.connected(options):
                pass  # says why, if there is no connection
        more = {} if place.pattern is None else {"metadata_max_age_ms": _REFRESH}
        consumer = kafka_client.consumer(options, self._group, place.instance(options.group_instance_id), **more)
        assignment = Assignment(consumer, options, self._beginning, self._what)
        try:
            consumer.subscribe([] if place.matching else [place.name], place.matching, assignment)
            with mapped(options, self._what):
                async with asyncio.timeout(options.request_timeout):
                    await consumer.start()
                    # Errors of the joining are raised by polls only; this one takes nobody's messages.
                    await consumer.getmany(_NOBODY, timeout_ms=0)
                    await assignment.assigned.wait()
            await assignment.load()
        except BaseException:
            with CancelScope(shield=True):
                await kafka_client.end(consumer)
            raise
        self._assignment = assignment
        self._committer = asyncio.get_running_loop().create_task(assignment.commits.keep())
        self._heard = self._moved = monotonic()
        self._reached = True
        return assignment

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them."""
        try:
            return await self._fetched(limit)
        except BrokerError:
            self._reached = False
            raise

    async def _fetched(self, limit: int) -> list[Message]:
        while True:
            assignment = self._assignment or await self._connect()
            if run := assignment.again(limit):
                return run
            if assignment.fresh:
                await assignment.load()
            if not assignment.leaving and (run := assignment.take(limit)):
                return run
            found = await self._polled(assignment, limit)
            if not found:
                await self._look(assignment)
                continue
            self._heard = self._moved = monotonic()
            assignment.read(found)
            if run := assignment.take(limit):
                return run

    async def _polled(self, assignment: Assignment, limit: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """What is there, or nothing after a while, or at once when something was given back."""
        found: Mapping[TopicPartition, Sequence[Record]] = {}
        stall = max(self._options.stall, _POLL / 1000 + 0.5)
        try:
            with move_on_after(stall) as polling:
                self._polling = polling
                asked = self._asked = max(self._asked, limit)
                lean = kafka_client.lean(assignment.consumer)
                most = max(limit, min(_AHEAD, _FETCHES * asked)) if lean else limit
                found = await assignment.consumer.getmany(timeout_ms=_POLL, max_records=most)
        except Exception as error:
            await self._abandon(assignment)
            raise explained(error, self._options, self._what) from error
        finally:
            self._polling = None
        if polling.cancelled_caught and polling.deadline <= current_time():
            await self._stalled(assignment, f"its group was not balanced for {stall:g} s")
        return found

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Note what is done and what is to come again. Waits for nothing; the commit follows."""
        if self._assignment is not None:
            more = self._assignment.settle(done, returned)
            if more and self._polling is not None:
                self._polling.cancel()

    async def close(self) -> None:
        """Commit what is done, leave the group, and forget what is not done: it comes again."""
        assignment = self._assignment
        if assignment is None:
            return
        assignment.close()
        self._stop_committing()
        try:
            await assignment.commits.commit()
        except BrokerError as error:
            logger.warning("not committed before closing: %s", error)
        finally:
            await self._abandon(assignment)

    async def ping(self) -> None:
        """Return when the broker has answered: those that lead its partitions, where it has any."""
        assignment = self._assignment
        if assignment is None:
            async with kafka_topics.connected(self._options):
                return
        places = list(assignment.shares)
        with mapped(self._options, self._what):
            async with asyncio.timeout(self._silence):
                await (assignment.consumer.end_offsets(places) if places else assignment.consumer.topics())

    def reached(self) -> bool:
        """Whether the broker has answered since it last did not."""
        return self._reached

    def pending(self) -> int | None:
        """How many messages the broker had left for this source when it was last heard of."""
        return None if self._assignment is None else self._assignment.pending()

    # -- when nothing comes --------------------------------------------------------------------------------------

    async def _look(self, assignment: Assignment) -> None:
        """Tell an empty topic from a broker that is gone, and from a consumer that is stuck.

        aiokafka mends a lost connection by itself and says nothing; and there are ways to get stuck
        (https://github.com/aio-libs/aiokafka/issues/1154).
        """
        consumer = assignment.consumer
        places = [place for place in assignment.shares if place not in assignment.paused]
        with mapped(self._options, self._what):
            try:
                async with asyncio.timeout(self._silence):
                    at = {place: await consumer.position(place) for place in places}
                    assignment.seen_to(at)
                    now = monotonic()
                    if at != self._at:
                        self._at, self._moved = at, now
                    if now - self._heard < self._silence:
                        return
                    ends = await consumer.end_offsets(places) if places else {}
            except IllegalStateError:
                return  # the partitions are being given to others, which says that the broker is there
        self._heard, self._reached = now, True
        if all(at[place] >= end for place, end in ends.items()):
            self._moved = now
        elif now - self._moved >= self._options.stall:
            left = sum(end - at[place] for place, end in ends.items())
            await self._stalled(assignment, f"{left} messages wait and none came for {self._options.stall:g} s")

    async def _stalled(self, assignment: Assignment, why: str) -> None:
        self.remade += 1
        await self._abandon(assignment)
        raise BrokerUnavailable(f"Kafka at {self._options.where}, {self._what}: {why}: connecting anew")

    async def _abandon(self, assignment: Assignment) -> None:
        """Let go of a consumer; the next fetch makes a new one."""
        self._assignment = None
        self._stop_committing()
        assignment.close()
        assignment.drop()
        with CancelScope(shield=True):
            await kafka_client.end(assignment.consumer)

    def _stop_committing(self) -> None:
        if self._committer is not None:
            self._committer.cancel()
            self._committer = None

    def __repr__(self) -> str:
        state = "closed" if self._assignment is None else f"{len(self._assignment.shares)} partitions"
        return f"<source of {self._what}: {state}>"
