"""`Offsets`: which offsets of a partition are incomplete, the position to commit, and what goes with it. Pure.

Works in runs and any order, after broadway_kafka's `acknowledger.ex` (https://github.com/dashbitco/broadway_kafka).
"""

from collections.abc import Sequence

from engine.kafka.maps import LIMIT, decode, encode, with_attempts

CROWDED = LIMIT * 3 // 4
"""Bytes of a map from which on nothing new is to be taken."""
_SAFE = CROWDED // 4 * 3 * 8 - 128
"""Offsets between the position and the end that always fit as a bit map, so that no map has to be made to know it."""


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
        text = encode(incomplete, self._complete_to)
        counts = (self.attempts.get(each, 0) + (each in self._held) for each in incomplete)
        counted = with_attempts(text, counts)
        return counted if len(counted) <= limit else text if len(text) <= limit else ""

    @property
    def crowded(self) -> bool:
        """Whether the map is so long that nothing new is to be taken until something old is complete."""
        if self.end - self._low <= _SAFE or self.end - self.position <= _SAFE:
            return False
        incomplete = sorted(self._held | self._waiting)
        return bool(incomplete) and len(encode(incomplete, self._complete_to)) > CROWDED

    def __repr__(self) -> str:
        return f"<Offsets: position {self.position}, {len(self._held)} held, {len(self._waiting)} waiting>"
