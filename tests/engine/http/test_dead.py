"""Dead letters over HTTP: listed, shown whole, and put back where they came from."""

from typing import Any
from uuid import uuid4

import pytest

from headrace import Engine, Redis, Topology
from tests.engine.http.served import BEARER, client_of, milling, until
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.anyio
LETTER = "/api/v1/dead/letter"
REDRIVE = "/api/v1/dead/redrive"


async def test_dead_letters_are_listed_and_one_is_shown_whole() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"fail": "hollow"}, {"fail": "x" * 5000})
        await until(lambda: engine.status()[0].dead == 2)
        listed = (await client.get("/api/v1/dead", headers=BEARER)).json()
        assert {grave["endpoint"] for grave in listed["graves"]} == {"corn.dead", "odd.dead"}
        first, second = listed["letters"]
        assert (first["reason"], first["error_type"], first["stage"]) == ("hollow", "ValueError", "grind")
        assert first["preview"] == '{"fail":"hollow"}'
        assert (len(second["preview"]), second["size"] > 5000) == (500, True)
        query = {"position": second["position"], "source": "corn"}
        whole = (await client.get(LETTER, params=query, headers=BEARER)).json()
        assert (len(whole["body"]), whole["cut"]) == (second["size"], False)
        assert "raise ValueError(reason)" in whole["traceback"]


async def test_a_position_that_several_graves_have_is_not_guessed_at() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"fail": "hollow"})
        await mill.publish("no dict", topic="odd")
        await until(lambda: sum(stage.dead for stage in engine.status()) == 2)
        answer = await client.get(LETTER, params={"position": "0"}, headers=BEARER)
        assert answer.status_code == 409
        assert "is one in each of corn.dead, odd.dead; say which" in answer.json()["detail"]
        for source in ("corn.dead", "odd"):
            answer = await client.get(LETTER, params={"position": "0", "source": source}, headers=BEARER)
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ({"position": "99"}, 404, "list them anew"),
        ({"position": "0", "source": "rye"}, 404, "takes from corn"),
        ({"position": "0", "topology": "mull"}, 404, "no topology 'mull'"),
        ({}, 422, "position is missing"),
        ({"position": ""}, 422, "position is empty"),
        ({"position": "0", "limit": "1001"}, 422, "from 1 to 1000"),
    ],
)
async def test_a_letter_that_is_not_there_is_said_to_be_so(query: dict[str, str], status: int, told: str) -> None:
    async with milling() as (_, _, client):
        answer = await client.get(LETTER, params=query, headers=BEARER)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"topology": 1}', "topology"),
        (b'{"topology": "mill", "lim": 1}', "lim"),
        (b'{"topology": "mill", "limit": 0}', "limit"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 60_000, "JSON"),
    ],
)
async def test_a_body_that_is_broken_is_refused_and_not_repeated(body: bytes, told: str) -> None:
    async with milling() as (_, _, client):
        headers = {**BEARER, "Content-Type": "application/json"}
        answer = await client.post(REDRIVE, content=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert told in answer.json()["detail"]
        assert len(answer.text) < 300
        assert (await client.post(REDRIVE, content=b"{}", headers=BEARER)).status_code == 415
        assert (await client.post(REDRIVE, content=b"x" * 70_000, headers=headers)).status_code == 413


async def test_dead_letters_of_a_server_are_put_back_those_meant_and_those_alone(redis_server: Any) -> None:
    source, topology, mended = Redis(redis_server.url).stream(uuid4().hex), Topology("redriven"), False

    @topology.subscriber(source)
    async def take(body: dict) -> None:
        if not mended:
            raise ValueError(body["why"])

    async with source.broker, Engine(topology, drain=5) as engine, client_of(engine) as client:
        for why in ("late", "late", "lost"):
            await source.publish({"why": why})
        await until(lambda: engine.status()[0].dead == 3)
        mended = True
        body = {"topology": "redriven", "source": source.name, "reason": "la*"}
        result = await client.post(REDRIVE, json=body, headers=BEARER, timeout=30)
        assert result.json() == {"redriven": 2, "refused": 0, "left": 1}
        await until(lambda: engine.status()[0].settled == 5)
        listed = (await client.get("/api/v1/dead", headers=BEARER, timeout=30)).json()
        assert [letter["reason"] for letter in listed["letters"]] == ["lost"]


async def test_dead_letters_of_the_embedded_broker_are_put_back_too() -> None:
    async with milling() as (mill, engine, client):
        await mill.publish({"fail": "hollow"})
        await until(lambda: engine.status()[0].dead == 1)
        result = await client.post(REDRIVE, json={"topology": "mill", "source": "corn"}, headers=BEARER, timeout=30)
        assert result.json() == {"redriven": 1, "refused": 0, "left": 0}
        await until(lambda: engine.status()[0].dead == 2)


async def test_a_broker_out_of_reach_is_an_answer_of_its_own(redis_server: Any) -> None:
    topology = Topology("away")
    async with Proxy(redis_server) as proxy:
        source = Redis(proxy.url).stream(uuid4().hex)

        @topology.subscriber(source)
        async def take(body: dict) -> None: ...

        async with Engine(topology, drain=5) as engine, client_of(engine) as client:
            proxy.cut()
            answer = await client.get("/api/v1/dead", headers=BEARER, timeout=30)
            assert (answer.status_code, answer.headers["content-type"]) == (502, "application/problem+json")
            proxy.mend()
