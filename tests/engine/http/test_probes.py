"""Probes: what they answer while an engine starts, runs, loses its broker, stands still, drains, and has given up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import pytest
from httpx import AsyncClient

from engine.health import asking
from engine.health.health import Health, StageHealth
from engine.http.probes import judged
from headrace import (
    Actor,
    Crash,
    Deduplicate,
    DrainTimeout,
    Engine,
    IntensityExceeded,
    Memory,
    Nats,
    RabbitMQ,
    Redis,
    Supervision,
    Topology,
    broker,
)
from tests.engine.http.served import client_of, milling, until
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.anyio


def health(**differences: Any) -> Health:
    plain: dict[str, Any] = {"started": True, "ready": True, "alive": True, "draining": False, "reasons": ()}
    stage = StageHealth("t", "s", False, None, None, "broker", False, "amqp://guest:s3cret@host/ is out of reach")
    return Health(**{**plain, "stages": (stage,), **differences})


@pytest.mark.parametrize(
    ("probe", "differences", "status"),
    [
        ("livez", {}, 200),
        ("readyz", {}, 200),
        ("startupz", {}, 200),
        ("livez", {"started": False, "ready": False}, 200),
        ("readyz", {"started": False, "ready": False}, 503),
        ("startupz", {"started": False, "ready": False}, 503),
        ("livez", {"ready": False, "draining": True}, 200),
        ("readyz", {"ready": False, "draining": True}, 503),
        ("startupz", {"ready": False, "draining": True}, 200),
        ("livez", {"alive": False}, 503),
    ],
)
def test_a_probe_answers_what_it_is_asked(probe: Any, differences: dict[str, Any], status: int) -> None:
    assert judged(probe, health(**differences), False)[0] == status


def test_a_probe_that_fails_says_why_and_repeats_no_password() -> None:
    _, body = judged("readyz", health(ready=False, reasons=("amqp://guest:s3cret@host/: no",)), True)
    assert body["reasons"] == ["amqp://guest:***@host/: no"]
    assert "s3cret" not in str(body)


async def answers(client: AsyncClient) -> list[int]:
    return [(await client.get(f"/{probe}")).status_code for probe in ("livez", "readyz", "startupz")]


async def until_answers(client: AsyncClient, *statuses: int) -> None:
    with anyio.fail_after(30):
        while await answers(client) != list(statuses):
            await anyio.sleep(0.02)


@pytest.fixture(params=["redis", "nats", "rabbitmq", "kafka"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_server")


def place(url: str, name: str) -> Any:
    """A stream, a queue or a topic at a server."""
    made: Any = broker(url)
    match made:
        case Redis():
            return made.stream(name)
        case Nats():
            return made.stream(name, subject=name)
        case RabbitMQ():
            return made.queue(name)
        case _:
            return made.topic(name)


@asynccontextmanager
async def at(url: str, **options: Any) -> AsyncIterator[tuple[list[Any], Any, Engine, AsyncClient]]:
    """What is handled, where to publish, the engine and a client, of a topology that takes from a server."""
    handled: list[Any] = []
    topology = Topology("probed", supervision=Supervision(intensity=0))
    queue = place(url, f"probed{uuid4().hex}")

    @topology.subscriber(queue)
    async def take(body: dict) -> None:
        handled.append(body)
        if "crash" in body:
            raise Crash(body["crash"])
        if "wait" in body:
            await anyio.sleep(body["wait"])

    async with Engine(topology, **{"drain": 5, **options}) as engine, client_of(engine) as client:
        yield handled, queue, engine, client


async def test_a_broker_that_is_gone_makes_it_not_ready_and_leaves_it_alive_until_it_is_back(server: Any) -> None:
    async with Proxy(server) as proxy, at(proxy.url) as (_, _, _, client):
        await until_answers(client, 200, 200, 200)
        proxy.cut()
        await until_answers(client, 200, 503, 200)
        told = (await client.get("/readyz?verbose")).json()
        assert told["ok"] is False
        assert told["reasons"][0].startswith("waits for take: ")
        assert told["stages"][0]["waiting_for"] == "broker"
        proxy.mend()
        await until_answers(client, 200, 200, 200)


async def test_an_engine_whose_broker_never_answered_is_started_and_alive_and_not_ready(server: Any) -> None:
    async with Proxy(server) as proxy:
        proxy.cut()
        async with at(proxy.url, drain=0.2) as (_, _, _, client):
            assert await answers(client) == [200, 503, 200]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have idle brokers asked more often than every few seconds."""
    monkeypatch.setattr(asking, "EVERY", 0.1)


@pytest.mark.usefixtures("often")
async def test_a_paused_stage_notices_that_its_broker_is_gone_and_that_it_is_back(server: Any) -> None:
    async with Proxy(server) as proxy, at(proxy.url) as (handled, queue, engine, client):
        await until_answers(client, 200, 200, 200)
        engine.pause("probed", "take")
        proxy.cut()
        await until_answers(client, 200, 503, 200)
        proxy.mend()
        await until_answers(client, 200, 200, 200)
        assert engine.status()[0].paused
        engine.resume("probed", "take")
        beside = place(server.url, queue.name)
        async with beside.broker:
            await beside.publish({"id": 1})
        await until(lambda: handled, within=30)


