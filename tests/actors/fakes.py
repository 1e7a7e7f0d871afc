"""Small real things to test the acting floor with: a source, a sink, an owner of receipts, a stage wired by hand."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from logging import getLogger
from typing import Any

from anyio import Event, create_task_group, wait_all_tasks_blocked
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors import (
    Actor,
    Batch,
    BatchWorker,
    Bound,
    BrokerUnavailable,
    Counts,
    Lanes,
    Mailbox,
    Message,
    Origin,
    Outbox,
    Outlet,
    PublishError,
    Receipt,
    Retries,
    Retry,
    Turn,
    VirtualClock,
    Worker,
    delivered,
    to_all,
)

logger = getLogger("headrace.tests")


async def quiet() -> None:
    """Let every other task go on until none can."""
    for _ in range(30):
        await checkpoint()
    await wait_all_tasks_blocked()


@asynccontextmanager
async def running(*lives: Callable[[], Coroutine[Any, Any, Any]]) -> AsyncIterator[TaskGroup]:
    """Run each beside the block, one after the other begun, and cancel what is left of them at its end."""
    async with create_task_group() as tasks:
        for life in lives:
            tasks.start_soon(life)
            await quiet()
        yield tasks
        tasks.cancel_scope.cancel()


class Completed(list[Receipt]):
    """An owner of receipts: the list of those that are complete."""

    def complete(self, receipt: Receipt) -> None:
        self.append(receipt)

    @property
    def reasons(self) -> list[str]:
        """What those that failed failed with."""
        return [str(receipt.failure.error) for receipt in self if receipt.failure is not None]

    @property
    def outcomes(self) -> dict[Any, str]:
        """What became of each message, by its body."""
        return {receipt.message.body: receipt.outcome.name for receipt in self}


def message(body: Any, owner: Completed, lane: Hashable = None, key: str | None = None) -> Message:
    """A message as an intake hands it on."""
    made = Message(body, key=key)
    made.lane = lane
    made.receipt = Receipt(owner, made)
    return made


def bodies(messages: Sequence[Message]) -> list[Any]:
    return [each.body for each in messages]


class Wire:
    """A source: brings what was put on it, remembers what was settled, and brings again what was returned."""

    def __init__(self, *raws: bytes | None) -> None:
        self.waiting = deque(delivered(raw, None, None, Origin(source="wire"), 1, None) for raw in raws)
        self.done: list[Any] = []
        self.returned: list[Any] = []
        self.runs: list[int] = []
        """How many messages each call of `settle` was about."""
        self.limits: list[int] = []
        """What each call of `fetch` asked for."""
        self.opened = 0
        self.closed = 0
        self.down = 0
        """How many of the next calls find the broker out of reach."""
        self.broken: Exception | None = None
        """What the next call raises."""
        self._news = Event()

    def bring(self, *raws: bytes | None) -> None:
        self.waiting.extend(delivered(raw, None, None, Origin(source="wire"), 1, None) for raw in raws)
        self._news.set()

    async def open(self) -> None:
        self._reach()
        self.opened += 1

    async def fetch(self, limit: int) -> list[Message]:
        self._reach()
        self.limits.append(limit)
        while not self.waiting:
            self._news = Event()
            await self._news.wait()
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        self._reach()
        self.runs.append(len(done) + len(returned))
        self.done += [each.raw for each in done]
        self.returned += [each.raw for each in returned]

    async def close(self) -> None:
        self.closed += 1

    def pending(self) -> int:
        return len(self.waiting)

    def _reach(self) -> None:
        if self.down:
            self.down -= 1
            raise BrokerUnavailable("the wire is cut")
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error


class Shelf:
    """A sink: keeps what was published, refuses what it is told to, and can be out of reach or held up."""

    def __init__(self, destination: str = "shelf") -> None:
        self.destination = destination
        self.published: list[Message] = []
        self.runs: list[int] = []
        """How many messages each call of `publish` was about."""
        self.refuse: set[bytes | None] = set()
        """Bodies that are refused until taken out of here."""
        self.opened = 0
        self.closed = 0
        self.down = 0
        self.broken: Exception | None = None
        self.gate: Event | None = None
        """While there is one, publishing waits for it."""

    @property
    def raws(self) -> list[bytes]:
        return [each.raw for each in self.published]  # type: ignore[misc]

    @property
    def headers(self) -> dict[str, Any]:
        """Those of what was published first."""
        return dict(self.published[0].headers or {})

    async def open(self) -> None:
        self._reach()
        self.opened += 1

    async def publish(self, run: Sequence[Message]) -> None:
        self.runs.append(len(run))
        if self.gate is not None:
            await self.gate.wait()
        self._reach()
        failures: dict[int, Exception] = {}
        for index, each in enumerate(run):
            if each.raw in self.refuse:
                failures[index] = ValueError(f"{each.raw!r} is refused")
            else:
                self.published.append(each)
        if failures:
            raise PublishError(failures)

    async def close(self) -> None:
        self.closed += 1

    def _reach(self) -> None:
        if self.down:
            self.down -= 1
            raise BrokerUnavailable("the shelf is out of reach")
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error


class Bench:
    """One stage wired by hand: a mailbox, workers that share it, and a mailbox behind them.

    A handler takes the message, and the worker's `emit` where it is given as `emitting`.
    """

    def __init__(
        self,
        mailbox: Mailbox[Message] | None = None,
        behind: int = 1000,
        retry: Retry | None = None,
        lanes: int = 0,
        capacity: int = 1000,
    ) -> None:
        self.clock = VirtualClock()
        self.owner = Completed()
        self.counts = Counts()
        self.mailbox = mailbox or (Lanes(capacity, "bench", lanes) if lanes else Mailbox(capacity, "bench"))
        self.behind: Mailbox[Message] = Mailbox(behind, "behind")
        self.retries = Retries("stage", self.mailbox, self.clock, self.counts, logger, retry)
        self.bound = 0
        """How many times a handler was made ready."""

    def worker(
        self,
        handler: Callable[[Message], Any] | None = None,
        *,
        emitting: Callable[[Any], Callable[[Message], Any]] | None = None,
        actor: Callable[[], Actor] | None = None,
        name: str = "worker",
        alone: bool = False,
        timeout: float | None = None,
        batch: Batch | None = None,
        turn: Turn | None = None,
    ) -> Worker:
        def bind(emit: Any) -> Bound:
            self.bound += 1
            made = actor() if actor is not None else None
            if emitting is not None:
                return Bound(emitting(emit), made)
            if made is not None and handler is None:
                return Bound(lambda each: made.receive(each.body), made)
            assert handler is not None
            return Bound(handler, made)

        outbox = Outbox([Outlet("behind", self.behind)])
        make: Callable[..., Worker] = Worker if batch is None else partial(BatchWorker, batch)
        return make(
            name,
            self.mailbox,
            bind,
            outbox,
            to_all(outbox),
            self.retries,
            self.counts,
            self.clock,
            alone=alone,
            timeout=timeout,
            turn=turn,
        )

    def put(self, *contents: Any, lane: Callable[[Any], Hashable] | None = None) -> list[Message]:
        """Put messages with those bodies into the mailbox; there must be room."""
        run = [message(body, self.owner, None if lane is None else lane(body)) for body in contents]
        rest = run.copy()
        self.mailbox.put_nowait(rest)
        assert not rest
        return run

    def results(self) -> list[Any]:
        """Take and settle what came out behind; its bodies."""
        run = self.behind.take_nowait(100_000)
        self.behind.done(run)
        for each in run:
            each.receipt.acknowledge()
        return bodies(run)


async def drained(bench: Bench, *workers: Worker) -> None:
    """Run workers until the mailbox, which nobody puts into any more, is drained."""
    bench.mailbox.close()
    async with create_task_group() as tasks:
        for worker in workers:
            tasks.start_soon(worker.run)
