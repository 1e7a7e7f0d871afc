"""Waiting for what is out of reach: without end, longer each time, never counted as a failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from logging import ERROR, WARNING, Logger, LoggerAdapter
from random import random
from typing import Any, TypeVar

from anyio import fail_after

from actors.clock import Clock
from actors.errors import BrokerError, BrokerRefused, BrokerUnavailable
from actors.retry import Retry

T = TypeVar("T")
RECONNECT = Retry(attempts=1, first=0.1, factor=2, cap=8, jitter=0.5)
"""No longer than this, so that within ten seconds of its return a broker has work again."""


class Reach(Enum):
    """What is known of a broker: from the last try, or from asking it while nobody tried anything."""

    UNKNOWN = auto()
    """It has never answered."""
    THERE = auto()
    AWAY = auto()
    SILENT = auto()
    """It did not answer when it was asked, and nobody has used it since."""


@dataclass(slots=True)
class Link:
    """The state of one connection to a broker, and the patience with it."""

    clock: Clock
    logger: "Logger | LoggerAdapter[Any]"
    what: str
    up: Callable[[], bool] | None = None
    """Whether what is awaited has reached the broker by now: with nothing to bring, it does not return to say so."""
    ping: Callable[[], Awaitable[object]] | None = None
    """Returns when the broker has answered that it is there: for when nothing else is asked of it."""
    failures: int = 0
    error: BrokerError | None = None
    """Why it is not connected, as far as the last try told."""
    away: float | None = None
    """Since when, in the clock's seconds; None until the first try fails."""
    reach: Reach = Reach.UNKNOWN
    using: int = 0
    """How many await something of the broker now, or have something on its way there."""

    @property
    def connected(self) -> bool:
        """Whether the broker is within reach, as far as is known."""
        if self.reach is Reach.THERE:
            return True
        return self.failures > 0 and self.reach is not Reach.SILENT and self.up is not None and self.up()

    @property
    def untried(self) -> bool:
        """Whether nobody has tried to reach the broker yet, so that nothing is to be said of it."""
        return self.reach is Reach.UNKNOWN and not self.using and not self.failures

    @property
    def idle(self) -> bool:
        """Whether nobody awaits anything of the broker, so that nobody would notice that it is gone, or back."""
        return self.reach is not Reach.UNKNOWN and not self.using and self.ping is not None

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await `attempt()`, again and again while it raises `BrokerUnavailable` or `BrokerRefused`.

        What was refused has to be mended by somebody, which may happen at any time; until then it is not connected.
        """
        self.using += 1
        if self.reach is Reach.SILENT:
            self.reach = Reach.AWAY
        try:
            while True:
                try:
                    result = await attempt()
                except (BrokerUnavailable, BrokerRefused) as error:
                    await self.wait(error)
                else:
                    self._answered()
                    return result
        finally:
            self.using -= 1

    async def look(self, within: float) -> None:
        """Ask the broker whether it is there, for at most so many seconds; for a link that is `idle`.

        Where somebody has begun to use it meanwhile, that one will know better.
        """
        assert self.ping is not None
        lost: BrokerError | None = None
        try:
            with fail_after(within):
                await self.ping()
        except BrokerError as error:
            lost = error
        except TimeoutError:
            lost = BrokerUnavailable(f"no answer within {within:g} s")
        except Exception as error:
            lost = BrokerError(f"cannot be asked: {error!r}")
        if self.using:
            return
        if lost is not None:
            if self.reach is not Reach.SILENT:
                self.logger.warning("%s: out of reach, while nothing is asked of it: %s", self.what, lost)
            self._failed(lost, Reach.SILENT)
        elif self.reach is not Reach.THERE:
            self.logger.info("%s: within reach again", self.what)
            self._answered()

    def _answered(self) -> None:
        self.reach, self.failures, self.error, self.away = Reach.THERE, 0, None, None

    def _failed(self, error: BrokerError, reach: Reach) -> None:
        self.reach, self.error = reach, error
        self.away = self.clock.now() if self.away is None else self.away
        self.failures = max(1, self.failures)

    async def wait(self, error: BrokerError) -> None:
        """Note what is wrong, and wait as long as the failures so far ask for."""
        self.failures += 1
        self._failed(error, Reach.UNKNOWN if self.reach is Reach.UNKNOWN else Reach.AWAY)
        seconds = RECONNECT.delay(self.failures, random())
        level = ERROR if isinstance(error, BrokerRefused) else WARNING
        self.logger.log(level, "%s: next try in %.1f s: %s", self.what, seconds, error)
        await self.clock.sleep(seconds)
