"""`Line`: tasks that wait for something shared, first come first served."""

from collections import deque
from types import TracebackType

from anyio import Event


class Place:
    """A place in a line, held while the block lasts; leaving it lets the next one have a look."""

    __slots__ = ("_event", "_line")

    def __init__(self, line: "Line") -> None:
        self._line = line
        self._event = Event()

    def __enter__(self) -> "Place":
        self._line.places.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.places.remove(self)
        self._line.wake()

    @property
    def first(self) -> bool:
        """Whether it is this one's turn."""
        return self._line.places[0] is self

    async def wait(self) -> None:
        """Wait to be woken, which says no more than that there may be something."""
        await self._event.wait()
        self._event = Event()

    def wake(self) -> None:
        """Let it have a look."""
        self._event.set()


class Line:
    """Wakes only whoever is first: no thundering herd, and no wake-up is lost when the first is cancelled."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: deque[Place] = deque()

    def __len__(self) -> int:
        return len(self.places)

    def join(self) -> Place:
        """A place at the end, to be held with `with`."""
        return Place(self)

    def wake(self) -> None:
        """Wake the first."""
        if self.places:
            self.places[0].wake()

    def wake_all(self) -> None:
        """Wake everybody: something has closed."""
        for place in self.places:
            place.wake()
