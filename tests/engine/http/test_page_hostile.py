"""What comes from outside is shown as the text that it is: names, bodies, headers, errors, all of them hostile."""

import pytest
from playwright.async_api import Browser, expect

from headrace import Engine, Redis, Retry, Topology
from tests.engine.http.browsing import looking, served
from tests.engine.http.test_page_control import press
from tests.servers.redis import Redis as RedisServer

pytestmark = pytest.mark.anyio
EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=2</script>\"'`${1}--></style></textarea>"
NAME = "<img/src=x/onerror=window.hacked=3>\"'&lt;"
ODD = "../../pause?x#y"


def hostile(url: str) -> tuple[Topology, Redis]:
    redis = Redis(url)
    topology = Topology("evil")

    async def handle(body: dict) -> dict:
        if body.get("fail"):
            raise ValueError(EVIL)
        return body

    handle.__doc__ = EVIL
    topology.publisher(redis.stream(f"{NAME}out"), name=f"{NAME}p")(
        topology.subscriber(redis.stream(f"{NAME}in"), name=NAME, retry=Retry(attempts=1))(handle)
    )

    @topology.subscriber(redis.stream("evil.odd"), name=ODD)
    async def odd(body: dict) -> None:
        pass

    return topology, redis


async def test_no_name_body_header_or_error_becomes_markup(browser: Browser, redis_server: RedisServer) -> None:
    topology, redis = hostile(redis_server.url)
    source = redis.stream(f"{NAME}in")
    async with redis, Engine(topology, drain=5) as engine, served(engine) as url, looking(browser, url) as look:
        await source.publish({"fail": EVIL, EVIL: EVIL}, headers={"x-evil": EVIL}, key=EVIL)
        await expect(look.page.locator("#dead")).to_have_text("1")
        await look.open(NAME)
        await press(look, "Browse")
        await look.give_token()
        await expect(look.page.locator(".letters li")).to_have_count(1)
        await look.page.locator(".letters summary").click()
        await expect(look.page.locator(".letters .whole")).to_contain_text(EVIL)
        await expect(look.page.locator("#panel .about")).to_have_text(EVIL)
        await expect(look.page.locator("#panel .errors")).to_contain_text(EVIL)
        await press(look, "Watch messages")
        await source.publish({"ok": EVIL}, headers={"x-evil": EVIL})
        await expect(look.page.locator(".samples li").first).to_contain_text("script>")
        await look.page.locator("#find").fill(NAME)
        await expect(look.page.locator("#found")).to_have_text("2 of 3")
        await look.page.get_by_role("button", name="Table").click()
        await expect(look.page.locator("tbody .name").first).to_have_text(NAME)
        await look.picture("hostile")
        assert await look.page.evaluate("window.hacked") is None
        assert await look.page.locator("img[src=x], main script, aside script, [onerror]").count() == 0


async def test_a_stage_is_acted_on_whatever_its_name(browser: Browser, redis_server: RedisServer) -> None:
    topology, redis = hostile(redis_server.url)
    async with redis, Engine(topology, drain=5) as engine, served(engine) as url, looking(browser, url) as look:
        await look.page.locator("button.box").filter(has_text="pause?x").click()
        await press(look, "Pause")
        await look.give_token()
        await expect(look.page.locator("#panel .badge")).to_have_text("paused")
        assert [stage.stage for stage in engine.status() if stage.paused] == [ODD]


async def test_the_browser_itself_refuses_markup_made_of_text(browser: Browser, redis_server: RedisServer) -> None:
    topology, redis = hostile(redis_server.url)
    async with redis, Engine(topology, drain=5) as engine, served(engine) as url, looking(browser, url) as look:
        tried = "() => { try { document.body.innerHTML = '<b>x'; return 'taken' } catch (error) { return error.name } }"
        assert await look.page.evaluate(tried) == "TypeError"
        look.wrong.clear()  # the browser has said so, too
