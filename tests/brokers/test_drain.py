"""Drains that run out of time on real servers: what is unfinished is given back, never acknowledged, and told."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from headrace import DrainTimeout, Engine, RabbitMQ, Redis
from tests.brokers.test_engine import Item, Site, ids, run_until
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.anyio
KINDS: dict[str, Any] = {"redis": Redis, "rabbitmq": RabbitMQ}


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def site(server: Any) -> Site:
    return Site(made(server.url))


def made(url: str) -> Any:
    return KINDS["redis" if url.startswith("redis") else "rabbitmq"](url)


async def drained(engine: Engine, when: anyio.Event) -> DrainTimeout | None:
    async def drain() -> None:
        await when.wait()
        engine.drain()

    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            try:
                await engine.run()
            except DrainTimeout as error:
                return error
    return None


async def comes_again(site: Site, expected: Iterable[int]) -> list[int]:
    """What another engine of the same group handles until it has had these; what comes before them comes first."""
    topology, seen, awaited = site.topology(), set[int](), set(expected)

    @topology.subscriber(site.place("in"))
    async def work(item: Item) -> None:
        seen.add(item.id)

    await run_until(topology, lambda engine: awaited <= seen)
    return sorted(seen)


async def test_full_mailboxes_behind_a_hanging_handler_go_back(site: Site) -> None:
    topology, stuck = site.topology(), anyio.Event()

    @topology.subscriber(site.place("in"), max_workers=2, mailbox=10)
    async def work(item: Item) -> None:
        if engine.status()[0].depth == 10:
            stuck.set()
        await anyio.sleep_forever()

    async def see() -> None:
        while not (engine.assemblies and engine.status()[0].depth == 10 and engine.status()[0].busy == 2):
            await anyio.sleep(0.005)
        stuck.set()

    await site.fill(60)
    engine = Engine(topology.graph(), drain=0.2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(see)
        error = await drained(engine, stuck)
    assert error is not None
    assert error.left == {"work": 12}
    assert error.unfinished[0].waiting == ("2 in its handler", "10 in its mailbox")
    assert await comes_again(site, range(60)) == list(range(60))


async def test_a_thread_that_hangs_keeps_nothing_from_the_broker(site: Site) -> None:
    topology, stuck, release = site.topology(), anyio.Event(), threading.Event()
    errors: list[DrainTimeout | None] = []

    @topology.publisher(site.place("out"))
    @topology.subscriber(site.place("in"), mailbox=10)
    def work(item: Item) -> Item:
        anyio.from_thread.run_sync(stuck.set)
        release.wait(50)
        return item

    async def run() -> None:
        errors.append(await drained(Engine(topology.graph(), drain=0.2), stuck))

    await site.fill(20)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await stuck.wait()
        try:
            assert await comes_again(site, range(20)) == list(range(20))
            assert not errors, "the thread was still at work"
        finally:
            release.set()
    assert errors[0] is not None
    assert set(errors[0].left) == {"work"}


async def test_a_publisher_without_an_answer_gives_back_what_it_has(server: Any, site: Site) -> None:
    topology, stuck = site.topology(), anyio.Event()
    async with Proxy(server) as proxy:
        beyond = Site(made(proxy.url))
        beyond.name = site.name

        @topology.publisher(beyond.place("out"))
        @topology.subscriber(site.place("in"), mailbox=10)
        async def work(item: Item) -> Item:
            return item

        async def stall() -> None:
            await engine.healthy(20)
            proxy.stall("answers")
            await site.fill(20)
            while not any(
                status.stage == "to:" + beyond.place("out").name and status.held for status in engine.status()
            ):
                await anyio.sleep(0.005)
            while not any(status.stage == "work" and status.received == 20 for status in engine.status()):
                await anyio.sleep(0.005)  # what is fetched only by the drain would not be given back by it
            stuck.set()

        engine = Engine(topology.graph(), drain=0.5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stall)
            error = await drained(engine, stuck)
        proxy.mend()
    assert error is not None
    assert error.left == {"work": 20}
    assert any("not confirmed" in wait for wait in error.unfinished[0].waiting)
    assert await comes_again(site, range(20)) == list(range(20))


PROGRAM = """
import os
import time
from headrace import Topology, broker

server = broker(os.environ["URL"])
name = os.environ["NAME"]
place = server.queue if hasattr(server, "queue") else server.stream
topology = Topology(name)


@topology.publisher(place(f"{name}.out"))
@topology.subscriber(place(f"{name}.in"), mailbox=10)
def work(item: dict) -> dict:
    if item["id"] >= 5:
        print("stuck", flush=True)
        time.sleep(600)
    return item
"""

IMPATIENT = """
import runpy
import engine.cli.run as run
run.LAST = 4.0  # seconds instead of 20
runpy.run_module("headrace", run_name="__main__")
"""


def signalled(command: list[str], folder: Path, environment: dict[str, str], signals: int) -> tuple[int, list[str]]:
    """Run until a handler hangs, send so many signals; the exit code and what was said after the first."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        while "draining" not in (line := process.stderr.readline()):
            assert line
        if signals == 2:
            process.send_signal(signal.SIGTERM)
        return process.wait(50), process.stderr.read().splitlines()


@pytest.mark.parametrize("signals", [1, 2])
async def test_signals_acknowledge_nothing_that_is_unfinished(
    server: Any, site: Site, signals: int, tmp_path: Path
) -> None:
    await site.fill(20, keys=1)
    (tmp_path / "stuck.py").write_text(PROGRAM)
    environment = os.environ | {"URL": server.url, "NAME": site.name, "HEADRACE_LOG_FORMAT": "json"}
    command = [sys.executable, "-c", IMPATIENT, "run", "stuck.py", "--drain", "0" if signals == 1 else "60"]
    code, lines = await anyio.to_thread.run_sync(signalled, command, tmp_path, environment, signals)
    assert code == (1 if signals == 1 else 128 + signal.SIGTERM)
    assert "unfinished, and not acknowledged: work 1" in lines[-1]
    assert " in its handler" in lines[-1]
    assert all(json.loads(line) for line in lines[:-1])
    if isinstance(site.broker, Redis):
        site.broker = Redis(server.url, min_idle=1)  # another consumer takes over what is not renewed for so long
    again = await comes_again(site, range(5, 20))
    assert set(range(5, 20)) <= set(again)
    acknowledged = set(range(20)) - set(again)
    assert acknowledged <= set(ids(await site.read("out", len(acknowledged))))
