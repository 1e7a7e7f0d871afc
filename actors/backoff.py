"""Waiting for what is out of reach: without end, longer each time, never counted as a failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from logging import ERROR, WARNING, Logger, LoggerAdapter
from random import random
from typing import Any, TypeVar

from actors.clock import Clock
from actors.errors import BrokerError, BrokerRefused, BrokerUnavailable
from actors.retry import Retry

T = TypeVar("T")
RECONNECT = Retry(attempts=1, first=0.1, factor=2, cap=8, jitter=0.5)
"""No longer than this, so that within ten seconds of its return a broker has work again."""


@dataclass(slots=True)
class Link:
    """The state of one connection to a broker, and the patience with it."""

    clock: Clock
    logger: "Logger | LoggerAdapter[Any]"
    what: str
    up: Callable[[], bool] | None = None
    """Whether what is awaited has reached the broker by now: with nothing to bring, it does not return to say so."""
    failures: int = 0
    error: BrokerError | None = None
    """Why it is not connected, as far as the last try told."""
    away: float | None = None
    """Since when, in the clock's seconds; None until the first try fails."""
    _succeeded: bool = False

    @property
    def connected(self) -> bool:
        """Whether the broker is within reach, as far as is known."""
        return self._succeeded or (self.failures > 0 and self.up is not None and self.up())

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await `attempt()`, again and again while it raises `BrokerUnavailable` or `BrokerRefused`.

        What was refused has to be mended by somebody, which may happen at any time; until then it is not connected.
        """
        while True:
            try:
                result = await attempt()
            except (BrokerUnavailable, BrokerRefused) as error:
                await self.wait(error)
            else:
                self._succeeded, self.failures, self.error, self.away = True, 0, None, None
                return result

    async def wait(self, error: BrokerError) -> None:
        """Note what is wrong, and wait as long as the failures so far ask for."""
        self._succeeded, self.error = False, error
        self.away = self.clock.now() if self.away is None else self.away
        self.failures += 1
        seconds = RECONNECT.delay(self.failures, random())
        level = ERROR if isinstance(error, BrokerRefused) else WARNING
        self.logger.log(level, "%s: next try in %.1f s: %s", self.what, seconds, error)
        await self.clock.sleep(seconds)
