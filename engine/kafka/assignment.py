"""`Assignment`: the partitions that one consumer has, what of them is done, and how they are given away again."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush
from logging import getLogger
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from actors import BrokerError, Message
from engine.kafka.beginning import Beginning
from engine.kafka.commits import Commits
from engine.kafka.errors import mapped
from engine.kafka.options import KafkaOptions
from engine.kafka.share import Share, committed_share
from engine.kafka.wire import Fetched, Record

logger = getLogger("headrace.kafka")


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """What one consumer holds. A rebalance voids all of it, and what comes of the same partitions then is new."""

    def __init__(self, consumer: AIOKafkaConsumer, options: KafkaOptions, beginning: Beginning, what: str) -> None:
        self.consumer = consumer
        self.options = options
        self.beginning = beginning
        self.what = what
        self.shares: dict[TopicPartition, Share] = {}
        self.fresh: set[TopicPartition] = set()
        """Assigned, and not loaded."""
        self.assigned = asyncio.Event()
        """Set at the first assignment, which may be of nothing."""
        self.leaving = False
        """Whether it is about to lose its partitions: nothing more is handed out."""
        self._closing = False
        self._back: list[tuple[TopicPartition, int, Record]] = []
        self._ahead: deque[tuple[TopicPartition, Sequence[Record]]] = deque()
        """What was read before there was room for it. It is noted nowhere: what is dropped is read again."""
        self.paused: set[TopicPartition] = set()
        """Those of which nothing new is taken, because the map of what is done above something old grows too long."""
        self._settled = asyncio.Event()
        self.commits = Commits(consumer, options, what, self.shares)

    # -- told by the consumer ------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let what is in hand be finished, commit, and forget the rest: others, or this consumer again, will get it."""
        self.leaving = True
        try:
            async with asyncio.timeout(self.options.revoke_drain):
                while self._held() and not self._closing:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            logger.info("%s: %d messages were not done in time and will come again", self.what, self._held())
        if not self._closing:
            try:
                await self.commits.commit()
            except BrokerError as error:
                logger.warning("not committed before giving partitions away: %s", error)
            self.drop()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Note what is to be loaded."""
        self.drop()
        self.fresh = set(assigned)
        self.leaving = False
        self.assigned.set()

    # -- positions -----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Find out where to go on in the new partitions, and go there."""
        fresh = self.fresh
        places = sorted(fresh)
        self.beginning.found(fresh | self._subscribed())
        with mapped(self.options, self.what):
            async with asyncio.timeout(self.options.request_timeout):
                # The consumer's own `committed` leaves the metadata out.
                committed = await self.consumer._coordinator.fetch_committed_offsets(places)
                ends = await self.consumer.end_offsets(places) if places else {}
                oldest = await self.consumer.beginning_offsets(places) if places else {}
        if self.fresh is not fresh or not fresh <= self.consumer.assignment():
            return  # they are being given to others, or this consumer, anew
        for place in places:
            if place in committed:
                offset, metadata = committed[place]
                share = committed_share(place, offset, metadata, oldest[place], ends[place])
            else:
                # Where it started is committed too: `latest` would be somewhere else after a crash.
                first = ends[place] if self.beginning.skips(place) else oldest[place]
                share = Share(place, first, committed=not self.beginning.latest)
            share.known = ends[place] > share.seen_to
            share.ended_at = ends[place]
            self.consumer.seek(place, share.offsets.end)
            self.shares[place] = share
        self.fresh = set()
        if self.beginning.latest:
            self.commits.hurry()

    def _subscribed(self) -> set[TopicPartition]:
        """All partitions of all topics that it reads, whoever has them, as far as it has heard."""
        consumer = self.consumer
        return {
            TopicPartition(topic, number)
            for topic in consumer.subscription()
            for number in consumer.partitions_for_topic(topic) or ()
        }

    def drop(self) -> None:
        """Void all shares: what is settled from now on is forgotten."""
        for share in self.shares.values():
            share.void = True
        self.shares.clear()
        self.fresh = set()
        self._back.clear()
        self._ahead.clear()
        self.paused.clear()

    def pending(self) -> int | None:
        """How many messages are left, as far as the broker was heard; None where that is not far."""
        left, unknown = len(self._back), bool(self.fresh) or not self.shares
        ahead = self._read_to()
        for place, share in self.shares.items():
            end = self._end(place) if place in self.consumer.assignment() else None
            if share.known or place in ahead:
                left += max(0, max(end or 0, share.ended_at, ahead.get(place, 0)) - share.seen_to)
            else:
                unknown = True
        return left or (None if unknown else 0)

    def _end(self, place: TopicPartition) -> int | None:
        stable = self.consumer.last_stable_offset(place)
        end: int | None = self.consumer.highwater(place) if stable in (None, -1) else stable
        return end

    def _read_to(self) -> dict[TopicPartition, int]:
        """Where what is read ahead ends, of those partitions of which there is any."""
        return {place: records[-1].offset + 1 for place, records in self._ahead}

    def seen_to(self, at: Mapping[TopicPartition, int]) -> None:
        """Note how far the consumer is, and that it has nothing more: where nothing waits that it was past already."""
        ahead = self._read_to()
        for place, position in at.items():
            if place not in ahead and (share := self.shares.get(place)) is not None:
                share.known, share.seen_to = True, position

    # -- messages ------------------------------------------------------------------------------------------------

    def read(self, found: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Keep what a poll brought, to be taken. What is not loaded yet is left: its loading goes back there."""
        self._ahead.extend((place, records) for place, records in found.items() if place in self.shares)

    def take(self, limit: int) -> list[Message]:
        """At most so many messages of what was read, in its order; of those that are paused none."""
        run: list[Message] = []
        ahead, resting = self._ahead, []
        while ahead and (room := limit - len(run)) > 0:
            place, records = ahead.popleft()
            if place in self.paused:
                resting.append((place, records))
                continue
            if len(records) > room:
                ahead.appendleft((place, records[room:]))
                records = records[:room]
            share = self.shares[place]
            if records[0].offset < share.offsets.end:
                logger.warning("%s/%d begins anew: it was made anew, or lost its end", *place)
                share = self._begin_anew(share, records[0].offset)
            run += share.take(records)
            if share.offsets.crowded and place in self.consumer.assignment():
                self.consumer.pause(place)
                self.paused.add(place)
        ahead.extendleft(reversed(resting))
        return run

    def _begin_anew(self, share: Share, position: int) -> Share:
        share.void = True
        self._back = [each for each in self._back if each[0] != share.place]
        heapify(self._back)
        made = self.shares[share.place] = Share(share.place, position, committed=False)
        return made

    def again(self, limit: int) -> list[Message]:
        """What was given back, lowest offsets first."""
        run: list[Message] = []
        while self._back and len(run) < limit and not self.leaving:
            place, offset, record = heappop(self._back)
            share = self.shares[place]
            share.offsets.again(offset)
            share.touched = True
            run += share.messages([record])
        return run

    def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> bool:
        """Note what is finished, and what is to come again; of void shares nothing. Returns whether there is more now.

        That is what was given back, or was read of a partition that rested.
        """
        finished = 0
        for share, offsets in _by_share(done).items():
            if not share.void:
                finished += share.offsets.complete_all(offsets)
                share.touched = True
        for message in returned:
            origin: Any = message.origin
            if type(origin) is Fetched and not (share := origin.share).void:
                record = origin.read
                if share.offsets.give_back(record.offset):
                    share.touched = True
                    heappush(self._back, (share.place, record.offset, record))
        self._settled.set()
        resumed = bool(self.paused) and self._resume()
        self.commits.done(finished)
        return resumed or bool(returned)

    def _resume(self) -> bool:
        places = [place for place in self.paused if not self.shares[place].offsets.crowded]
        for place in places:
            self.paused.discard(place)
            if place in self.consumer.assignment():
                self.consumer.resume(place)
        return bool(places)

    def _held(self) -> int:
        return sum(share.offsets.held for share in self.shares.values())

    def close(self) -> None:
        """Do not wait for anything in hand any more."""
        self._closing = True
        self._settled.set()


def _by_share(run: Sequence[Message]) -> dict[Share, list[int]]:
    """The offsets of a run, by where they belong to."""
    found: dict[Share, list[int]] = {}
    last: Share | None = None
    offsets: list[int] = []
    for message in run:
        origin: Any = message.origin
        if type(origin) is Fetched:
            if origin.share is not last:
                last = origin.share
                offsets = found.setdefault(last, [])
            offsets.append(origin.read.offset)
    return found
