"""Latency: `python -m benchmarks.probe TASK` publishes, reads the target at the same time, and says how long it took.

First one message after the other, as they come to an idle pipeline, then at an even pace.
A process of its own, the same for every contender, so that neither its loop nor its collector is the contender's.
Each body carries the moment it was handed to the client; the clock is one for all processes of a machine.
"""

import asyncio
import sys
import time
from contextlib import suppress

from pydantic import BaseModel, Field

from benchmarks.child import end_with_input
from benchmarks.hands import Places, places
from benchmarks.work import body, number_of, sent_at

WARM = 50
"""Messages that go first, one at a time, until the contender answers at once; not measured."""
TICK = 0.005


class Task(BaseModel):
    """What the probe is told: so many messages one after the other, then so many at a pace, in messages a second."""

    broker: str
    url: str
    source: str
    target: str
    idle: int = Field(gt=0)
    paced: int = Field(gt=0)
    pace: float = Field(gt=0)

    @property
    def total(self) -> int:
        """Messages that it sends, those that are not measured among them."""
        return WARM + self.idle + self.paced


class Latency(BaseModel):
    """Seconds from publishing at the source to reading at the target, and messages a second that were really sent."""

    p50: float
    p99: float
    pace: float
    p99s: dict[int, float] = {}
    """By round, where the others are medians over rounds."""

    @property
    def by_round(self) -> dict[int, float]:
        """The p99 of each round; what was taken once is a round of its own."""
        return self.p99s or {0: self.p99}


class Probed(BaseModel):
    """What the probe has found."""

    idle: Latency
    half_load: Latency


class Inbox:
    """What has come to the target so far."""

    def __init__(self) -> None:
        self.took: dict[int, float] = {}
        self.news = asyncio.Event()

    async def follow(self, there: Places, target: str) -> None:
        """Note how long each message took, as it comes."""
        async for run in there.follow(target):
            now = time.monotonic()
            for raw in run:
                self.took.setdefault(number_of(raw), now - sent_at(raw))
            self.news.set()

    async def until(self, count: int) -> None:
        """Wait for so many messages."""
        while len(self.took) < count:
            self.news.clear()
            await self.news.wait()


async def probe(task: Task) -> Probed:
    """Send, read, and measure."""
    alone, paced = range(WARM, WARM + task.idle), range(WARM + task.idle, task.total)
    async with places(task.broker, task.url) as writing, places(task.broker, task.url) as reading:
        inbox = Inbox()
        following = asyncio.create_task(inbox.follow(reading, task.target))
        try:
            await one_by_one(writing, task, inbox, range(WARM))
            began = time.monotonic()
            await one_by_one(writing, task, inbox, alone)
            between = time.monotonic()
            await at_pace(writing, task, paced)
            ended = time.monotonic()
            await inbox.until(task.total)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
    return Probed(
        idle=_latency([inbox.took[number] for number in alone], between - began),
        half_load=_latency([inbox.took[number] for number in paced], ended - between),
    )


def _latency(took: list[float], seconds: float) -> Latency:
    took = sorted(took)
    return Latency(p50=at(took, 0.5), p99=at(took, 0.99), pace=len(took) / seconds)


async def one_by_one(there: Places, task: Task, inbox: Inbox, numbers: range) -> None:
    """Send each message when the one before has come."""
    for number in numbers:
        await there.put(task.source, [body(number, time.monotonic())])
        await inbox.until(number + 1)


async def at_pace(there: Places, task: Task, numbers: range) -> None:
    """Send at an even pace, a few at every tick; the moment of each is that of its tick."""
    began, sent = time.monotonic(), 0
    while sent < len(numbers):
        due = min(len(numbers), int((time.monotonic() - began + TICK) * task.pace))
        if due > sent:
            now = time.monotonic()
            await there.put(task.source, [body(number, now) for number in numbers[sent:due]])
            sent = due
        await asyncio.sleep(TICK)


def at(ordered: list[float], share: float) -> float:
    """The value that this share of an ordered list does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    end_with_input()
    print(asyncio.run(probe(Task.model_validate_json(sys.argv[1]))).model_dump_json(), flush=True)
