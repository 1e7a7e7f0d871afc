"""What `/metrics` answers those who accept one form, another, or nonsense."""

import math

import pytest
from httpx import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from engine.http.app import Renderer, http_app
from engine.http.metrics import metrics
from engine.telemetry.scrape import OPEN_METRICS, TEXT, form, scrape
from headrace import Engine, Memory, Topology

pytestmark = pytest.mark.anyio
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
ACCEPTED = [
    ("", TEXT),
    ("*/*", TEXT),
    (PROMETHEUS, OPEN_METRICS),
    ("application/openmetrics-text", OPEN_METRICS),
    ("application/openmetrics-text; version=1.0.0", OPEN_METRICS),
    ("application/openmetrics-text; version=0.0.1", TEXT),
    ("application/openmetrics-text; version=99.0.0", TEXT),
    ("application/openmetrics-text; q=0.1, text/plain", TEXT),
    ("application/openmetrics-text; q=0", TEXT),
    ("text/plain; version=0.0.4", TEXT),
    ("text/plain; version=1.0.0", TEXT),
    ("text/plain; version=abc", TEXT),
    ("application/openmetrics-text; version=abc", TEXT),
    ("application/x-openmetrics", TEXT),
    ("text/plain; q=much", TEXT),
]


@pytest.mark.parametrize(("accept", "expected"), ACCEPTED)
def test_the_form_is_the_one_accepted(accept: str, expected: str) -> None:
    assert form(accept) == expected


@given(st.text())
def test_whatever_is_accepted_there_is_a_form(accept: str) -> None:
    text, kind = scrape().text(accept)
    assert kind.startswith(form(accept).partition(";")[0])
    assert math.isfinite(len(text))


async def test_each_is_answered_in_its_form_whoever_has_asked_before() -> None:
    memory, topology = Memory(), Topology("shop")

    @topology.subscriber(memory.topic("in"))
    async def take(body: dict) -> None: ...

    engine = Engine(topology)
    documents: dict[str, Renderer] = {"/metrics": metrics(scrape(), engine)}
    async with AsyncClient(
        transport=ASGITransport(http_app(engine, documents=documents)), base_url="http://localhost"
    ) as client:
        for _ in range(2):
            for accept, expected in ACCEPTED:
                answer = await client.get("/metrics", headers={"Accept": accept})
                assert answer.status_code == 200
                assert answer.headers["content-type"].startswith(expected.partition(";")[0]), accept
                assert answer.text.endswith("# EOF\n") == (expected == OPEN_METRICS)
