"""`Confirms`: which publications of a channel the server has taken over, and the runs that wait for it. Pure."""

from collections.abc import Iterable

from engine.brokers.telling import Telling


class Run(Telling):
    """A run of messages on its way, known by their index in it.

    `left` are unconfirmed, the server has not taken the `refused` for now, and the `failures` will never go.
    """

    __slots__ = ("failures", "left", "refused")

    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__()
        self.left = 0
        self.refused: list[int] = []
        self.failures = failures

    @property
    def known(self) -> bool:
        """Whether none is left; those who wait are told too when no more will be heard of it."""
        return not self.left


Publication = tuple[Run, int, str, tuple[str, str], bytes]
"""One message on its way: its place in its run, and its id, route and body, all that a returned one may be told by."""


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
        publication[0].left += 1

    def confirm(self, tag: int, multiple: bool, accepted: bool) -> bool:
        """The server has taken over that publication, with `multiple` all up to it; or it has refused to.

        Returns whether that was the last of a run.
        """
        last = False
        tags: Iterable[int] = (tag,)
        if multiple:
            # Nought stands for all there are.
            tags = range(self._lowest, min(tag or self._next, self._next - 1) + 1)
            self._lowest = max(self._lowest, tags.stop)
        for each in tags:
            found = self._waiting.pop(each, None)
            if found is not None:
                run = found[0]
                run.left -= 1
                if not accepted:
                    run.refused.append(found[1])
                if not run.left:
                    last = True
                    run.tell()
        return last

    def end(self) -> None:
        """No more will be confirmed: the channel is lost."""
        for run in {publication[0] for publication in self._waiting.values()}:
            run.tell()

    def give_back(self, id: str | None, route: tuple[str, str], body: bytes, error: Exception) -> None:
        """That message has nowhere to go. Should several look the same, all are refused: rather twice than never."""
        for run, at, *known in self._waiting.values():
            if known == [id, route, body]:
                run.failures[at] = error
