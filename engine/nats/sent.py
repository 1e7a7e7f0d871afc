"""`StreamSent`: a run that is written on one connection, and what becomes of it."""

from collections.abc import Awaitable, Callable, Sequence

from actors import Message, PublishError
from engine.nats.confirms import Again, Run

End = Callable[["StreamSent", bool], None]


class StreamSent:
    """A run on its way to a stream.

    `wait` returns when all of it is confirmed or refused, and raises what `publish` would; `end` is told once when this
    is over, and whether it is known of each message what became of it.
    """

    __slots__ = ("_end", "_over", "_wait", "messages", "run")

    def __init__(self, messages: Sequence[Message], run: Run, wait: Callable[[Run], Awaitable[None]], end: End) -> None:
        self.messages = messages
        self.run = run
        self._wait = wait
        self._end = end
        self._over = False

    def then(self, callback: Callable[[], object]) -> None:
        """Call that when the last of it is confirmed, something is against it, or the connection is gone."""
        self.run.then(callback)

    async def confirmed(self) -> bool:
        """Whether all of it is confirmed; False where it can be published again at once, as after a lost connection.

        Within `timeout` seconds from when it is asked all is known.
        """
        try:
            await self._wait(self.run)
        except Again:
            return False
        finally:
            self.forget()
        if self.run.refused:
            raise PublishError(self.run.refused)
        return True

    def forget(self) -> None:
        """Expect nothing more for it; what is not confirmed may be published again."""
        if not self._over:
            self._over = True
            self._end(self, not self.run.left)
