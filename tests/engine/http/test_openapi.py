"""The OpenAPI document: it is valid, it is true, and whatever is asked by it, or against it, nothing breaks."""

from typing import Any

import anyio
import pytest
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from starlette.types import ASGIApp

from engine.http.app import http_app
from engine.http.operations import PREFIX
from headrace import Engine
from tests.engine.http.served import BEARER, TOKEN, Mill, milling

pytestmark = pytest.mark.anyio
DOCUMENT = f"{PREFIX}/openapi.json"


async def test_the_document_names_every_route_of_the_api_and_no_other() -> None:
    async with milling() as (_, engine, client):
        described = (await client.get(DOCUMENT)).json()
        app = http_app(engine)
        there = {
            (method, route.path.replace(":path}", "}"))  # type: ignore[attr-defined]
            for route in app.routes
            for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
            if route.path.startswith(PREFIX) and route.path != DOCUMENT  # type: ignore[attr-defined]
        }
    assert described["openapi"].startswith("3.1")
    assert {(method.upper(), path) for path, each in described["paths"].items() for method in each} == there


async def test_every_operation_says_whether_it_needs_the_token() -> None:
    async with milling() as (_, _, client):
        described = (await client.get(DOCUMENT)).json()
    for path, each in described["paths"].items():
        for method, operation in each.items():
            guarded = operation["security"] == [{"token": []}]
            assert guarded == (method == "post" or "/dead" in path)
            assert ("401" in operation["responses"]) == guarded


class Paced:
    """The app of an engine that runs in another thread, called from there."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.portal = portal
        self.mill = Mill()
        self.engine = Engine(self.mill.topology, drain=1)
        self.engine.drain = lambda: None  # type: ignore[method-assign] - the others still want to ask
        self.app = http_app(self.engine, token=TOKEN)
        self.ends: anyio.Event | None = None

    async def run(self, started: Any) -> None:
        self.ends = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.engine.run)
            await self.engine.started.wait()
            started.set()
            await self.ends.wait()
            tasks.cancel_scope.cancel()
