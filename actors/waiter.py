"""`Waiter`: a place in a line of tasks that wait for messages, or for room."""

from anyio import Event


class Waiter:
    """A place in a line; woken as often as needed."""

    __slots__ = ("event", "woken")

    def __init__(self) -> None:
        self.event = Event()
        self.woken = False

    def wake(self) -> None:
        """Have it look whether there is something for it; once, however often it is called before it has."""
        if not self.woken:
            self.woken = True
            self.event.set()

    async def wait(self) -> None:
        """Wait to be woken, which says no more than that there may be something."""
        await self.event.wait()
        self.event = Event()
        self.woken = False
