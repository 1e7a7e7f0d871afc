"""The live page in a browser: what it shows of a running engine, in any light, on any screen, by keyboard alone."""

import re

import anyio
import pytest
from httpx import AsyncClient, Response
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from engine.http.app import Features, http_app
from engine.http.live import FOLDER
from engine.http.server import Connections, address_of, listen, serving, urls
from headrace import Engine, Memory, Topology
from tests.engine.http.browsing import Shop, looking, served
from tests.engine.http.served import TOKEN

pytestmark = pytest.mark.anyio
MOST = 100_000
"""Bytes that the page may have, all of it together."""


def test_the_page_is_light_and_asks_nobody_else() -> None:
    files = [file for file in FOLDER.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MOST
    for file in files:
        hosts = set(re.findall(r"https?://([^/\"' )]+)", file.read_text()))
        assert hosts <= {"www.w3.org"}, f"{file.name} names {hosts}"  # the names of SVG, which nobody fetches


async def get(url: str) -> Response:
    async with AsyncClient() as client:
        return await client.get(url)


async def test_nothing_may_run_in_it_but_its_own_files() -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url:
        answer = await get(url)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?! type=\"module\" src=)|<style|style=|\son\w+=", answer.text)
        script = await get(f"{url}page/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert (await get(f"{url}page/../live.py")).status_code == 404


async def test_without_the_api_there_is_no_page_to_show_nothing() -> None:
    shop = Shop()
    features = Features(api=False)
    async with shop.memory, Engine(shop.topology) as engine, served(engine, features=features) as url:
        answer = await get(url)
    assert "paths" in answer.json()


async def test_it_shows_what_the_engine_does(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await expect(look.page.locator("#state")).to_have_text("ready")
        await expect(look.page).to_have_title("shop · Headrace")
        assert await look.page.locator("button.box").count() == 5
        assert await look.page.locator("path.bed").count() == 7
        await expect(look.page.locator("#names")).to_have_text("shop")
        await shop.publish(*({"id": number, "total": number} for number in range(200)), {"fail": "odd"})
        await expect(look.page.locator("#settled")).to_have_text("201")
        await expect(look.page.locator("#dead")).to_have_text("1")
        await expect(look.box("check")).to_contain_text("✕ 1 dead")
        await expect(look.box("check")).to_contain_text("↻ 1 retry")
        await expect(look.page.locator("#flight")).to_have_text("0")


async def test_the_stage_that_holds_the_others_up_is_seen_at_a_glance(browser: Browser) -> None:
    gate = anyio.Event()
    shop = Shop(slow=gate.wait)
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await shop.publish(*({"id": number} for number in range(600)))
        await expect(look.box("score").locator(".badge")).to_have_text("bottleneck")
        await expect(look.box("score")).to_contain_text("2/2")
        await expect(look.box("score")).to_contain_text("16/16")
        await expect(look.box("check").locator(".badge")).to_be_empty()  # full too, but it only waits
        await look.picture("bottleneck")
        gate.set()
        await expect(look.box("score").locator(".badge")).to_be_empty()


async def test_a_stage_opens_beside_the_picture(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await shop.publish({"fail": "no such customer"})
        await expect(look.page.locator("#dead")).to_have_text("1")
        await look.open("check")
        panel = look.page.locator("#panel")
        await expect(panel).to_contain_text("Look at each order.")
        await expect(panel).to_contain_text("browsing.py:")
        await expect(panel).to_contain_text("attempts 2")
        await expect(panel).to_contain_text("one for one: gives up after more than 3 restarts")
        await expect(panel.locator(".links")).to_contain_text("connected")
        await expect(panel.locator(".errors")).to_contain_text("ValueError")
        await expect(panel.locator(".errors")).to_contain_text("they are shown with the token")
        await expect(panel).not_to_contain_text("no such customer")
        await look.page.get_by_role("button", name="Close").click()
        await expect(panel).to_be_hidden()
        await expect(look.box("check")).to_be_focused()


async def test_the_keyboard_alone_is_enough(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        press = look.page.keyboard.press
        for _ in range(12):
            await press("Tab")
            if await look.page.evaluate("document.activeElement.classList.contains('box')"):
                break
        await expect(look.box("check")).to_be_focused()
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await look.page.evaluate(outline) == "solid"
        await press("ArrowRight")
        await expect(look.box("score")).to_be_focused()
        await press("ArrowRight")
        await press("Enter")
        await expect(look.page.locator("#panel-name")).to_have_text("by_total")
        await expect(look.page.get_by_role("button", name="Close")).to_be_focused()
        await press("Escape")
        await expect(look.box("by_total")).to_be_focused()
        await press("/")
        await expect(look.page.locator("#find")).to_be_focused()
        await look.page.keyboard.type("large")
        await expect(look.page.locator("#found")).to_have_text("1 of 5")
        await press("Escape")
        await expect(look.page.locator("#found")).to_be_empty()


async def test_the_table_sorts_and_filters(browser: Browser) -> None:
    shop = Shop()
    async with shop.memory, Engine(shop.topology) as engine, served(engine) as url, looking(browser, url) as look:
        await shop.publish(*({"fail": "odd"} for _ in range(3)))
        await look.page.get_by_role("button", name="Table").click()
        names = look.page.locator("tbody .name")
        await look.page.get_by_role("button", name="Stage").click()
        assert await names.all_inner_texts() == ["by_total", "check", "large", "score", "small"]
        await expect(look.page.locator("th.stage")).to_have_attribute("aria-sort", "ascending")
        await look.page.get_by_role("button", name="Stage").click()
        assert await names.all_inner_texts() == ["small", "score", "large", "check", "by_total"]
        await look.page.get_by_role("button", name="Dead").click()
        await expect(names.first).to_have_text("check")
        await look.page.locator("#find").fill("memory orders.small")
        await expect(names).to_have_text(["small"])
        await names.first.click()
        await expect(look.page.locator("#panel-name")).to_have_text("small")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser: Browser, scheme: str) -> None:
    shop, gate = Shop(), anyio.Event()
    shop.slow = gate.wait
    phone = {"viewport": {"width": 360, "height": 720}, "color_scheme": scheme, "has_touch": True}
    async with shop.memory, Engine(shop.topology, drain=1) as engine, served(engine) as url:
        async with looking(browser, url, **phone) as look:
            await shop.publish(*({"id": number} for number in range(600)))
            await expect(look.page.locator("tbody tr")).to_have_count(5)
            await look.picture(f"phone-{scheme}")
            assert await look.page.evaluate("document.documentElement.scrollWidth") == 360
            await look.page.locator("tbody .name").first.tap()
            await expect(look.page.locator("#panel-name")).to_have_text("check")
            assert await look.page.evaluate("document.querySelector('#panel').scrollWidth") == 360
            await look.picture(f"phone-{scheme}-stage")
        gate.set()


CONTRAST = """() => {
  const rgb = (text) => {
    const context = new OffscreenCanvas(1, 1).getContext('2d');
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (parts) => parts.slice(0, 3).map((each) => each / 255)
    .map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  for (const node of document.body.querySelectorAll('*')) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!own || !node.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.className} ${node.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_its_words_stand_out_from_what_is_behind_them(browser: Browser, scheme: str) -> None:
    shop, gate = Shop(), anyio.Event()
    shop.slow = gate.wait
    async with shop.memory, Engine(shop.topology, drain=1) as engine, served(engine) as url:
        async with looking(browser, url, color_scheme=scheme, reduced_motion="reduce") as look:
            await shop.publish({"fail": "odd"}, *({"id": number} for number in range(600)))
            await expect(look.box("score").locator(".badge")).to_have_text("bottleneck")
            await look.open("check")
            await expect(look.page.locator("#panel .errors")).to_contain_text("ValueError")
            assert await look.page.evaluate(CONTRAST) == []
            assert await look.page.evaluate("document.getAnimations().length") == 0
            await look.picture(f"wide-{scheme}")
            await look.page.get_by_role("button", name="Table").click()
            await expect(look.page.locator("tbody tr")).to_have_count(5)
            assert await look.page.evaluate(CONTRAST) == []
        gate.set()


async def test_several_topologies_stand_below_each_other(browser: Browser) -> None:
    memory, first, second = Memory(), Topology("first"), Topology("second")
    for topology in (first, second):

        @topology.subscriber(memory.topic(f"into.{topology.name}"), name="same")
        async def same(body: dict) -> None:
            pass

    async with memory, Engine(first, second) as engine, served(engine) as url, looking(browser, url) as look:
        await expect(look.page.locator("h2.topology")).to_have_text(["first", "second"])
        await expect(look.box("same")).to_have_count(2)
        await look.page.locator("#find").fill("second")
        await expect(look.page.locator("#found")).to_have_text("1 of 2")


async def test_it_may_be_mounted_anywhere(browser: Browser) -> None:
    shop, sockets = Shop(), listen(address_of("127.0.0.1:0"))
    url = f"{urls(sockets)[0].rstrip('/')}/engine/"
    async with shop.memory, Engine(shop.topology) as engine:
        around = Starlette(routes=[Mount("/engine", http_app(engine, token=TOKEN))])
        async with serving(Connections(around), sockets), looking(browser, url) as look:
            await expect(look.page.locator("#state")).to_have_text("ready")
            await look.open("check")
            await expect(look.page.locator("#panel")).to_contain_text("Look at each order.")
