"""`Scene`: one run as a fault sees it: the server, the proxy, the engines, and how far the messages have come."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

from tests.faults.engines import Engines
from tests.faults.oracle import Plan
from tests.faults.places import Place
from tests.servers.proxy import Proxy

LOOK = 0.05
"""Seconds between two looks at the destination."""
STUCK = 90.0
"""Seconds without anything new at the destination after which a fault no longer waits for its moment."""


class Stuck(Exception):
    """Nothing arrives any more."""


class Scene:
    """The stage of one run. `made` counts the faults that were made."""

    def __init__(self, place: Place, server: Any, proxy: Proxy | None, engines: Engines, plan: Plan) -> None:
        self.place = place
        self.server: Any = server
        self._proxy = proxy
        self.engines = engines
        self.plan = plan
        self.chance = Random(f"faults {plan.seed}")
        self.made: Counter[str] = Counter()
        self.claimed: set[int] = set()
        self.owed: set[int] = set()
        self.count = 0
        """How many are at the destination, as far as was seen."""
        self.grown: list[tuple[float, int]] = []
        """When it was seen to have grown, and to what."""
        self.recovering: list[tuple[float, int]] = []
        """When something that had been broken was well again, and how many were at the destination then."""
        self.over = False
        """Whether nobody need look any more."""
        self.through: float | None = None
        """When all that was owed had been found; later arrivals are not among what stalls are measured by."""
        self.began = time.monotonic()
        self.again = 0
        """Messages that the producer has published again, because it did not hear of them."""

    @property
    def proxy(self) -> Proxy:
        """What stands between the engine and the server."""
        assert self._proxy is not None, "this fault is not proxied=True"
        return self._proxy

    async def well(self) -> None:
        """Note that from now on nothing is in the way any more: the time to recover begins."""
        since = time.monotonic()
        while True:
            try:
                await self._look()
            except Exception:
                await asyncio.sleep(LOOK)
            else:
                break
        self.recovering.append((since, self.count))

    async def until(self, share: float) -> None:
        """Wait until that share of all messages is at the destination."""
        least = share * self.plan.messages
        while self.count < least:
            last = self.grown[-1][0] if self.grown else self.began
            if time.monotonic() - last > STUCK:
                raise Stuck(f"nothing has arrived for {STUCK:g} s; {self.count} of {self.plan.messages} have")
            await asyncio.sleep(LOOK / 5)

    async def growing(self) -> None:
        """Wait until something new is at the destination."""
        before = self.count
        until = time.monotonic() + STUCK
        while self.count <= before and self.count < self.plan.messages * 0.98:
            if time.monotonic() > until:
                raise Stuck(f"nothing has arrived for {STUCK:g} s; {self.count} of {self.plan.messages} have")
            await asyncio.sleep(LOOK / 5)

    async def happened(self, has: Callable[[], bool], within: float = 30.0) -> None:
        """Wait until something has happened; `Stuck` when it does not."""
        until = time.monotonic() + within
        while not has():
            if time.monotonic() > until:
                raise Stuck(f"what a fault waits for has not happened within {within:g} s")
            await asyncio.sleep(LOOK / 5)

    # -- what goes on beside the faults --------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look how many are at the destination, again and again."""
        self.began = time.monotonic()
        while not self.over:  # a client may swallow what cancels this
            with suppress(Exception):
                await self._look()
            await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        async with asyncio.timeout(2):
            count = await self.place.count()
        if count > self.count:
            self.count = count
            self.grown.append((time.monotonic(), count))

    async def produce(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Publish all messages in order, spread over that time; each run of one message a key until it is confirmed.

        The next message of a key is published when the one before it is confirmed, so that the order at the source is
        that of the ids whatever has to be published again.
        """
        plan, began = self.plan, time.monotonic()
        for start in range(0, plan.messages, plan.keys):
            if enough():
                return
            run = range(start, min(start + plan.keys, plan.messages))
            await self.insist(run)
            ahead = began + seconds * run.stop / plan.messages - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)

    async def insist(self, run: range) -> None:
        """Publish a run until the broker has confirmed it."""
        plan = self.plan
        bodies = [(plan.key(number), plan.body(number)) for number in run]
        self.claimed.update(run)
        while True:
            try:
                async with asyncio.timeout(30):
                    await self.place.publish(bodies)
            except Exception:
                self.again += len(run)
                await asyncio.sleep(0.1)
            else:
                self.owed.update(run)
                return

    # -- what is to be told --------------------------------------------------------------------------------------

    def recovery(self) -> float | None:
        """The longest time from when all was well to when something arrived; None if nothing was to recover."""
        times = [
            next((when - since for when, count in self.grown if count > before), 0.0)
            for since, before in self.recovering
        ]
        return max(times, default=None)

    def stall(self) -> float:
        """The longest time between two arrivals."""
        moments = [when for when, _ in self.grown if self.through is None or when <= self.through]
        return max((after - before for before, after in pairwise(moments)), default=0.0)
