"""`Beginning`: where a group begins to read a partition of which it has committed nothing."""

from collections.abc import Iterable

from aiokafka import TopicPartition


class Beginning:
    """One source's, for as long as it lives: a consumer that is made anew begins nothing anew.

    `latest` skips what was there before the source was. What appears later has nothing that is older than it, so that
    it is read from its oldest message, however much of it is there when it is noticed. Whether the group has committed
    anything else says nothing of that: at its first start another member may just have done so.
    """

    def __init__(self, start: str) -> None:
        self.latest = start == "latest"
        self._there: frozenset[TopicPartition] | None = None

    def found(self, places: Iterable[TopicPartition]) -> None:
        """Note what is there; the first time counts."""
        if self._there is None:
            self._there = frozenset(places)

    def skips(self, place: TopicPartition) -> bool:
        """Whether what is in a partition by now is nothing to this group."""
        return self.latest and self._there is not None and place in self._there
