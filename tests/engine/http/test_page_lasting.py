"""The live page over time and at size: an engine that goes and comes back, a day of updates, a thousand stages."""

import json
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, CDPSession, expect

from headrace import Engine, Memory, Redis, Topology
from tests.engine.http.browsing import Look, Shop, looking, served
from tests.servers.redis import Redis as RedisServer

pytestmark = pytest.mark.anyio
UPDATE = 0.05
"""Seconds that the page may be busy with one update of a thousand stages."""
GROWTH = 1_500_000
"""Bytes: the history fills up, and nothing else may."""

MANY_UPDATES = """async ([text, first, last]) => {
  const { heard } = await import('/page/app.js');
  for (let at = first; at < last; at++) {
    const status = JSON.parse(text);
    for (const stage of status.stages) {
      stage.handled = stage.received = stage.settled = at * 7;
      stage.depth = at % 16;
      stage.health.told = `told ${at}`;
      stage.health.stalled = at % 3 === 0;
      stage.retried = at % 5;
    }
    await heard(status, status.time + at);
    if (at % 10 === 0) await new Promise((seen) => setTimeout(() => requestAnimationFrame(seen)));
  }
}"""


async def test_an_engine_that_goes_is_missed_and_greeted_when_it_comes_back(browser: Browser) -> None:
    async with AsyncExitStack() as first:
        shop = Shop()
        await first.enter_async_context(shop.memory)
        engine = await first.enter_async_context(Engine(shop.topology))
        url = await first.enter_async_context(served(engine))
        async with looking(browser, url, reduced_motion="reduce") as look:
            await shop.publish(*({"id": number} for number in range(50)))
            await expect(look.page.locator("#settled")).to_have_text("50")
            await look.open("check")
            await first.aclose()
            await expect(look.page.locator("#gone")).to_contain_text("Disconnected since")
            await expect(look.page.locator("#state")).to_have_text("disconnected")
            assert "grayscale(1)" in await look.page.locator("main").evaluate("node => getComputedStyle(node).filter")
            await expect(look.page.locator("#settled")).to_have_text("50")
            await look.picture("disconnected")
            again = Shop()
            place = urlsplit(url).netloc
            async with again.memory, Engine(again.topology) as engine, served(engine, at=place):
                await expect(look.page.locator("#state")).to_have_text("ready")
                await expect(look.page.locator("#gone")).to_be_hidden()
                await expect(look.page.locator("#settled")).to_have_text("0")
                await again.publish({"id": 1})
                await expect(look.page.locator("#settled")).to_have_text("1")
                await expect(look.page.locator("#panel-name")).to_have_text("check")
            look.wrong = [each for each in look.wrong if "ERR_" not in each]  # Chromium's words for a broken connection


async def heap(session: CDPSession) -> tuple[int, int]:
    """Bytes in use, and nodes of the document, after the garbage is gone."""
    await session.send("HeapProfiler.collectGarbage")
    used = (await session.send("Runtime.getHeapUsage"))["usedSize"]
    return used, (await session.send("Memory.getDOMCounters"))["nodes"]


async def test_a_page_left_open_does_not_grow(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        text = await look.page.evaluate("async () => (await fetch('/api/v1/status')).text()")
        await look.open("check")
        session = await look.page.context.new_cdp_session(look.page)
        await look.page.evaluate(MANY_UPDATES, [text, 1, 400])
        before, nodes = await heap(session)
        await look.page.evaluate(MANY_UPDATES, [text, 400, 1400])
        after, nodes_after = await heap(session)
        print(f"heap {before:,} and {after:,} bytes, {nodes} and {nodes_after} nodes, over 1,000 updates")
        assert after - before < GROWTH
        assert nodes_after - nodes < 200


def thousand() -> tuple[Memory, Topology]:
    memory, topology = Memory(), Topology("large")
    for chain in range(100):
        before: Any = memory.topic(f"into.{chain}")
        for number in range(10):

            @topology.subscriber(before, name=f"chain{chain}.{number}")
            async def step(body: dict) -> dict:
                return body

            before = step
    return memory, topology


async def busy(look: Look, session: CDPSession, text: str, updates: int = 20) -> float:
    """The mean time that the page's only thread is busy with an update in which every stage has changed."""

    async def spent() -> float:
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    began = await spent()
    every = MANY_UPDATES.replace("at % 10 === 0", "true")
    at = json.loads(await look.page.evaluate("JSON.stringify(Math.round(performance.now()))"))
    await look.page.evaluate(every, [text, at, at + updates])
    return (await spent() - began) / updates


async def test_a_thousand_stages_do_not_freeze_it(browser: Browser) -> None:
    memory, topology = thousand()
    async with memory, Engine(topology, drain=5) as engine, served(engine) as url, looking(browser, url) as look:
        await expect(look.page.locator("#as-table")).to_have_attribute("aria-pressed", "true")  # what it begins with
        text = await look.page.evaluate("async () => (await fetch('/api/v1/status')).text()")
        assert len(json.loads(text)["stages"]) == 1000
        session = await look.page.context.new_cdp_session(look.page)
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})  # others may use the machine
        rows = await look.page.locator("tbody tr").count()
        assert 10 < rows < 60  # what is in view, and a little more
        times = {"table": await busy(look, session, text)}
        await look.page.get_by_role("button", name="Picture").click()
        boxes = await look.page.locator("button.box").count()
        assert 5 < boxes < 150
        times["picture"] = await busy(look, session, text)
        await look.picture("thousand")
        await look.page.locator("#find").fill("chain99.9")
        await expect(look.page.locator("#found")).to_have_text("1 of 1,000")
        await expect(look.box("chain99.9")).to_be_in_viewport()
        print({name: f"{1000 * seconds:.1f} ms an update" for name, seconds in times.items()})
        assert max(times.values()) < UPDATE


async def test_a_broker_that_is_away_is_seen_where_it_is(browser: Browser, redis_server: RedisServer) -> None:
    redis, memory, topology = Redis(redis_server.url), Memory(), Topology("away")

    @topology.publisher(memory.topic("done"))
    @topology.subscriber(redis.stream("page.away"))
    async def relay(body: dict) -> dict:
        return body

    running = Engine(topology, drain=5)
    async with redis, memory, running as engine, served(engine) as url, looking(browser, url) as look:
        await expect(look.page.locator("#attention")).to_be_hidden()
        redis_server.kill()
        await expect(look.page.locator(".end.source")).to_contain_text("away")
        await expect(look.page.locator(".end.destination")).not_to_contain_text("away")
        await expect(look.page.locator("#state")).to_have_text("not ready")
        await expect(look.box("relay").locator(".badge")).to_have_text("disconnected")
        await look.picture("away")
        await look.page.locator("#attention").get_by_role("button").click()
        await expect(look.page.locator("#panel .sentence")).to_contain_text("waits for its broker")
        await redis_server.async_start()
        await expect(look.page.locator("#state")).to_have_text("ready", timeout=30_000)
        await expect(look.page.locator("#attention")).to_be_hidden()
