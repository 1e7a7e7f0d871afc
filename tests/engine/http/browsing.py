"""For the tests of the live page: a browser, an engine that is served, and a look at both.

Screenshots go to `tests/pictures/` (or where HEADRACE_PICTURES says), which git ignores; the tests print where.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright

from engine.http.app import http_app
from engine.http.server import Connections, address_of, listen, serving, urls
from headrace import Engine, Memory, Retry, Topology
from tests.engine.http.served import TOKEN
from tests.servers import programs

PICTURES = Path(os.environ.get("HEADRACE_PICTURES", Path(__file__).parents[2] / "pictures"))
REFUSALS = ("status of 401", "status of 403", "status of 404", "status of 409", "ERR_CONNECTION_REFUSED")
"""What Chromium itself writes to the console about an answer that the page then puts into words."""


@dataclass
class Look:
    """A page that is open, and what went wrong on it."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self._note(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(each in text for each in REFUSALS):
            self.wrong.append(text)

    def _asked(self, request: Request) -> None:
        self.asked.append(request.url)

    async def picture(self, name: str) -> None:
        """Keep what is seen."""
        await self.page.screenshot(path=PICTURES / f"{name}.png")  # it makes the folder too
        print(f"screenshot: {PICTURES / name}.png")

    def box(self, stage: str) -> Any:
        """The box of a stage in the picture."""
        return self.page.locator("button.box").filter(has=self.page.locator(".name").get_by_text(stage, exact=True))

    async def open(self, stage: str) -> None:
        """Open a stage."""
        await self.box(stage).click()
        await self.page.locator("#panel-name").get_by_text(stage, exact=True).wait_for()

    async def give_token(self, token: str = TOKEN) -> None:
        """Answer the question for the token."""
        await self.page.get_by_label("Token", exact=True).fill(token)
        await self.page.get_by_role("button", name="Use it").click()


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    """Debian's Chromium, or whichever is there; shared by the tests of a module."""
    async with async_playwright() as playwright:
        # Chromium refuses its sandbox to root, as whom tests in a container run.
        browser = await playwright.chromium.launch(
            executable_path=programs.chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking(browser: Browser, url: str, **options: Any) -> AsyncIterator[Look]:
    """Open the page at `url`, until its stages are there; nothing may go wrong on it."""
    options = {"viewport": {"width": 1400, "height": 850}, **options}
    async with await browser.new_context(**options) as context:
        context.set_default_timeout(15_000)
        look = Look(await context.new_page(), url)
        await look.page.goto(url)
        await look.page.locator("#empty").wait_for(state="hidden")
        yield look
        assert look.wrong == []
        assert {each for each in look.asked if not each.startswith(url)} == set()


@asynccontextmanager
async def served(engine: Engine, at: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[str]:
    """Serve an engine; its URL."""
    sockets = listen(address_of(at))
    async with serving(Connections(http_app(engine, **{"token": TOKEN, **options})), sockets):
        yield f"{urls(sockets)[0].rstrip('/')}/"


@dataclass
class Shop:
    """A topology with what a page has to show: a router, retries, dead letters, and a slow stage."""

    memory: Memory = field(default_factory=Memory)
    topology: Topology = field(default_factory=lambda: Topology("shop"))
    slow: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        large = self.topology.publisher(self.memory.topic("orders.large"), name="large")
        small = self.topology.publisher(self.memory.topic("orders.small"), name="small")

        @self.topology.subscriber(self.memory.topic("orders"), max_workers=4, retry=Retry(attempts=2, first=0.01))
        async def check(order: dict) -> dict:
            """Look at each order."""
            if order.get("fail"):
                raise ValueError(order["fail"])
            return order

        @self.topology.subscriber(check, max_workers=2, mailbox=16)
        async def score(order: dict) -> dict:
            if self.slow is not None:
                await self.slow()
            return order

        @self.topology.router(score, to=[large, small])
        def by_total(order: dict) -> object:
            return large if order.get("total", 0) > 100 else small

    async def publish(self, *orders: dict[str, Any]) -> None:
        for order in orders:
            await self.memory.topic("orders").publish(order)
