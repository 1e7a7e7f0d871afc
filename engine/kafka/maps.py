"""`Map`: what a commit's metadata says of the offsets above its position, and how that is written. Pure.

After Confluent's parallel consumer, which has such a map in the metadata, too.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

LIMIT = 4096
"""Bytes of metadata that a broker takes with a commit, unless its `offset.metadata.max.bytes` says otherwise."""
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


def encode(incomplete: Sequence[int], complete_to: int) -> str:
    """A map of ascending offsets, of which there is at least one: as runs or as bits, whichever is shorter."""
    position, end = incomplete[0], max(complete_to, incomplete[-1] + 1)
    runs = f"{_RUNS}:{position:x}:{_text(_varints(_runs(position, incomplete, end)))}"
    if (end - position) // 6 >= len(runs):
        return runs
    return min(runs, f"{_BITS}:{position:x}:{_text(_bits(position, incomplete, end))}", key=len)


def with_attempts(text: str, counts: Iterable[int]) -> str:
    """The same map, with how often each of the incomplete offsets was delivered."""
    return f"{text}:{_text(_varints(_repeated(counts)))}"


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
