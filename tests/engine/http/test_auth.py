"""Who may do what: the token, guarded reading, names that requests may be addressed to."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engine import Engine, http_app
from engine.http.app import Features
from engine.http.auth import KnownHosts, host_of
from engine.http.probes import GUARDED
from tests.engine.http.served import BEARER, Mill, milling

pytestmark = pytest.mark.anyio
CHANGES = ["drain", "stages/mill/grind/pause", "stages/mill/grind/resume", "stages/mill/grind/scale", "dead/redrive"]
WRONG = ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "a-token-of-the-tests", "Bearer a-token-of-the-test"]


@pytest.mark.parametrize("path", CHANGES)
async def test_nothing_is_changed_without_the_token(path: str) -> None:
    async with milling() as (_, engine, client):
        for wrong in WRONG:
            answer = await client.post(f"/api/v1/{path}", headers={"Authorization": wrong}, json={"workers": 3})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="headrace"'
        assert not engine.draining
        assert {stage.paused for stage in engine.status()} == {False}


@pytest.mark.parametrize("path", CHANGES)
async def test_where_no_token_is_configured_nobody_changes_anything_and_the_answer_says_what_to_do(path: str) -> None:
    async with milling(token=None) as (_, _, client):
        for headers in ({}, BEARER, {"Authorization": "Bearer None"}, {"Authorization": "Bearer "}):
            answer = await client.post(f"/api/v1/{path}", headers=headers)
            assert answer.status_code == 403
            assert "HEADRACE_TOKEN" in answer.json()["detail"]


@pytest.mark.parametrize("token", ["", "short", "with a blank", "größe-und-mehr", "a-token-of-the-tests\n"])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ValueError, match="at least 8 characters of ASCII") as wrong:
        http_app(Engine(Mill().topology), token=token)
    assert not token or token not in str(wrong.value)


@pytest.mark.parametrize("path", ["dead", "dead/letter?position=1"])
async def test_messages_are_shown_to_those_with_the_token_alone(path: str) -> None:
    async with milling() as (_, _, client):
        assert (await client.get(f"/api/v1/{path}")).status_code == 401
    async with milling(token=None) as (_, _, client):
        assert (await client.get(f"/api/v1/{path}")).status_code == 403


async def test_reading_can_be_guarded_too_and_probes_are_not() -> None:
    async with milling(guard_reading=True) as (_, _, client):
        for path in ("status", "graph", "events", "stages/mill/grind"):
            assert (await client.get(f"/api/v1/{path}")).status_code == 401
        assert (await client.get("/api/v1/status", headers=BEARER)).status_code == 200
        assert (await client.get("/livez")).status_code == 200


OPEN = {"/livez", "/readyz", "/startupz", "/"}
"""What everybody may read where reading is guarded: whether it is well, and files that every engine has alike."""


@pytest.mark.parametrize("page", [True, False])
async def test_where_reading_is_guarded_every_route_is_but_the_probes_and_the_files_of_the_page(page: bool) -> None:
    def figures(request: Request) -> Response:
        return PlainTextResponse("headrace_settled_total")

    documents = {"/metrics": figures, "/other": figures}
    async with milling(guard_reading=True, documents=documents, features=Features(page=page)) as (_, _, client):
        app: Any = client._transport.app  # type: ignore[attr-defined]
        places = {"topology": "mill", "stage": "grind"}
        asked = [
            (method, route.path.replace(":path", "").format(**places))
            for route in app.routes
            if isinstance(route, Route)
            for method in route.methods or ()
        ]
        assert {("GET", path) for path in ("/metrics", "/asyncapi", "/asyncapi.json", "/api/v1/events")} <= set(asked)
        for method, path in asked:
            answer = await client.request(method, path)
            wanted = 200 if path in OPEN and (page or path != "/") else 401
            assert (answer.status_code, path) == (wanted, path)
        if page:
            assert (await client.get("/page/app.js")).status_code == 200
        for path in ("/metrics", "/asyncapi.yaml", "/api/v1/openapi.json", "/api/v1/status"):
            assert (await client.get(path, headers=BEARER)).status_code == 200


async def test_where_reading_is_guarded_probes_tell_no_names_to_those_without_the_token() -> None:
    async with milling(guard_reading=True) as (_, engine, client):
        engine.drain()
        for query in ("", "?verbose"):
            answer = await client.get(f"/readyz{query}")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == [GUARDED]
            assert "grind" not in answer.text
        told = (await client.get("/readyz?verbose", headers=BEARER)).json()
    assert told["reasons"] == ["it is draining"]
    assert {stage["stage"] for stage in told["stages"]} >= {"grind"}


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8080", True),
        ("10.1.2.3", True),
        ("[::1]:8080", True),
        ("localhost:8080", True),
        ("api.localhost", True),
        ("Stream.Example.", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("stream.example.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example@127.0.0.1", False),
        ("", False),
    ],
)
async def test_a_name_that_is_not_ours_is_refused_since_a_page_elsewhere_may_lead_it_here(
    host: str, known: bool
) -> None:
    async with milling(hosts={"stream.example"}) as (_, _, client):
        answer = await client.get("/livez", headers={"Host": host})
    assert answer.status_code == (200 if known else 421)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_host_is_told_from_its_port() -> None:
    assert [host_of(text) for text in ("a:1", "a", "[::1]:1", "[::1]", "1.2.3.4:5")] == [
        "a",
        "a",
        "::1",
        "::1",
        "1.2.3.4",
    ]
    assert not KnownHosts(lambda *_: None).known("::1:8080:evil")  # type: ignore[arg-type]


async def test_every_answer_has_the_security_headers_and_none_lets_another_page_in() -> None:
    async with milling() as (_, _, client):
        answers = [
            await client.get("/livez"),
            await client.get("/nothing"),
            await client.post("/api/v1/drain"),
            await client.get("/api/v1/status", headers={"Origin": "https://evil.example"}),
        ]
    for answer in answers:
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "server" not in answer.headers
