"""For the tests of the HTTP side: topologies, an engine that runs, and a client of its app, without a socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from httpx import ASGITransport, AsyncClient

from engine.http.app import http_app
from headrace import Crash, Engine, Memory, Retry, Topology

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ODD = "eu/größe?#%2F/pause"
"""A name of a stage that no path has by itself."""


@dataclass
class Mill:
    """A topology that does what its messages say, and the broker that it takes them from."""

    memory: Memory = field(default_factory=Memory)
    topology: Topology = field(default_factory=lambda: Topology("mill"))
    handled: list[Any] = field(default_factory=list)
    gate: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        @self.topology.publisher(self.memory.topic("flour"))
        @self.topology.subscriber(self.memory.topic("corn"), max_workers=2, retry=Retry(attempts=1))
        async def grind(body: dict) -> dict:
            """Grind corn."""
            self.handled.append(body)
            match body:
                case {"fail": reason}:
                    raise ValueError(reason)
                case {"crash": reason}:
                    raise Crash(reason)
                case {"wait": _}:
                    await self.gate.wait()
            return body

        @self.topology.subscriber(self.memory.topic("odd"), name=ODD, max_workers="auto")
        async def odd(body: dict) -> None:
            self.handled.append(body)

    async def publish(self, *bodies: Any, topic: str = "corn") -> None:
        for body in bodies:
            await self.memory.topic(topic).publish(body)


@asynccontextmanager
async def client_of(engine: Any, **options: Any) -> AsyncIterator[AsyncClient]:
    """A client of the engine's app."""
    app = http_app(engine, **{"token": TOKEN, **options})
    async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


@asynccontextmanager
async def milling(**options: Any) -> AsyncIterator[tuple[Mill, Engine, AsyncClient]]:
    """A mill, its engine at work, and a client."""
    mill = Mill()
    async with mill.memory, Engine(mill.topology, drain=5) as engine, client_of(engine, **options) as client:
        yield mill, engine, client


async def until(true: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until that holds."""
    with anyio.fail_after(within):
        while not true():
            await anyio.sleep(0.005)
