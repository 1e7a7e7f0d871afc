"""The app of an engine as `headrace run` serves it: by its settings, at its address."""

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from logging import getLogger

from starlette.applications import Starlette

from engine.engine import Engine
from engine.http.app import FEATURES, Features, http_app
from engine.http.metrics import metrics
from engine.http.server import Address, Connections, address_of, listen, serving, urls
from engine.settings import Settings
from engine.telemetry.scrape import Scrape

logger = getLogger("headrace")


def site_of(engine: Engine, settings: Settings, scrape: Scrape | None = None) -> AbstractAsyncContextManager[None]:
    """Listen where the settings say, now; serve while the block runs. Raises `AddressError`."""
    assert settings.http is not None
    address = address_of(settings.http)
    return _served(_app(engine, settings, address, scrape), address, settings.token is not None, listen(address))


def _app(engine: Engine, settings: Settings, address: Address, scrape: Scrape | None) -> Starlette:
    hosts = {name.strip() for name in settings.http_hosts.split(",") if name.strip()} | {address.host}
    return http_app(
        engine,
        token=None if settings.token is None else settings.token.get_secret_value(),
        guard_reading=settings.http_guard_reading,
        features=Features(**{name: getattr(settings, f"http_{name}") for name in FEATURES}),
        hosts=hosts,
        documents={} if scrape is None else {"/metrics": metrics(scrape, engine)},
    )


@asynccontextmanager
async def _served(app: Starlette, address: Address, token: bool, sockets: list[socket.socket]) -> AsyncIterator[None]:
    if not address.loopback and not token:
        logger.warning("%s can be reached from other machines, and no token is set: all may read, none change", address)
    async with serving(Connections(app), sockets):
        for url in urls(sockets):
            logger.info("serving at %s", url)
        yield
