"""The loops written by hand: one message at a time, and as good as a client's ordinary API allows."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from benchmarks.hands import READ, Hands, Taken, hands
from benchmarks.work import WORKS, Job, Lap, Work, decode, encode, handler, many


async def naive(job: Job, lap: Lap) -> None:
    """Take one, handle it, publish it, acknowledge it, and wait each time for the answer."""
    handle = handler(WORKS[job.work], lap)
    async with hands(job.broker, job.url, job.source) as mine:
        for _ in range(job.count):
            [(token, raw)] = await mine.take(1)
            result = encode(await handle(decode(raw)))
            await mine.give(job.targets, [result])
            await mine.settle([token], ordered=True)
            await mine.flush()
        lap.finish()


async def best(job: Job, lap: Lap, way: str = "Hands") -> None:
    """Runs of messages, the next one read while this one is published; for handlers that wait, many at once."""
    work = WORKS[job.work]
    async with hands(job.broker, job.url, job.source, way) as mine:
        reading = asyncio.create_task(mine.take(READ))
        try:
            if work.wait:
                await _crowded(mine, reading, job, work, lap)
            else:
                await _in_runs(mine, reading, job, work, lap)
            await mine.flush()
            lap.finish()
        finally:
            reading.cancel()


async def lower(job: Job, lap: Lap) -> None:
    """The same loops, one layer below the client's ordinary API."""
    await best(job, lap, "Lower")


async def fetch(job: Job, lap: Lap) -> None:
    """The same by the client's own fetches of many, where these are not its fastest."""
    await best(job, lap, "Fetch")


async def _in_runs(mine: Hands, reading: "asyncio.Task[Taken]", job: Job, work: Work, lap: Lap) -> None:
    handle, handle_many, done = handler(work, lap), many(lap), 0
    windows: deque[tuple[asyncio.Task[None] | None, list[Any]]] = deque()
    while done < job.count:
        run = await reading
        done += len(run)
        if done < job.count:
            reading = asyncio.create_task(mine.take(READ))
        if work.batch:
            results = []
            for start in range(0, len(run), work.batch):
                batch = [decode(raw) for _, raw in run[start : start + work.batch]]
                results += [encode(order) for order in await handle_many(batch)]
        else:
            results = [encode(await handle(decode(raw))) for _, raw in run]
        giving = asyncio.create_task(mine.give(job.targets, results)) if job.targets else None
        windows.append((giving, [token for token, _ in run]))
        if len(windows) == mine.windows or giving is None:
            await _settle(mine, *windows.popleft())
    while windows:
        await _settle(mine, *windows.popleft())


async def _settle(mine: Hands, giving: "asyncio.Task[None] | None", tokens: list[Any]) -> None:
    if giving is not None:
        await giving
    await mine.settle(tokens, ordered=True)


async def _crowded(mine: Hands, reading: "asyncio.Task[Taken]", job: Job, work: Work, lap: Lap) -> None:
    crowd, done = Crowd(work, lap), 0
    feeding = asyncio.create_task(_feed(mine, reading, crowd, job.count))
    try:
        while done < job.count:
            run = await crowd.done()
            if job.targets:
                await mine.give(job.targets, [raw for _, raw in run])
            await mine.settle([token for token, _ in run], ordered=False)
            done += len(run)
        await feeding
    finally:
        feeding.cancel()
        crowd.close()


async def _feed(mine: Hands, reading: "asyncio.Task[Taken]", crowd: "Crowd", count: int) -> None:
    run: Sequence[tuple[Any, bytes]] = await reading
    while True:
        count -= len(run)
        ahead = asyncio.create_task(mine.take(READ)) if count > 0 else None
        for token, raw in run:
            await crowd.start(token, raw)
        if ahead is None:
            return
        run = await ahead


class Crowd:
    """So many handlers at once; in order by customer where that is asked for. What is done is taken in runs."""

    def __init__(self, work: Work, lap: Lap) -> None:
        self._handle = handler(work, lap)
        self._keyed = work.keyed
        self._room = asyncio.Semaphore(work.tasks)
        self._waiting = asyncio.Semaphore(10 * work.tasks)
        self._behind: defaultdict[str, deque[tuple[Any, Any]]] = defaultdict(deque)
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: Taken = []
        self._news = asyncio.Event()
        self._error: BaseException | None = None

    async def start(self, token: Any, raw: bytes) -> None:
        """Wait for room, then handle it beside the others."""
        order = decode(raw)
        if not self._keyed:
            await self._room.acquire()
            self._spawn(self._one(token, order))
            return
        await self._waiting.acquire()  # messages of customers that are being served already wait here, up to a bound
        line = self._behind[order.customer]
        line.append((token, order))
        if len(line) == 1:
            self._spawn(self._serve(order.customer))

    async def done(self) -> Taken:
        """Wait for results: the token that came with each, and its encoded body."""
        while not self._finished:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        run, self._finished = self._finished, []
        return run

    def close(self) -> None:
        """Let go of handlers that still wait."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._error = task.exception()
            self._news.set()

    async def _one(self, token: Any, order: Any) -> None:
        result = encode(await self._handle(order))
        self._room.release()
        self._finished.append((token, result))
        self._news.set()

    async def _serve(self, customer: str) -> None:
        line = self._behind[customer]
        while line:
            token, order = line[0]
            async with self._room:
                result = encode(await self._handle(order))
            line.popleft()
            self._waiting.release()
            self._finished.append((token, result))
            self._news.set()
        del self._behind[customer]
