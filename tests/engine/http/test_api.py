"""The API: what it shows of an engine, and what it can tell it."""

from urllib.parse import quote

import pytest

from tests.engine.http.served import BEARER, ODD, milling, until
from topologies import MOST_WORKERS

pytestmark = pytest.mark.anyio
GRIND = "/api/v1/stages/mill/grind"
ODD_STAGE = f"/api/v1/stages/mill/{quote(ODD, safe='')}"


async def test_the_status_has_the_engine_and_every_stage_with_its_counts_and_its_health() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"n": 1}, {"fail": "hollow"})
        await until(lambda: engine.status()[0].settled == 2)
        status = (await client.get("/api/v1/status")).json()
    assert status["topologies"] == ["mill"]
    assert status["engine"]["ready"] is True
    grind = status["stages"][0]
    assert (grind["received"], grind["handled"], grind["dead"], grind["paused"]) == (2, 2, 1, False)
    assert grind["health"]["told"] == "grind is idle"
    assert {stage["stage"]: stage["kind"] for stage in status["stages"]} == {
        "grind": "subscriber",
        "to:flour": "publisher",
        ODD: "subscriber",
    }


async def test_the_graph_is_that_of_the_command() -> None:
    async with milling() as (_, _, client):
        (graph,) = (await client.get("/api/v1/graph")).json()["topologies"]
    assert graph["name"] == "mill"
    places = {each["id"]: each["x"] + each["width"] for each in graph["stages"]}
    (edge,) = [each for each in graph["edges"] if each["end"] == "stage:to:flour"]
    assert (edge["start"], edge["kind"]) == ("stage:grind", "flow")
    assert edge["points"][0][0] == places["stage:grind"]  # it begins where its stage ends


async def test_a_stage_tells_its_settings_its_place_its_supervisor_and_its_errors() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"fail": "hollow"}, {"fail": "hollow too"}, {"crash": "bent"})
        await until(lambda: engine.status()[0].restarts == 1)
        blind = (await client.get(GRIND)).json()
        detail = (await client.get(GRIND, headers=BEARER)).json()
    assert detail["settings"]["retry"]["attempts"] == 1
    assert detail["settings"]["max_workers"] == 2
    assert detail["place"].startswith("tests/engine/http/served.py:")
    assert detail["description"] == "Grind corn."
    assert (detail["sources"], detail["downstream"]) == (["corn"], ["to:flour"])
    assert detail["links"] == [{"what": "corn", "connected": True, "failures": 0, "error": None}]
    assert detail["supervisor"]["restarts"] == 1
    assert sorted(worker["restarts"] for worker in detail["supervisor"]["workers"]) == [0, 1]
    errors = {error["type"]: error for error in detail["errors"]}
    assert (errors["ValueError"]["count"], errors["Crash"]["count"]) == (2, 1)
    assert errors["ValueError"]["text"] == "hollow"
    assert "raise ValueError(reason)" in errors["ValueError"]["traceback"]
    assert [(error["text"], error["traceback"]) for error in blind["errors"]] == [(None, None)] * 2


async def test_a_stage_that_is_paused_fetches_nothing_until_it_is_resumed() -> None:
    async with milling() as (mill, _, client):
        paused = await client.post(f"{GRIND}/pause", headers=BEARER)
        assert paused.json() == {"topology": "mill", "stage": "grind", "workers": 2, "paused": True}
        await mill.publish({"n": 1})
        grind = (await client.get("/api/v1/status")).json()["stages"][0]
        assert (grind["paused"], grind["health"]["waiting_for"], grind["received"]) == (True, "paused", 0)
        assert mill.handled == []
        assert (await client.get("/readyz")).status_code == 200
        resumed = await client.post(f"{GRIND}/resume", headers=BEARER)
        assert resumed.json()["paused"] is False
        await until(lambda: mill.handled == [{"n": 1}])


async def test_a_pause_outlasts_the_crash_of_a_worker_and_a_drain_ends_it() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"wait": 1}, {"wait": 2})
        await until(lambda: len(mill.handled) == 2)
        await mill.publish({"crash": "bent"})
        await until(lambda: engine.status()[0].depth == 1)
        await client.post(f"{GRIND}/pause", headers=BEARER)
        mill.gate.set()
        await until(lambda: engine.status()[0].restarts == 1)
        await mill.publish({"n": 2})
        assert engine.status()[0].paused
        drained = await client.post("/api/v1/drain", headers=BEARER)
        assert drained.json() == {"draining": True, "within": 5.0}
        await engine.ended.wait()
    assert engine.status()[0].received == 3


async def test_a_pool_is_scaled_within_bounds() -> None:
    async with milling() as (_, engine, client):
        scaled = await client.post(f"{GRIND}/scale", json={"workers": 5}, headers=BEARER)
        assert scaled.json()["workers"] == engine.status()[0].workers == 5
        for workers in (0, -1, MOST_WORKERS + 1, 10_000, "many", 2.5, None, True):
            refused = await client.post(f"{GRIND}/scale", json={"workers": workers}, headers=BEARER)
            assert refused.status_code == 422
            assert "expected 1 to 1024 workers" in refused.json()["detail"]
        assert engine.status()[0].workers == 5
        automatic = await client.post(f"{GRIND}/scale", json={"workers": "auto"}, headers=BEARER)
        assert (automatic.status_code, "does not find its own size" in automatic.text) == (409, True)


async def test_a_pool_that_finds_its_own_size_keeps_to_the_one_it_is_given_until_told_otherwise() -> None:
    async with milling() as (_, engine, client):
        sizer = next(each.sizer for each in engine.running if each.sizer is not None)
        assert (await client.post(f"{ODD_STAGE}/scale", json={"workers": 7}, headers=BEARER)).json()["workers"] == 7
        assert sizer.pinned
        assert (await client.post(f"{ODD_STAGE}/scale", json={"workers": "auto"}, headers=BEARER)).status_code == 200
        assert not sizer.pinned


async def test_a_stage_of_any_name_can_be_asked_for_and_paused() -> None:
    async with milling() as (_, engine, client):
        assert (await client.get(ODD_STAGE)).json()["status"]["stage"] == ODD
        assert (await client.post(f"{ODD_STAGE}/pause", headers=BEARER)).json()["paused"] is True
        assert {stage.stage for stage in engine.status() if stage.paused} == {ODD}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/v1/stages/mill/grnd", "did you mean grind?"),
        ("/api/v1/stages/mull/grind", "did you mean mill?"),
        ("/api/v1/stages/mill/", "has no stage ''"),
        ("/api/v1/status/", "/api/v1/openapi.json lists what there is"),
    ],
)
async def test_what_is_not_there_is_said_to_be_so(path: str, told: str) -> None:
    async with milling() as (_, _, client):
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in answer.json()["detail"]


async def test_a_stage_that_takes_from_no_broker_cannot_be_paused_and_its_answer_says_which_can() -> None:
    async with milling() as (_, _, client):
        answer = await client.post("/api/v1/stages/mill/to%3Aflour/pause", headers=BEARER)
    assert answer.status_code == 409
    assert "pause grind" in answer.json()["detail"]


async def test_a_method_that_means_nothing_is_answered_with_those_that_do() -> None:
    async with milling() as (_, _, client):
        answer = await client.delete("/api/v1/status")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert answer.headers["content-type"] == "application/problem+json"
