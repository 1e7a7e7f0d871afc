"""Ten thousand messages with the server killed at a third and at two thirds: what a network broker owes beyond that.

A body is a function of its number, so that what is missing, invented or corrupted shows.
"""

from collections.abc import Awaitable, Callable

import anyio

from actors import BrokerUnavailable, Endpoint, Message
from tests.brokers.contract import message

COUNT = 10_000
RUN = 250


def body(number: int) -> bytes:
    """The body of message so and so."""
    return b"%d:%s" % (number, str(number * 7919).encode())


async def eventually(check: Callable[[], Awaitable[object]], patience: float = 10.0) -> None:
    """Wait until a server is where it should be: `check()` is true."""
    with anyio.fail_after(patience):
        while not await check():
            await anyio.sleep(0.02)


async def insist(attempt: Callable[[], Awaitable[object]]) -> int:
    """Await `attempt()` again and again while the broker is out of reach; how often it was."""
    failures = 0
    while True:
        try:
            await attempt()
        except BrokerUnavailable:
            failures += 1
            await anyio.sleep(0.05)
        else:
            return failures


async def survives(endpoint: Endpoint, kill: Callable[[], Awaitable[None]]) -> None:
    """Publish and read meanwhile; call `kill` twice on the way. Nothing is missing, and the faults were met."""
    seen: dict[int, int] = {}
    source, sink = endpoint.source("readers"), endpoint.sink()
    faults = 0
    half = [anyio.Event(), anyio.Event()]

    async def fill() -> None:
        nonlocal faults
        await insist(sink.open)
        for start in range(0, COUNT, RUN):
            run = [message(body(number), sink.destination) for number in range(start, start + RUN)]
            faults += await insist(lambda run=run: sink.publish(run))  # type: ignore[misc]
            for number, reached in enumerate(half, 1):
                if start >= COUNT * number / 3:
                    reached.set()

    async def read() -> None:
        nonlocal faults
        await insist(source.open)
        while len(seen) < COUNT:
            run: list[Message] = []

            async def fetch(run: list[Message] = run) -> None:
                run += await source.fetch(256)

            faults += await insist(fetch)
            for each in run:
                number = int((each.raw or b"").partition(b":")[0])
                assert each.raw == body(number)
                seen[number] = seen.get(number, 0) + 1
            faults += await insist(lambda run=run: source.settle(run, []))  # type: ignore[misc]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fill)
        tasks.start_soon(read)
        for reached in half:
            await reached.wait()
            await kill()
    await source.close()
    await sink.close()
    assert sorted(seen) == list(range(COUNT))
    assert faults >= 2
