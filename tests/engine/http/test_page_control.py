"""Acting on the live page: pause, resume, scale, samples and dead letters, with the right token and without."""

import anyio
import pytest
from playwright.async_api import Browser, expect

from headrace import Engine, Redis, Topology
from tests.engine.http.browsing import Look, Shop, looking, served
from tests.engine.http.served import TOKEN, until
from tests.servers.redis import Redis as RedisServer

pytestmark = pytest.mark.anyio


async def press(look: Look, name: str) -> None:
    await look.page.locator("#panel").get_by_role("button", name=name, exact=True).click()


async def test_pause_resume_and_scale_need_the_token_once(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await look.open("check")
        await press(look, "Pause")
        await look.give_token("not-the-token")
        await expect(look.page.get_by_role("alert").filter(has_text="Refused")).to_contain_text("not the engine's")
        assert not any(stage.paused for stage in engine.status())
        await look.give_token()
        await expect(look.page.locator("#told")).to_have_text("check is paused")
        await expect(look.box("check").locator(".badge")).to_have_text("paused")
        await expect(look.page.locator("#panel .sentence")).to_contain_text("resume it to go on")
        assert [stage.stage for stage in engine.status() if stage.paused] == ["check"]
        await press(look, "Resume")
        await expect(look.box("check").locator(".badge")).to_be_empty()
        await look.page.get_by_label("Workers", exact=True).fill("7")
        await press(look, "Scale")
        await expect(look.box("check")).to_contain_text("0/7")
        assert [stage.workers for stage in engine.status() if stage.stage == "check"] == [7]
        assert TOKEN not in look.page.url
        assert not [each for each in look.asked if TOKEN in each]
        assert await look.page.evaluate("localStorage.length") == 0


async def test_what_cannot_be_done_is_said_in_the_engines_words(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await look.open("score")  # it takes from a stage: there is nothing to pause
        await expect(look.page.locator("#panel").get_by_role("button", name="Pause")).to_be_hidden()
        await look.page.get_by_label("Workers", exact=True).fill("3")
        engine.drain()
        await until(
            lambda: all(running.mailbox.closed for each in engine.assemblies for running in each.stages.values())
        )
        await press(look, "Scale")
        await look.give_token()
        await expect(look.page.locator("#wrong")).not_to_be_empty()


async def test_without_a_token_set_the_page_says_how_to_set_one(browser: Browser) -> None:
    shop = Shop()
    running = Engine(shop.topology)
    async with shop.memory, running as engine, served(engine, token=None) as url, looking(browser, url) as look:
        await look.open("check")
        await press(look, "Pause")
        await look.give_token("anything")
        await expect(look.page.locator("#wrong")).to_contain_text("HEADRACE_TOKEN")


async def test_where_reading_is_guarded_the_page_asks_first(browser: Browser) -> None:
    shop = Shop()
    running, context = Engine(shop.topology), await browser.new_context()
    async with shop.memory, running as engine, served(engine, guard_reading=True) as url, context:
        look = Look(await context.new_page(), url)
        await look.page.goto(url)
        await look.page.get_by_role("button", name="Cancel").click()
        await expect(look.page.locator("#gone")).to_contain_text("it needs the token")
        asked = len(look.asked)
        await look.page.locator("#token").click()
        await expect(look.page.get_by_role("dialog")).to_have_count(1)
        assert len(look.asked) == asked  # nobody is pestered, the engine neither
        await look.give_token()
        await expect(look.page.locator("#state")).to_have_text("ready")
        assert look.wrong == []


async def test_samples_come_as_they_are_and_end_with_the_panel(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await look.open("by_total")
        await press(look, "Watch messages")
        await look.give_token()
        await expect(look.page.locator("#panel")).to_contain_text("Waiting for a message")
        samples = look.page.locator(".samples li")
        number = 0
        with anyio.fail_after(15):
            while not await samples.count():
                await shop.publish({"id": (number := number + 1), "total": 500})
        await expect(samples.first).to_contain_text('"total":500')
        await expect(look.page.locator(".samples")).to_contain_text("→")
        await look.page.get_by_role("button", name="Close").click()
        workers = engine.assemblies[0].stages["by_total"].pool.workers
        await until(lambda: not any(type(getattr(each, "pass_on", None)).__name__ == "_PassOn" for each in workers))


def orders(url: str, mended: set[str], names: str) -> tuple[Topology, Redis]:
    redis = Redis(url)
    topology = Topology("orders")

    @topology.publisher(redis.stream(f"{names}.done"))
    @topology.subscriber(redis.stream(names), max_workers=2)
    async def check(body: dict) -> dict:
        if body["fault"] not in mended:
            raise ValueError(body["fault"])
        return body

    return topology, redis


async def test_dead_letters_are_looked_at_and_put_back(browser: Browser, redis_server: RedisServer) -> None:
    mended = set[str]()
    topology, redis = orders(redis_server.url, mended, "page.orders")
    faults = ["no stock", "no stock", "card [expired]*"]
    async with redis, Engine(topology, drain=5) as engine, served(engine) as url, looking(browser, url) as look:
        for number, fault in enumerate(faults):
            await redis.stream("page.orders").publish({"id": number, "fault": fault}, headers={"tenant": "7"})
        await expect(look.page.locator("#dead")).to_have_text("3")
        await look.open("check")
        await press(look, "Browse")
        await look.give_token()
        await expect(look.page.locator(".letters li")).to_have_count(3)
        await look.page.locator(".letters summary").first.click()
        whole = look.page.locator(".letters .whole").first
        await expect(whole).to_contain_text('"fault": "no stock"')
        await expect(whole).to_contain_text("tenant")
        await expect(whole).to_contain_text("Traceback")
        await look.picture("dead-letters")

        mended.add("card [expired]*")  # by its reason: one of them, though it reads like a pattern
        await look.page.locator(".reasons li").filter(has_text="card").get_by_role("button").click()
        await expect(look.page.get_by_role("dialog")).to_contain_text("They go back to page.orders")
        await look.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await expect(look.page.locator(".letters li")).to_have_count(3)
        await look.page.locator(".reasons li").filter(has_text="card").get_by_role("button").click()
        await look.page.get_by_role("dialog").get_by_role("button", name="Redrive").click()
        await expect(look.page.locator("#told")).to_have_text("1 put back, 2 left")
        await expect(look.page.locator(".letters li")).to_have_count(2)

        mended.add("no stock")
        await look.page.get_by_role("button", name="Redrive all").click()
        await look.page.get_by_role("dialog").get_by_role("button", name="Redrive").click()
        await expect(look.page.locator("#told")).to_have_text("2 put back")
        await expect(look.page.locator(".letters li")).to_have_count(0)
        await until(lambda: sum(stage.published for stage in engine.status()) == 3)
