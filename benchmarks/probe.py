"""Latency: `python -m benchmarks.probe TASK` publishes, reads the target at the same time, and says how long it took.

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
    """What the probe is told. At `pace` 0 it sends a message when the one before has come."""

    broker: str
    url: str
    source: str
    target: str
    count: int = Field(gt=0)
    pace: float = 0.0


class Latency(BaseModel):
    """Seconds from publishing at the source to reading at the target, and messages a second that were really sent."""

    p50: float
    p99: float
    pace: float


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


async def probe(task: Task) -> Latency:
    """Send, read, and measure."""
    async with places(task.broker, task.url) as writing, places(task.broker, task.url) as reading:
        inbox = Inbox()
        following = asyncio.create_task(inbox.follow(reading, task.target))
        try:
            await one_by_one(writing, task, inbox, range(WARM))
            began = time.monotonic()
            numbers = range(WARM, WARM + task.count)
            if task.pace:
                await paced(writing, task, numbers)
            else:
                await one_by_one(writing, task, inbox, numbers)
            seconds = time.monotonic() - began
            await inbox.until(WARM + task.count)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
    took = sorted(inbox.took[number] for number in numbers)
    return Latency(p50=at(took, 0.5), p99=at(took, 0.99), pace=task.count / seconds)


async def one_by_one(there: Places, task: Task, inbox: Inbox, numbers: range) -> None:
    """Send each message when the one before has come."""
    for number in numbers:
        await there.put(task.source, [body(number, time.monotonic())])
        await inbox.until(number + 1)


async def paced(there: Places, task: Task, numbers: range) -> None:
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
