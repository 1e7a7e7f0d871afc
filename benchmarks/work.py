"""What every contender does with a message: the message, the works, and the stopwatch around them."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psutil
from pydantic import BaseModel, Field, TypeAdapter

CUSTOMERS = 1000
"""Keys that there are."""


class Order(BaseModel):
    """The message: about 200 bytes as JSON, five fields."""

    id: int = Field(ge=0)
    customer: str
    priority: str = "low"
    total: float
    note: str


decode = TypeAdapter(Order).validate_json
encode = Order.__pydantic_serializer__.to_json


def body(number: int, sent: float = 0.0) -> bytes:
    """The body of message number so and so; `sent` is a time of `time.monotonic()` that it carries."""
    note = f"{sent:.6f}".ljust(120, "x")
    return encode(Order(id=number, customer=f"c-{number % CUSTOMERS}", total=number / 4, note=note))


def number_of(raw: bytes) -> int:
    """Which message a body is."""
    return int(json.loads(raw)["id"])


def sent_at(raw: bytes) -> float:
    """The time that a body carries."""
    return float(json.loads(raw)["note"].rstrip("x"))


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work: the handler waits `wait` seconds, `tasks` of them at once; results go to `targets` places."""

    name: str
    says: str
    targets: int = 1
    wait: float = 0.0
    tasks: int = 1
    keyed: bool = False
    batch: int = 0


WORKS = {
    work.name: work
    for work in (
        Work("bridge", "decode, validate, handle, publish on the same broker, acknowledge after the confirm"),
        Work("consume", "the same without publishing", targets=0),
        Work("io-1", "the bridge with a handler that waits 10 ms, one at once", wait=0.01),
        Work("io-10", "the same, ten at once", wait=0.01, tasks=10),
        Work("io-100", "the same, a hundred at once", wait=0.01, tasks=100),
        Work("keyed", "the same, a hundred at once, in order by customer", wait=0.01, tasks=100, keyed=True),
        Work("batch", "the bridge with a handler of up to a hundred messages", batch=100),
        Work("fanout", "the bridge to three places, acknowledged after all three confirms", targets=3),
        Work("in-process", "decode, validate, handle, encode, without a server"),
    )
}


class Job(BaseModel):
    """What a contender's process is told."""

    broker: str
    url: str
    contender: str
    work: str
    source: str
    targets: list[str]
    count: int = Field(gt=0)
    server: int | None = None
    """The number of the broker's process, where it is on this machine."""


class Outcome(BaseModel):
    """What it says when it is done: from the first message handled to the last acknowledged."""

    seconds: float
    cpu: float
    """Seconds of CPU of this process."""
    server_cpu: float | None
    memory: float
    """The most that this process held, in MB."""
    lost: int
    """Ids that no handler saw."""
    twice: int
    """Handler calls for ids that a handler had seen before."""
    versions: dict[str, str]


class Lap:
    """The stopwatch of one contender: started by the first message that a handler sees."""

    def __init__(self, job: Job) -> None:
        self.count = job.count
        self.seen: list[int] = []
        self.finished = asyncio.Event()
        self._server = psutil.Process(job.server) if job.server else None
        self._began = self._ended = (0.0, 0.0, 0.0)

    def saw(self, number: int) -> None:
        """Note that a handler has this message."""
        if not self.seen:
            self._began = self._now()
        self.seen.append(number)

    def finish(self) -> None:
        """Note that the last one is acknowledged."""
        self._ended = self._now()
        self.finished.set()

    def outcome(self, versions: dict[str, str]) -> Outcome:
        """What it has measured."""
        seconds, cpu, server = (ended - began for ended, began in zip(self._ended, self._began, strict=True))
        distinct = len(set(self.seen))
        return Outcome(
            seconds=seconds,
            cpu=cpu,
            server_cpu=server if self._server else None,
            memory=peak_memory(),
            lost=self.count - distinct,
            twice=len(self.seen) - distinct,
            versions=versions,
        )

    def _now(self) -> tuple[float, float, float]:
        server = cpu_of(self._server) if self._server else 0.0
        return time.perf_counter(), time.process_time(), server


def cpu_of(process: psutil.Process) -> float:
    """Seconds of CPU of a process and of those that it has started."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def peak_memory() -> float:
    """The most megabytes that this process has held. Linux counts from its start, not from that of its parent."""
    try:
        with open("/proc/self/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1e3
    except OSError:
        return psutil.Process().memory_info().rss / 1e6


def handler(work: Work, lap: Lap) -> Callable[[Order], Awaitable[Order]]:
    """The handler of a work."""

    async def handle(order: Order) -> Order:
        lap.saw(order.id)
        return order

    async def handle_slowly(order: Order) -> Order:
        lap.saw(order.id)
        await asyncio.sleep(work.wait)
        return order

    return handle_slowly if work.wait else handle


def many(lap: Lap) -> Callable[[list[Order]], Awaitable[list[Order]]]:
    """The handler of a batch."""

    async def handle(orders: list[Order]) -> list[Order]:
        for order in orders:
            lap.saw(order.id)
        return orders

    return handle
