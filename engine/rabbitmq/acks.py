"""`Unsettled`: which deliveries of a channel are not acknowledged, and the fewest frames that settle some. Pure."""

import sys
from bisect import bisect_left
from collections.abc import Iterable


class Unsettled:
    """Delivery tags of one channel, from when they come until they are acknowledged. They die with the channel."""

    __slots__ = ("_tags",)

    def __init__(self) -> None:
        self._tags: dict[int, None] = {}
        """Ascending: they are delivered in that order."""

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def add(self, tag: int) -> None:
        """It has come, after all others."""
        self._tags[tag] = None

    def settle(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """Settle these; return the acknowledgements to send: a tag, and whether it stands for all below it too.

        What is settled already is forgotten: the server would close the channel over it. For the same reason only
        tags that are settled now are named, also where one stands for many.
        """
        settled = sorted(self._tags.keys() & set(tags))
        for tag in settled:
            del self._tags[tag]
        lowest = next(iter(self._tags), sys.maxsize)
        below = bisect_left(settled, lowest)
        multiple = [(settled[below - 1], below > 1)] if below else []
        return multiple + [(tag, False) for tag in settled[below:]]
