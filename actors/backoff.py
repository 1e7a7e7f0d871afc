"""Waiting for what is out of reach: without end, longer each time, never counted as a failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from logging import Logger, LoggerAdapter
from random import random
from typing import Any, TypeVar

from actors.clock import Clock
from actors.errors import BrokerUnavailable
from actors.retry import Retry

T = TypeVar("T")
RECONNECT = Retry(attempts=1, first=0.1, factor=2, cap=15, jitter=0.5)


@dataclass(slots=True)
class Link:
    """The state of one connection to a broker, and the patience with it."""

    clock: Clock
    logger: "Logger | LoggerAdapter[Any]"
    what: str
    connected: bool = False
    failures: int = 0

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await `attempt()`, again and again while it raises `BrokerUnavailable`."""
        while True:
            try:
                result = await attempt()
            except BrokerUnavailable as error:
                await self.wait(error)
            else:
                self.connected, self.failures = True, 0
                return result

    async def wait(self, error: BrokerUnavailable) -> None:
        """Note that the broker is gone, and wait as long as its failures so far ask for."""
        self.connected = False
        self.failures += 1
        seconds = RECONNECT.delay(self.failures, random())
        self.logger.warning("%s: broker unavailable, next try in %.1f s: %s", self.what, seconds, error)
        await self.clock.sleep(seconds)
