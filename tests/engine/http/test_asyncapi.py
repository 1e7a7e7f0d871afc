"""The document of a running engine over HTTP, in its three forms; the page with a policy of its own."""

import re

import pytest
import yaml

from engine.http.app import Features
from headrace import Engine, Topology
from tests.engine.http.served import Mill, client_of
from tests.topologies.asyncapi_checked import against_schema

pytestmark = pytest.mark.anyio


async def test_json_and_yaml_are_the_document_of_all_topologies_of_the_engine() -> None:
    mill, other = Mill(), Topology("other")

    @other.subscriber(mill.memory.topic("flour"))
    async def bake(body: dict) -> None: ...

    async with client_of(Engine(mill.topology.graph(), other.graph())) as client:
        answer = await client.get("/asyncapi.json")
        document = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert against_schema(document) == []
        assert {"mill.grind", "other.bake"} <= document["operations"].keys()
        answer = await client.get("/asyncapi.yaml")
        assert answer.headers["content-type"] == "application/yaml"
        assert yaml.safe_load(answer.text) == document


async def test_the_page_may_run_its_own_script_and_nothing_else() -> None:
    async with client_of(Engine(Mill().topology.graph())) as client:
        answer = await client.get("/asyncapi")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    (inside,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', answer.text)
    assert policy == f"{inside}; frame-ancestors 'none'"
    assert "unsafe" not in policy


async def test_it_is_not_there_where_it_is_switched_off() -> None:
    async with client_of(Engine(Mill().topology.graph()), features=Features(asyncapi=False)) as client:
        for path in ("/asyncapi.json", "/asyncapi.yaml", "/asyncapi"):
            assert (await client.get(path)).status_code == 404


async def test_it_is_read_and_not_written() -> None:
    async with client_of(Engine(Mill().topology.graph())) as client:
        assert (await client.post("/asyncapi.json")).status_code == 405
