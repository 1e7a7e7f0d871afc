"""`Confirms`: which publications of a channel the server has taken over, and the runs that wait for it. Pure."""

from collections.abc import Iterable


class Run:
    """A run of messages on its way: how many are unconfirmed, and which were refused, by their index in it."""

    __slots__ = ("failures", "left")

    def __init__(self) -> None:
        self.left = 0
        self.failures: dict[int, Exception] = {}


class Confirms:
    """Numbers publications as the server does, from 1 for each channel, and notes what becomes of them."""

    __slots__ = ("_lowest", "_next", "_runs")

    def __init__(self) -> None:
        self._next = 1
        self._lowest = 1
        self._runs: dict[int, tuple[Run, int]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run, index: int) -> None:
        """The message at that index of the run was published, after all others."""
        self._runs[self._next] = run, index
        self._next += 1
        run.left += 1

    def confirm(self, tag: int, multiple: bool, error: Exception | None) -> None:
        """The server has taken over that publication, or with `multiple` all up to it; or with an error refused to."""
        tags: Iterable[int] = (tag,)
        if multiple:
            tags = range(self._lowest, min(tag, self._next - 1) + 1)
            self._lowest = max(self._lowest, tag + 1)
        for each in tags:
            found = self._runs.pop(each, None)
            if found is not None:
                run, index = found
                run.left -= 1
                if error is not None:
                    run.failures.setdefault(index, error)

    def waiting(self) -> Iterable[tuple[Run, int]]:
        """The runs and indices of what is unconfirmed, in the order it was published."""
        return self._runs.values()
