"""`Turn`: who has kept the event loop for long in this turn of it."""

from anyio.lowlevel import checkpoint


class Turn:
    """A turn of the event loop, as the workers of a stage share it: one slow run, and timers and others have theirs."""

    __slots__ = ("holder",)

    def __init__(self) -> None:
        self.holder: object | None = None
        """Who has kept the event loop for long in this turn."""

    async def pass_on(self, holder: object) -> None:
        """Let this turn end without another run, and whoever is next have the one after it."""
        self.holder = holder
        try:
            await checkpoint()
        finally:
            if self.holder is holder:
                self.holder = None
        await checkpoint()
