"""`Share`: one partition during one assignment of it, and the messages that are made of its records."""

from collections.abc import Sequence
from logging import getLogger
from typing import Any

from aiokafka import TopicPartition

from actors import Message, delivered
from engine.kafka.maps import LIMIT
from engine.kafka.offsets import Offsets
from engine.kafka.wire import Fetched, Record, text, unpacked

logger = getLogger("headrace.kafka")
_new = Fetched.__new__


class Share:
    """What a source has of a partition until it has to give it away: which offsets it hands out, and what is done.

    A message knows its share, so that one that is settled later, when the share is void, is told from the one that
    took its place.
    """

    __slots__ = ("committed", "ended_at", "known", "offsets", "place", "seen_to", "touched", "void")

    def __init__(self, place: TopicPartition, position: int, metadata: str = "", *, committed: bool = True) -> None:
        self.place = place
        self.offsets = Offsets(position, metadata)
        self.committed = (position, metadata) if committed else None
        """Position and metadata, as the broker has them."""
        self.touched = not committed
        """Whether something may have to be committed."""
        self.known = False
        """Whether it has been asked for messages, so that it is known how many are left."""
        self.ended_at = position
        """Where the partition ended when it was loaded."""
        self.seen_to = position
        """Where the consumer is: past its last record, and past what is no record."""
        self.void = False

    def take(self, records: Sequence[Record]) -> list[Message]:
        """Messages of those records that are not done already."""
        offsets = [record.offset for record in records]
        wanted = self.offsets.fetched(offsets)
        self.touched = self.known = True
        self.seen_to = self.offsets.end
        if len(wanted) < len(offsets):
            kept = set(wanted)
            records = [record for record in records if record.offset in kept]
        return self.messages(records)

    def messages(self, records: Sequence[Record]) -> list[Message]:
        """Records as messages."""
        made: list[Message] = []
        attempts = self.offsets.attempts
        for record in records:
            origin: Any = _new(Fetched)
            origin.read = record
            origin.share = self
            key, headers, reply_to = record.key, record.headers, None
            named: dict[str, str | bytes] = {}
            if headers:
                named, reply_to = unpacked(headers)
            attempt = attempts.get(record.offset, 0) + 1 if attempts else 1
            made.append(delivered(record.value, None if key is None else text(key), named, origin, attempt, reply_to))
        return made

    def told(self, limit: int = LIMIT) -> tuple[int, str]:
        """Position and metadata to commit."""
        return self.offsets.position, self.offsets.metadata(limit)

    def __repr__(self) -> str:
        return f"<Share of {self.place.topic}/{self.place.partition}: {self.offsets!r}{', void' if self.void else ''}>"


def committed_share(place: TopicPartition, position: int, metadata: str | None, oldest: int, end: int) -> Share:
    """A partition from where its group has got to, as far as that can be believed; whatever cannot is said loudly."""
    where = f"{place.topic}/{place.partition}"
    if not 0 <= position <= end:
        told = (
            "%s: its group's position is %d, and it has %d to %d: somebody has moved it, or the topic was made anew; "
        )
        logger.warning(
            told + "it is read from its oldest message, so that some may come again", where, position, oldest, end
        )
        return Share(place, oldest, committed=False)
    if position < oldest:
        told = "%s: %d messages, from %d on, were removed from the topic before they were read (see its retention)"
        logger.warning(told, where, oldest - position, position)
    share = Share(place, position, metadata or "")
    if metadata and (share.offsets.mapped_to <= position or share.offsets.mapped_to > end):
        told = "%s: what stands beside its group's position %d was not written here, or for another position: %.60r; "
        logger.warning(told + "it is ignored: some messages may come again", where, position, metadata)
        return Share(place, position, committed=False)
    return share
