"""`Arrivals`: what has come to a source and was not fetched; what was called back is waited for, and comes in order."""

import asyncio
from collections import deque

from actors import Message
from engine.nats.spared import sequence


class Arrivals:
    """Of one source. `news` is set when something is there to be fetched, or is to be asked for."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: deque[Message] = deque()
        self._gathering: asyncio.TimerHandle | None = None
        """When what was called back is no longer waited for."""
        self.called_back = 0
        """Messages that were called back and have not come yet."""
        self.news = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether some may be fetched."""
        return bool(self._waiting) and self._gathering is None

    @property
    def gathering(self) -> bool:
        """Whether what was called back is waited for."""
        return self._gathering is not None

    def gather(self, count: int) -> None:
        """Hand nothing out until so many have come that were called back, or for `patience`; then in their order."""
        self._ungather()
        self.called_back = count
        if count:
            self._gathering = asyncio.get_running_loop().call_later(self._patience, self._ungather)

    def _ungather(self) -> None:
        if self._gathering is None:
            return
        self._gathering.cancel()
        self._gathering = None
        self.called_back = 0  # what has not come by now is asked for no longer
        self._waiting = deque(sorted(self._waiting, key=sequence))
        self.news.set()

    def came(self, message: Message, more: bool) -> None:
        """Take one; `more` says whether what was asked for has not all come."""
        self._waiting.append(message)
        if self._gathering is None:
            self.news.set()
            return
        if message.attempt > 1:
            self.called_back -= 1
            if self.called_back <= 0:
                self._ungather()
        if not more:
            self.news.set()

    def fetch(self, limit: int) -> list[Message]:
        """So many of them, or all."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(limit, len(waiting)))]

    def clear(self) -> list[Message]:
        """Have none any more; those that there were."""
        self.gather(0)
        run = list(self._waiting)
        self._waiting.clear()
        return run
