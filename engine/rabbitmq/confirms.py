"""`Confirms`: which publications of a channel the server has taken over, and the runs that wait for it. Pure."""

from collections.abc import Iterable
from typing import NamedTuple


class Run:
    """A run of messages on its way, known by their index in it.

    `left` are unconfirmed, the server has not taken the `refused` for now, and the `failures` will never go.
    """

    __slots__ = ("failures", "left", "refused")

    def __init__(self, failures: dict[int, Exception]) -> None:
        self.left = 0
        self.refused: list[int] = []
        self.failures = failures


class Publication(NamedTuple):
    """One message on its way, and all that a returned message may be told by."""

    run: Run
    at: int
    id: str
    route: tuple[str, str]
    body: bytes


class Confirms:
    """Numbers publications as the server does, from 1 in each channel, and notes what becomes of them."""

    __slots__ = ("_lowest", "_next", "_waiting")

    def __init__(self) -> None:
        self._next = 1
        self._lowest = 1
        """What is below has been confirmed by a frame that stood for many."""
        self._waiting: dict[int, Publication] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, publication: Publication) -> None:
        """It is sent, after all others."""
        self._waiting[self._next] = publication
        self._next += 1
        publication.run.left += 1

    def confirm(self, tag: int, multiple: bool, accepted: bool) -> None:
        """The server has taken over that publication, with `multiple` all up to it; or it has refused to."""
        tags: Iterable[int] = (tag,)
        if multiple:
            # Nought stands for all there are.
            tags = range(self._lowest, min(tag or self._next, self._next - 1) + 1)
            self._lowest = max(self._lowest, tags.stop)
        for each in tags:
            found = self._waiting.pop(each, None)
            if found is not None:
                found.run.left -= 1
                if not accepted:
                    found.run.refused.append(found.at)

    def give_back(self, id: str | None, route: tuple[str, str], body: bytes, error: Exception) -> None:
        """That message has nowhere to go. Should several look the same, all are refused: rather twice than never."""
        for each in self._waiting.values():
            if each.id == id and each.route == route and each.body == body:
                each.run.failures[each.at] = error
