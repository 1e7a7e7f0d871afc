"""The work that every contender does with a message, and what a hand-written loop on one broker has to offer."""

import asyncio
import json
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol

from pydantic import BaseModel, Field, TypeAdapter

READ = 256
"""Messages that a loop reads at once, and publishes in one window."""
WAIT = 0.01
"""Seconds that the handler of the I/O-bound work waits."""


class Order(BaseModel):
    """The message: about 200 bytes as JSON, five fields."""

    id: int = Field(ge=0)
    customer: str
    priority: str = "low"
    total: float
    note: str


decode = TypeAdapter(Order).validate_json
encode = Order.__pydantic_serializer__.to_json


def body(number: int) -> bytes:
    """The body of message number so and so."""
    return encode(Order(id=number, customer=f"c-{number % 1000}", total=number / 4, note="x" * 120))


def number_of(raw: bytes) -> int:
    """Which message a body is."""
    return int(json.loads(raw)["id"])


async def handle(order: Order) -> Order:
    """The handler of the bridge: nothing."""
    return order


async def handle_slowly(order: Order) -> Order:
    """The handler of the I/O-bound work."""
    await asyncio.sleep(WAIT)
    return order


class Loops(Protocol):
    """One broker's hand-written loops, each as good as the client's ordinary API allows, at least once.

    Every method connects for itself. `source` and `target` are new names each time.
    """

    name: str

    @abstractmethod
    async def fill(self, source: str, target: str, bodies: Iterable[bytes]) -> None:
        """Make both places, and put the messages into the first."""

    @abstractmethod
    async def bridge(self, source: str, target: str, count: int) -> None:
        """Read in runs, decode, handle, encode, publish in windows, acknowledge what is confirmed."""

    @abstractmethod
    async def slow(self, source: str, target: str, count: int, tasks: int) -> None:
        """The same with the handler that waits, so many at once."""

    @abstractmethod
    async def read(self, target: str, count: int) -> list[int]:
        """The numbers of all messages at the target."""

    @abstractmethod
    def endpoints(self, source: str, target: str) -> tuple[Any, Any]:
        """The same two places as Headrace's endpoints."""


class Crowd:
    """So many handlers at once, for the loops whose handler waits; `done` takes what is finished, in runs."""

    def __init__(self, tasks: int) -> None:
        self.room = asyncio.Semaphore(tasks)
        self.finished: list[tuple[Any, bytes]] = []
        self.news = asyncio.Event()

    async def start(self, token: Any, raw: bytes) -> None:
        """Wait for room, then handle it beside the others."""
        await self.room.acquire()
        task = asyncio.create_task(self._run(token, raw))
        task.add_done_callback(_raise)

    async def done(self) -> list[tuple[Any, bytes]]:
        """Wait for results: the token that came with each, and its encoded body."""
        while not self.finished:
            self.news.clear()
            await self.news.wait()
        run, self.finished = self.finished, []
        return run

    async def _run(self, token: Any, raw: bytes) -> None:
        result = encode(await handle_slowly(decode(raw)))
        self.room.release()
        self.finished.append((token, result))
        self.news.set()


def _raise(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
