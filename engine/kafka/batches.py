"""A run cut into batches: one partition each, none longer than is allowed, and in which round each may be sent."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from actors import Message
from engine.kafka.wire import encoded, packed

Headers = Sequence[tuple[str, bytes]]
Partitioner = Callable[[bytes | None, Sequence[int], Sequence[int]], int]
_OVERHEAD = 100
"""Bytes of a record beside key, value and headers, at most."""
_REMEMBERED = 10_000
"""Keys whose partition is remembered: finding it out costs more than all else about a message."""


@dataclass(slots=True)
class Batch:
    """Messages for one partition, by their index in the run; `builder` is aiokafka's.

    Without a builder it is one message, `record`, that lingers for others to come.
    """

    topic: str
    partition: int
    builder: Any = None
    indices: list[int] = field(default_factory=list)
    record: tuple[bytes | None, bytes | None, Headers] = (None, None, ())

    @property
    def shared(self) -> bool:
        """Whether what is refused may be another message than a certain one."""
        return self.builder is None or len(self.indices) > 1


class Spread:
    """How the messages of one topic are spread over its partitions: by key as everywhere, without one by chance.

    Those of one run that have no key stay together.
    """

    __slots__ = ("_all", "_available", "_partitioner", "_remembered", "keyless")

    def __init__(self, partitioner: Partitioner) -> None:
        self._partitioner = partitioner
        self._all: list[int] = []
        self._available: list[int] = []
        self._remembered: dict[bytes, int] = {}
        self.keyless = 0

    def begin(self, partitions: Collection[int], available: Collection[int]) -> None:
        """Prepare for a run, with the partitions that there are now."""
        if len(partitions) != len(self._all):
            self._all = sorted(partitions)
            self._remembered.clear()
        self._available = list(available) or self._all
        self.keyless = self._partitioner(None, self._all, self._available)

    def of(self, key: bytes) -> int:
        """The partition of a key."""
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._partitioner(key, self._all, self._available)
        return found


class Cutter:
    """Cuts runs into batches. `builder` makes an empty batch; no record may have more bytes than `most`.

    With `linger` every message is for itself, and shares a batch with what others publish.
    """

    def __init__(self, builder: Callable[[], Any], most: int, linger: bool = False) -> None:
        self._builder = builder
        self._most = most
        self._linger = linger

    def cut(
        self, run: Sequence[Message], spreads: Mapping[str, Spread], failures: dict[int, Exception]
    ) -> list[list[Batch]]:
        """The batches, by rounds: those of one partition go one after the other, which keeps their order.

        Messages of topics that are not in `spreads` are left out; those that no wire could carry are told in
        `failures`.
        """
        lanes: dict[tuple[str, int], list[Batch]] = {}
        lingering: list[Batch] = []
        for index, message in enumerate(run):
            topic = message.destination
            spread = spreads.get(topic)
            if spread is None:
                continue
            try:
                key, headers = self._checked(message)
                partition = spread.keyless if key is None else spread.of(key)
                if self._linger:
                    lingering.append(Batch(topic, partition, None, [index], (key, message.raw, headers)))
                    continue
                lane = lanes.get((topic, partition))
                if lane is None:
                    lane = lanes[topic, partition] = [Batch(topic, partition, self._builder())]
                batch = lane[-1]
                if batch.builder.append(timestamp=None, key=key, value=message.raw, headers=headers) is None:
                    batch = Batch(topic, partition, self._builder())
                    lane.append(batch)
                    batch.builder.append(timestamp=None, key=key, value=message.raw, headers=headers)
                batch.indices.append(index)
            except Exception as error:  # whatever it is, it is the message's own
                failures[index] = error
        if lingering:
            return [lingering]
        return [[batch for batch in row if batch is not None and batch.indices] for row in zip_longest(*lanes.values())]

    def again(self, batch: Batch, run: Sequence[Message]) -> Batch:
        """The same messages in a batch that nobody has sent yet."""
        made = Batch(batch.topic, batch.partition, self._builder(), list(batch.indices))
        for index in batch.indices:
            key, headers = self._checked(run[index])
            made.builder.append(timestamp=None, key=key, value=run[index].raw, headers=headers)
        return made

    def alone(self, batch: Batch, run: Sequence[Message]) -> list[Batch]:
        """The messages of a batch, each in one of its own."""
        return [self.again(Batch(batch.topic, batch.partition, None, [index]), run) for index in batch.indices]

    def _checked(self, message: Message) -> tuple[bytes | None, Headers]:
        key = None if message.key is None else encoded(message.key, "the key")
        headers = packed(message)
        raw = message.raw
        if raw is None:
            if key is None:
                raise ValueError("a tombstone, which has no body, needs a key")
            return key, headers
        size = len(raw) + _OVERHEAD
        if size > self._most // 2:
            size += len(key or b"") + sum(len(name.encode()) + len(value) + 10 for name, value in headers)
            if size > self._most:
                raise ValueError(f"the message has {size} bytes, and the producer takes max_request_size={self._most}")
        return key, headers
