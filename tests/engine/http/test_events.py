"""Server-sent events: one snapshot a second for all who listen, and none of them can hold up another."""

import json
import socket
from typing import Any

import anyio
import pytest
from httpx import AsyncClient

from engine.http import events
from engine.http.app import http_app
from engine.http.events import Feed, Listening
from engine.http.problems import Problem
from tests.engine.http.served import BEARER, TOKEN, milling, until
from tests.engine.http.test_server import REQUEST, narrow, served

pytestmark = pytest.mark.anyio


def parsed(text: str) -> list[dict[str, str]]:
    """The events of a stream, each as its fields."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


async def test_it_begins_with_the_status_and_goes_on_when_something_has_changed() -> None:
    async with milling() as (mill, _, client), anyio.create_task_group() as tasks:
        answers: list[Any] = []

        async def listen() -> None:
            answers.append(await client.get("/api/v1/events?count=3"))

        tasks.start_soon(listen)
        await until(lambda: client._transport.app.state.feed.made >= 1)  # type: ignore[attr-defined]
        await mill.publish({"n": 1})
    (answer,) = answers
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *more = [each for each in parsed(answer.text) if each.get("event") == "status"]
    received = [json.loads(each["data"])["stages"][0]["received"] for each in (first, *more)]
    assert received == [0, 1]
    assert float(more[0]["id"]) > float(first["id"])


async def test_one_snapshot_is_made_for_all_listeners() -> None:
    made = 0

    async def make() -> bytes:
        nonlocal made
        made += 1
        return b'{"made": %d}' % made

    feed = Feed(make, anyio.Event(), every=0.2)
    heard: list[list[bytes]] = []

    async def listen() -> None:
        heard.append([each async for each in feed.listen(count=3)])

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(listen)
    assert made == feed.made <= 4
    assert len(heard) == 20


async def test_who_is_slow_finds_the_newest_snapshot_alone() -> None:
    made = 0

    async def make() -> bytes:
        nonlocal made
        made += 1
        return b"%d" % made

    feed = Feed(make, anyio.Event(), every=0.02)
    slow = feed.listen()
    await anext(slow)
    assert b"data: 1\n" in await anext(slow)
    quick = feed.listen()
    while made < 5:
        await anext(quick)
    await quick.aclose()
    assert int((await anext(slow)).partition(b"data: ")[2]) >= 5
    await slow.aclose()


async def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.05)

    async def make() -> bytes:
        return b"{}"

    feed = Feed(make, anyio.Event(), every=0.02)
    with anyio.fail_after(5):
        said = [each async for each in feed.listen(count=12)]
    assert b": still here\n\n" in said
    assert sum(b"event: status" in each for each in said) == 1


async def test_it_ends_with_the_engine_and_says_so() -> None:
    async with milling() as (_, engine, client), anyio.create_task_group() as tasks:
        answers: list[Any] = []

        async def listen() -> None:
            answers.append(await client.get("/api/v1/events"))

        tasks.start_soon(listen)
        await until(lambda: client._transport.app.state.feed.listeners == 1)  # type: ignore[attr-defined]
        engine.drain()
    assert parsed(answers[0].text)[-1] == {"event": "end", "data": "{}"}


async def test_there_are_no_more_listeners_than_are_wanted_and_one_that_goes_makes_room() -> None:
    async with milling() as (_, engine, _):
        app = http_app(engine, token=TOKEN)
        feed: Feed = app.state.feed
        feed.most = 2
        async with served(app) as (_, host, port), AsyncClient(base_url=f"http://{host}:{port}") as client:
            async with client.stream("GET", "/api/v1/events"), client.stream("GET", "/api/v1/events"):
                await until(lambda: feed.listeners == 2)
                refused = await client.get("/api/v1/events")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
            await until(lambda: feed.listeners == 0)
            assert (await client.get("/api/v1/events?count=1")).status_code == 200
    feed.most = 0
    with pytest.raises(Problem):
        Listening(feed)


async def test_many_listeners_some_of_them_deaf_hold_up_neither_probes_nor_messages_nor_the_drain() -> None:
    async with milling() as (mill, engine, _):
        app = http_app(engine, token=TOKEN)
        async with served(app) as (_, host, port), AsyncClient(base_url=f"http://{host}:{port}") as client:
            deaf: list[socket.socket] = []
            for _ in range(60):
                deaf.append(narrow(host, port))
                deaf[-1].sendall(REQUEST % b"/api/v1/events")
            await until(lambda: app.state.feed.listeners == 60)
            await mill.publish(*({"n": number} for number in range(200)))
            await until(lambda: engine.status()[0].settled == 200)
            assert (await client.get("/livez")).status_code == 200
            assert (await client.post("/api/v1/drain", headers=BEARER)).status_code == 200
            with anyio.fail_after(5):
                await engine.ended.wait()
            for each in deaf:
                each.close()
            await until(lambda: app.state.feed.listeners == 0)


async def test_a_question_for_the_head_alone_is_no_listener() -> None:
    async with milling() as (_, _, client):
        with anyio.fail_after(5):
            answer = await client.head("/api/v1/events")
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.parametrize("query", ["count=0", "count=x", "count=99999999999999999999", "count=1&count=2", "kount=1"])
async def test_a_parameter_that_means_nothing_is_refused(query: str) -> None:
    async with milling() as (_, _, client):
        answer = await client.get(f"/api/v1/events?{query}")
    assert answer.status_code == 422
    assert "count" in answer.json()["detail"]
