"""Samples of messages over HTTP: for those with the token."""

import json
from typing import Any

import anyio
import pytest
from httpx import AsyncClient

from tests.engine.http.served import BEARER, ODD, Mill, milling

pytestmark = pytest.mark.anyio


async def tapped(client: AsyncClient, mill: Mill, bodies: list[Any], **query: Any) -> list[dict[str, Any]]:
    """What a tap shows while bodies are published again and again."""
    async with anyio.create_task_group() as tasks:

        async def feed() -> None:
            while True:
                await mill.publish(*bodies)
                await anyio.sleep(0.01)

        tasks.start_soon(feed)
        answer = await client.get("/api/v1/tap", params=query, headers=BEARER)
        tasks.cancel_scope.cancel()
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


async def test_a_tap_shows_what_enters_and_leaves_the_stages_meant() -> None:
    async with milling() as (mill, _, client):
        samples = await tapped(client, mill, [{"n": 1}], stage="mill.grind", count=6)
    assert [(sample["stage"], sample["way"]) for sample in samples] == [("grind", "in"), ("grind", "out")] * 3
    assert json.loads(samples[0]["body"]) == {"n": 1}


async def test_without_the_token_no_message_is_shown() -> None:
    async with milling() as (_, _, client):
        assert (await client.get("/api/v1/tap")).status_code == 401
        assert (await client.get("/api/v1/tap", headers={"Authorization": "Bearer no"})).status_code == 401
    async with milling(token=None) as (_, _, client):
        assert (await client.get("/api/v1/tap", headers=BEARER)).status_code == 403


async def test_a_glob_that_no_stage_matches_is_told() -> None:
    async with milling() as (_, _, client):
        answer = await client.get("/api/v1/tap", params={"stage": "saw.*"}, headers=BEARER)
        assert answer.status_code == 404
        assert "no stage matches 'saw.*'" in answer.json()["detail"]
        assert (await client.get("/api/v1/tap", params={"rate": 1000}, headers=BEARER)).status_code == 422


async def test_only_so_many_may_tap_at_once() -> None:
    async with milling() as (_, _, client), anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(lambda: client.get("/api/v1/tap", params={"stage": ODD}, headers=BEARER))
        await anyio.wait_all_tasks_blocked()
        answer = await client.get("/api/v1/tap", params={"stage": ODD}, headers=BEARER)
        tasks.cancel_scope.cancel()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
