"""`Offsets`: which offsets of a partition are incomplete, the position to commit, and the map that goes with it. Pure.

Works in runs and any order, after broadway_kafka's `acknowledger.ex`
(https://github.com/dashbitco/broadway_kafka); the map in the commit's metadata after Confluent's parallel consumer.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

LIMIT = 4096
"""Bytes of metadata that a broker takes with a commit, unless its `offset.metadata.max.bytes` says otherwise."""
CROWDED = LIMIT * 3 // 4
"""Bytes of a map from which on nothing new is to be taken."""
_SAFE = CROWDED // 4 * 3 * 8 - 128
"""Offsets between the position and the end that always fit as a bit map, so that no map has to be made to know it."""
_RUNS, _BITS = "h2r", "h2b"


@dataclass(frozen=True, slots=True)
class Map:
    """What a commit's metadata says of the offsets from its position on.

    `incomplete` ones ascend, `complete_to` is one more than the highest complete one. `attempts` says how often an
    incomplete one has been delivered, where that is known and more than never.
    """

    incomplete: Sequence[int] = ()
    complete_to: int = 0
    attempts: Mapping[int, int] = field(default_factory=dict)


class Offsets:
    """The offsets of one partition during one assignment of it.

    The position is the lowest incomplete offset, or one more than the highest complete one; never more than that,
    however far was fetched. An offset that nothing lies at, after compaction or in a transaction's end, is not waited
    for. `metadata` is what was committed with `position`: what it says is complete is not handed out again.
    """

    __slots__ = ("_complete_to", "_held", "_low", "_mapped_to", "_waiting", "attempts", "end")

    def __init__(self, position: int, metadata: str = "") -> None:
        known = decode(metadata, position)
        self.end = position
        """The offset that is expected next: whatever is fetched below it belongs to another log of the same name."""
        self._complete_to = max(position, known.complete_to)
        self._held: set[int] = set()
        self._waiting = set(known.incomplete)
        self.attempts = dict(known.attempts)
        """How often those were delivered that were delivered before."""
        self._mapped_to = max([self._complete_to, *(offset + 1 for offset in known.incomplete[-1:])])
        self._low = position

    @property
    def mapped_to(self) -> int:
        """One more than the last offset that the metadata it began with says anything of; else where it began."""
        return self._mapped_to

    @property
    def held(self) -> int:
        """How many are handed out, and neither complete nor given back."""
        return len(self._held)

    @property
    def position(self) -> int:
        """What to commit. It never goes back."""
        lowest = min(self._held, default=None)
        if self._waiting:
            least = min(self._waiting)
            lowest = least if lowest is None else min(lowest, least)
        self._low = self._complete_to if lowest is None else lowest
        return self._low

    def fetched(self, offsets: Sequence[int]) -> Sequence[int]:
        """Note ascending offsets as handed out, and return them; without those that are complete already."""
        start, self.end = self.end, offsets[-1] + 1
        if start < self._mapped_to:
            mapped = self._mapped_to
            offsets = [offset for offset in offsets if offset >= mapped or offset in self._waiting]
            # What the map waits for and did not come is not there any more.
            self._waiting = {offset for offset in self._waiting if not start <= offset < self.end}
        self._held.update(offsets)
        return offsets

    def complete(self, offset: int) -> bool:
        """Note one as finished for good; False where it was not handed out, or is finished already."""
        if offset not in self._held:
            return False
        self._held.remove(offset)
        if offset >= self._complete_to:
            self._complete_to = offset + 1
        if self.attempts:
            self.attempts.pop(offset, None)
        return True

    def complete_all(self, offsets: Sequence[int]) -> int:
        """Do for each what `complete` does, and return how many of them it finished."""
        held = self._held
        if self.attempts or not offsets or not held.issuperset(offsets):
            return sum(map(self.complete, offsets))
        before = len(held)
        held.difference_update(offsets)
        self._complete_to = max(self._complete_to, max(offsets) + 1)
        return before - len(held)

    def give_back(self, offset: int) -> bool:
        """Note one as not handed out any more, and to come again; False where it was not handed out."""
        if offset not in self._held:
            return False
        self._held.remove(offset)
        self._waiting.add(offset)
        self.attempts[offset] = self.attempts.get(offset, 0) + 1
        return True

    def again(self, offset: int) -> None:
        """Note one that was given back as handed out once more."""
        self._waiting.remove(offset)
        self._held.add(offset)

    def attempt(self, offset: int) -> int:
        """Which delivery of it this is, from 1."""
        return self.attempts.get(offset, 0) + 1

    def metadata(self, limit: int = LIMIT) -> str:
        """The map to commit with the position, in ASCII; empty where there is nothing to say, or it would be too long.

        The numbers of attempts are left out first.
        """
        incomplete = sorted(self._held | self._waiting)
        if not incomplete:
            return ""
        text = self._map(incomplete)
        counts = (self.attempts.get(each, 0) + (each in self._held) for each in incomplete)
        counted = f"{text}:{_text(_varints(_repeated(counts)))}"
        return counted if len(counted) <= limit else text if len(text) <= limit else ""

    @property
    def crowded(self) -> bool:
        """Whether the map is so long that nothing new is to be taken until something old is complete."""
        if self.end - self._low <= _SAFE or self.end - self.position <= _SAFE:
            return False
        incomplete = sorted(self._held | self._waiting)
        return bool(incomplete) and len(self._map(incomplete)) > CROWDED

    def _map(self, incomplete: Sequence[int]) -> str:
        """The map as runs or as bits, whichever is shorter."""
        position, end = incomplete[0], max(self._complete_to, incomplete[-1] + 1)
        runs = f"{_RUNS}:{position:x}:{_text(_varints(_runs(position, incomplete, end)))}"
        if (end - position) // 6 >= len(runs):
            return runs
        return min(runs, f"{_BITS}:{position:x}:{_text(_bits(position, incomplete, end))}", key=len)

    def __repr__(self) -> str:
        return f"<Offsets: position {self.position}, {len(self._held)} held, {len(self._waiting)} waiting>"


def decode(metadata: str, position: int) -> Map:
    """Read what was committed with `position`; anything else than a map of ours for that position says nothing."""
    kind, _, rest = metadata.partition(":")
    at, _, rest = rest.partition(":")
    text, _, counted = rest.partition(":")
    if at != f"{position:x}":  # written by somebody else, or carried to another position by one
        return Map()
    try:
        if kind == _RUNS:
            known = _of_runs(list(_numbers(b64decode(text, validate=True))), position)
        elif kind == _BITS:
            known = _of_bits(b64decode(text, validate=True), position)
        else:
            return Map()
        counts = _expanded(list(_numbers(b64decode(counted, validate=True))), len(known.incomplete))
    except (NotBase64, ValueError, IndexError):
        return Map()
    attempts = {offset: count for offset, count in zip(known.incomplete, counts, strict=False) if count}
    return Map(known.incomplete, known.complete_to, attempts)


def _runs(position: int, incomplete: Sequence[int], end: int) -> Iterator[int]:
    """Lengths of runs of incomplete and complete offsets in turn, the first incomplete."""
    start = previous = position - 1
    for offset in incomplete:
        if offset != previous + 1:
            yield previous - start
            yield offset - previous - 1
            start = offset - 1
        previous = offset
    yield previous - start
    if end > previous + 1:
        yield end - previous - 1


def _of_runs(lengths: Sequence[int], position: int) -> Map:
    incomplete: list[int] = []
    complete_to = at = position
    for number, length in enumerate(lengths):
        if number % 2 == 0:
            if length > LIMIT * 64:  # no engine holds as many: not ours, or damaged
                raise ValueError(length)
            incomplete.extend(range(at, at + length))
        at += length
        if number % 2:
            complete_to = at
    return Map(incomplete, complete_to)


def _bits(position: int, incomplete: Iterable[int], end: int) -> bytes:
    """How many bits at the end mean nothing, and then a bit for each offset, set where it is complete."""
    bits = bytearray(b"\xff") * ((end - position + 7) // 8)
    for offset in incomplete:
        at = offset - position
        bits[at >> 3] ^= 1 << (at & 7)
    return bytes([len(bits) * 8 - (end - position)]) + bytes(bits)


def _of_bits(data: bytes, position: int) -> Map:
    span = (len(data) - 1) * 8 - data[0]
    complete = [bool(data[1 + (at >> 3)] >> (at & 7) & 1) for at in range(span)]
    incomplete = [position + at for at in range(span) if not complete[at]]
    complete_to = next((position + at + 1 for at in range(span - 1, -1, -1) if complete[at]), position)
    return Map(incomplete, complete_to)


def _repeated(counts: Iterable[int]) -> Iterator[int]:
    """Pairs of a number and how often it follows itself, flat."""
    current, times = -1, 0
    for count in counts:
        if count != current:
            if times:
                yield from (current, times)
            current, times = count, 0
        times += 1
    yield from (current, times)


def _expanded(pairs: Sequence[int], most: int) -> list[int]:
    counts: list[int] = []
    for count, times in zip(pairs[::2], pairs[1::2], strict=True):
        counts.extend([count] * min(times, most - len(counts)))
    return counts


def _varints(numbers: Iterable[int]) -> bytes:
    """Seven bits a byte, the lowest first, the eighth set on all but the last byte of a number."""
    made = bytearray()
    for number in numbers:
        while number > 127:
            made.append(number & 127 | 128)
            number >>= 7
        made.append(number)
    return bytes(made)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("cut off")


def _text(data: bytes) -> str:
    return b64encode(data).decode()
