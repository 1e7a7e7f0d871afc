"""`StreamSent`: a run that is written on one connection, and what becomes of it."""

from collections.abc import Awaitable, Callable, Sequence

from actors import Message, PublishError
from engine.nats.confirms import Again, Run

End = Callable[["StreamSent", bool], None]


class StreamSent:
    """A run on its way to a stream.

    `wait` returns when all of it is confirmed or refused, and raises what `publish` would; `end` is told once when this
    is over, and whether whoever sent it has been told what became of each message.
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

        Asked, it waits for as long as something of it, or ahead of it, is confirmed every `timeout` seconds.
        """
        known = False
        try:
            await self._wait(self.run)
            known = True
        except Again:
            return False
        finally:
            self._finish(known)
        if self.run.refused:
            raise PublishError(self.run.refused)
        return True

    def forget(self) -> None:
        """Expect nothing more for it. All of it may be published again; what is confirmed by now is left out then."""
        self._finish(False)

    def _finish(self, known: bool) -> None:
        if not self._over:
            self._over = True
            self._end(self, known)
