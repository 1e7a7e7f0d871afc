"""The contenders in turn, round by round: each on a source of its own with the same contents, counted at its target."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from pydantic import BaseModel

from benchmarks.contenders import IN_PROCESS, Contender
from benchmarks.hands import PREFIX, Places, places
from benchmarks.launch import Child, ChildFailed, child
from benchmarks.work import CUSTOMERS, Job, Outcome, Work, body, number_of

LEAST = 50
"""Messages that a contender gets at least."""
SPARE = 30.0
"""Seconds that a process may take beside its messages."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a broker is; `process` is its number, where it is on this machine."""

    broker: str
    url: str = ""
    process: int | None = None


class Measurement(BaseModel):
    """One contender in one round. Rates are messages a second, costs seconds of CPU a message."""

    broker: str
    work: str
    contender: str
    round: int
    messages: int
    rate: float = 0.0
    cpu: float = 0.0
    server_cpu: float | None = None
    memory: float = 0.0
    lost: int = 0
    twice: int = 0
    disordered: int = 0
    failure: str = ""
    versions: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of so many messages."""

    lost: int
    twice: int
    disordered: int


def count(expected: int, arrived: Iterable[Sequence[int]], keyed: bool) -> Counted:
    """Count ids that are missing, that came again, and that came after a later one of the same customer."""
    lost = twice = disordered = 0
    for numbers in arrived:
        times = Counter(numbers)
        lost += expected - len(times)
        twice += sum(times.values()) - len(times)
        if keyed:
            last: dict[int, int] = {}
            for number in numbers:
                customer = number % CUSTOMERS
                disordered += number < last.get(customer, -1)
                last[customer] = max(number, last.get(customer, -1))
    return Counted(lost, twice, disordered)


def size(rate: float, seconds: float, most: int) -> int:
    """How many messages a contender of that rate gets, so that it takes about so many seconds."""
    return max(min(LEAST, most), min(most, int(rate * seconds)))


@asynccontextmanager
async def stage(server: Server, targets: int) -> AsyncIterator[tuple[Places, str, list[str]]]:
    """A source and targets under names that nobody has had, removed at the end whatever comes."""
    tag = f"{PREFIX}{uuid.uuid4().hex[:12]}"
    source, made = f"{tag}-in", [f"{tag}-out-{number}" for number in range(targets)]
    async with places(server.broker, server.url) as there:
        try:
            await there.make(source, made)
            yield there, source, made
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                await there.remove([source, *made])


async def measure(
    server: Server, work: Work, contender: Contender, turn: int, messages: int, limit: float
) -> Measurement:
    """One contender, once."""
    found = Measurement(broker=server.broker, work=work.name, contender=contender.name, round=turn, messages=messages)
    job = Job(
        broker=server.broker,
        url=server.url,
        contender=contender.name,
        work=work.name,
        source="in",
        targets=["out"],
        count=messages,
        server=server.process,
    )
    if server.broker == IN_PROCESS:
        async with child("benchmarks.child", job.model_dump_json()) as process:
            return await _timed(found, process, limit)
    async with stage(server, work.targets) as (there, source, targets):
        job = job.model_copy(update={"source": source, "targets": targets})
        async with child("benchmarks.child", job.model_dump_json()) as process:
            await there.put(source, (body(number) for number in range(messages)))
            found = await _timed(found, process, limit)
        if targets:
            arrived = [[number_of(raw) for raw in await there.read(target)] for target in targets]
            counted = count(messages, arrived, work.keyed)
            found.lost, found.twice, found.disordered = counted.lost, counted.twice, counted.disordered
    return found


async def _timed(found: Measurement, process: Child, limit: float) -> Measurement:
    await process.go()
    try:
        outcome = Outcome.model_validate_json(await process.result(limit))
    except ChildFailed as failure:
        return found.model_copy(update={"failure": str(failure)})
    return found.model_copy(
        update={
            "rate": found.messages / outcome.seconds,
            "cpu": outcome.cpu / found.messages,
            "server_cpu": None if outcome.server_cpu is None else outcome.server_cpu / found.messages,
            "memory": outcome.memory,
            "lost": outcome.lost,
            "twice": outcome.twice,
            "versions": outcome.versions,
        }
    )


Told = Callable[[str], None]


async def rounds(
    server: Server, work: Work, contenders: Sequence[Contender], turns: int, seconds: float, most: int, told: Told
) -> list[Measurement]:
    """All contenders in turn, so many times. One that failed is not asked again.

    How many messages each gets follows from how fast it was in its round before.
    """
    found: list[Measurement] = []
    rates = {contender.name: contender.expected(server.broker, work) for contender in contenders}
    for turn in range(turns):
        for contender in contenders:
            if rate := rates[contender.name]:
                told(f"{server.broker} {work.name}: {contender.name}")
                messages = size(rate, seconds, most)
                measured = await measure(server, work, contender, turn, messages, 10 * seconds + SPARE)
                rates[contender.name] = measured.rate  # none, where it failed
                found.append(measured)
            told("")
    return found