@pytest.mark.usefixtures("often")
async def test_a_publisher_with_nothing_to_publish_notices_a_broker_that_does_not_answer(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.5)
    memory, topology, name = Memory(), Topology("idle"), f"probed{uuid4().hex}"

    async with Proxy(server) as proxy:

        @topology.publisher(place(proxy.url, name))
        @topology.subscriber(memory.topic("in"))
        async def take(body: dict) -> dict:
            return body

        async with memory, Engine(topology, drain=5) as engine, client_of(engine) as client:
            await until_answers(client, 200, 200, 200)
            proxy.stall()
            await until_answers(client, 200, 503, 200)
            assert (await client.get("/readyz")).json()["reasons"][0].startswith(f"waits for to:{name}")
            proxy.mend()
            await until_answers(client, 200, 200, 200)
            await memory.topic("in").publish({"id": 1})
            await until(lambda: sum(stage.published for stage in engine.status()) == 1, within=30)


@pytest.mark.usefixtures("often")
async def test_an_idle_stage_notices_that_what_it_remembers_by_is_gone_and_back(redis_server: Any) -> None:
    memory, topology = Memory(), Topology("remembering")
    async with Proxy(redis_server) as proxy:

        @topology.subscriber(memory.topic("in"), deduplicate=Deduplicate(window=60, store=Redis(proxy.url)))
        async def take(body: dict) -> None: ...

        async with Engine(topology, drain=5) as engine, client_of(engine) as client:
            await until_answers(client, 200, 200, 200)
            proxy.cut()
            await until_answers(client, 200, 503, 200)
            assert engine.health().stages[0].waiting_for == "duplicates"
            proxy.mend()
            await until_answers(client, 200, 200, 200)


async def test_a_consumer_that_is_dead_for_good_is_not_alive(server: Any) -> None:
    with pytest.raises(IntensityExceeded):
        await crash(server.url)


async def crash(url: str) -> None:
    async with at(url) as (_, queue, engine, client):
        await until_answers(client, 200, 200, 200)
        async with queue.broker:
            await queue.publish({"crash": "not to be trusted"})
        await engine.ended.wait()
        assert await answers(client) == [503, 503, 200]
        assert "take" in str((await client.get("/livez")).json()["reasons"])


async def test_a_drain_is_not_ready_at_once_and_alive_until_its_end(server: Any) -> None:
    async with at(server.url) as (handled, queue, engine, client):
        await until_answers(client, 200, 200, 200)
        async with queue.broker:
            await queue.publish({"wait": 0.3})
        await until(lambda: handled)
        engine.drain()
        assert await answers(client) == [200, 503, 200]
        await engine.ended.wait()
        assert await answers(client) == [503, 503, 200]


async def test_a_stage_that_stands_still_is_not_ready_and_after_long_enough_not_alive(server: Any) -> None:
    with pytest.raises(DrainTimeout):
        await stand_still(server.url)


async def stand_still(url: str) -> None:
    async with at(url, stalled_after=0.2, drain=0.1) as (handled, queue, _, client):
        await until_answers(client, 200, 200, 200)
        async with queue.broker:
            await queue.publish({"wait": 60})
        await until(lambda: handled)
        with anyio.fail_after(20):
            while not (told := (await client.get("/readyz?verbose")).json())["stages"][0]["stalled"]:
                await anyio.sleep(0.02)
        assert told["stages"][0]["waiting_for"] == "handler"
        await until_answers(client, 503, 503, 200)
        assert "timeout=" in (await client.get("/livez")).json()["reasons"][0]


async def test_an_engine_that_starts_is_alive_and_neither_ready_nor_started() -> None:
    memory, topology, up = Memory(), Topology("slow"), anyio.Event()

    @topology.lifespan
    async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
        await up.wait()
        yield

    @topology.subscriber(memory.topic("in"))
    async def take(body: dict) -> None: ...

    engine = Engine(topology)
    async with anyio.create_task_group() as tasks, client_of(engine) as client:
        tasks.start_soon(engine.run)
        assert await answers(client) == [200, 503, 503]
        assert (await client.get("/api/v1/status")).json()["stages"] == []
        assert (await client.get("/api/v1/stages/slow/take")).status_code == 409
        up.set()
        await until_answers(client, 200, 200, 200)
        engine.drain()


async def test_an_engine_that_drains_is_not_ready_at_once_and_alive_until_its_end() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"wait": 1})
        await until(lambda: mill.handled)
        engine.drain()
        assert await answers(client) == [200, 503, 200]
        assert (await client.get("/readyz")).json()["draining"] is True
        mill.gate.set()
        await engine.ended.wait()
        assert await answers(client) == [503, 503, 200]


async def test_an_engine_whose_consumer_is_dead_for_good_is_not_alive() -> None:
    memory, topology = Memory(), Topology("dead", supervision=Supervision(intensity=0))

    @topology.subscriber(memory.topic("in"))
    class Take(Actor):
        async def receive(self, body: dict) -> None:
            raise Crash("not to be trusted")

    async def run() -> None:
        async with memory, Engine(topology) as engine, client_of(engine) as client:
            assert await answers(client) == [200, 200, 200]
            await memory.topic("in").publish({})
            await engine.ended.wait()
            assert await answers(client) == [503, 503, 200]
            assert "Take" in str((await client.get("/livez")).json()["reasons"])

    with pytest.raises(IntensityExceeded):
        await run()
