"""The app inside of other applications: with its own lifespan, mounted in Starlette and in FastAPI, and by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from headrace import Engine, Memory, Topology, TopologyError, http_app
from tests.engine.http.served import BEARER, TOKEN, Mill, until
from tests.engine.http.test_server import served

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def alive(app: ASGIApp) -> AsyncIterator[AsyncClient]:
    """The app between startup and shutdown, as a server does it, and a client."""
    receiving, received = anyio.create_memory_object_stream[Any](2)
    sending, sent = anyio.create_memory_object_stream[Any](2)
    async with receiving, received, sending, sent, anyio.create_task_group() as tasks:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        tasks.start_soon(cast(Any, app), scope, received.receive, sending.send)
        await receiving.send({"type": "lifespan.startup"})
        assert await sent.receive() == {"type": "lifespan.startup.complete"}
        async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as client:
            yield client
        await receiving.send({"type": "lifespan.shutdown"})
        assert await sent.receive() == {"type": "lifespan.shutdown.complete"}


async def test_an_app_of_topologies_runs_them_in_its_own_lifespan_and_drains_them_at_the_end() -> None:
    mill = Mill()
    app = http_app(mill.topology, token=TOKEN)
    async with mill.memory, alive(app) as client:
        assert (await client.get("/readyz")).status_code == 200
        await mill.publish({"n": 1})
        await until(lambda: mill.handled == [{"n": 1}])
        await mill.publish({"n": 2})
    assert mill.memory.statistics().topics["corn"].groups["mill.grind"].held == 0
    assert app.state.engine.ended.is_set()


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_mounted_it_runs_where_the_application_around_it_takes_its_lifespan(kind: Any) -> None:
    mill = Mill()
    engine_app = http_app(mill.topology, token=TOKEN)
    app = kind(lifespan=engine_app.router.lifespan_context)
    app.mount("/engine", engine_app)
    async with mill.memory, alive(app) as client:
        assert (await client.get("/engine/readyz")).json()["ok"] is True
        assert (await client.get("/engine/api/v1/stages/mill/grind")).status_code == 200
        paused = await client.post("/engine/api/v1/stages/mill/grind/pause", headers=BEARER)
        assert paused.json()["paused"] is True
        assert (await client.get("/engine/nothing")).headers["content-type"] == "application/problem+json"


async def test_an_engine_of_ones_own_runs_in_ones_own_lifespan() -> None:
    mill = Mill()
    engine = Engine(mill.topology)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with engine:
            yield

    app = Starlette(routes=[Mount("/engine", http_app(engine, token=TOKEN))], lifespan=lifespan)
    async with mill.memory, alive(app) as client:
        assert (await client.get("/engine/api/v1/status")).json()["topologies"] == ["mill"]
    assert engine.ended.is_set()


async def test_mounted_without_the_lifespan_it_says_that_it_has_not_started() -> None:
    app = Starlette(routes=[Mount("/engine", http_app(Mill().topology))])
    async with alive(app) as client:
        started = await client.get("/engine/startupz")
    assert (started.status_code, started.json()["reasons"]) == (503, ["it has not started"])


async def test_what_the_engine_cannot_start_for_is_what_the_lifespan_fails_with() -> None:
    memory, topology = Memory(), Topology("broken")

    @topology.lifespan
    async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
        raise TopologyError("no database")
        yield

    @topology.subscriber(memory.topic("in"))
    async def take(body: dict) -> None: ...

    with pytest.raises(TopologyError, match="no database"):
        async with Engine(topology):
            pytest.fail("it has started")


async def test_what_the_block_raises_comes_out_of_it_as_it_is() -> None:
    mill = Mill()
    with pytest.raises(ZeroDivisionError):
        async with mill.memory, Engine(mill.topology):
            1 / 0  # noqa: B018


async def test_it_is_served_by_hypercorn_as_any_application_is() -> None:
    mill = Mill()
    app = http_app(mill.topology)
    async with mill.memory, alive(app), served(app) as (_, host, port), AsyncClient() as client:
        assert (await client.get(f"http://{host}:{port}/readyz")).status_code == 200


def test_an_engine_beside_topologies_is_refused() -> None:
    with pytest.raises(TypeError, match="one Engine, or topologies"):
        http_app(Engine(Mill().topology), Mill().topology)
