"""Every example's document, and that of a nasty topology, pass AsyncAPI's own schema and parser."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace import Topology
from tests.servers import programs
from tests.topologies import nasty
from tests.topologies.asyncapi_checked import against_schema, by_parser
from topologies import Graph, asyncapi

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVERS = {
    "KAFKA_URL": f"kafka://me:{nasty.SECRET}@kafka:9092",
    "RABBITMQ_URL": f"amqp://me:{nasty.SECRET}@rabbit/shop",
    "NATS_URL": f"nats://me:{nasty.SECRET}@nats",
    "REDIS_URL": f"redis://:{nasty.SECRET}@redis/2",
}


def topologies_of(name: str) -> list[Topology]:
    """Those of an example, imported anew as the module that it is."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its annotations are looked up
    spec.loader.exec_module(module)
    return list(dict.fromkeys(found for found in vars(module).values() if isinstance(found, Topology)))


@pytest.fixture(scope="module", params=["embedded", "servers"])
def graphs(request: pytest.FixtureRequest) -> dict[str, list[Graph]]:
    """Those of every example, on the embedded broker and on servers; and the nasty ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        for name, url in SERVERS.items():
            patch.delenv(name, raising=False)
            if request.param == "servers":
                patch.setenv(name, url)
        patch.delitem(sys.modules, "showing", raising=False)
        names = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "showing")
        found = {name: [each.graph() for each in topologies_of(name)] for name in names}
        patch.delitem(sys.modules, "showing", raising=False)
    assert len(found) >= 9
    return found | {"nasty": [nasty.topology.graph(), nasty.twin.graph()]}


@pytest.fixture
def documents(graphs: dict[str, list[Graph]]) -> dict[str, dict[str, Any]]:
    return {name: asyncapi(each) for name, each in graphs.items()}


def test_each_document_is_valid_by_the_official_schema(documents: dict[str, dict[str, Any]]) -> None:
    assert {name: against_schema(each) for name, each in documents.items()} == {name: [] for name in documents}


def test_the_official_parser_has_nothing_to_say_about_all_of_them_in_one(graphs: dict[str, list[Graph]]) -> None:
    # One document, because the parser takes a second for each.
    together = asyncapi([graph for each in graphs.values() for graph in each])
    assert len(together["info"]["tags"]) >= len(graphs)
    assert by_parser([json.dumps(together, allow_nan=False)]) == [[]]


def test_no_document_tells_a_password_or_who_logs_in(documents: dict[str, dict[str, Any]]) -> None:
    for each in documents.values():
        assert nasty.SECRET not in json.dumps(each)
        assert "me:" not in json.dumps(each["servers"])


def test_a_wrong_document_is_found_wrong_by_both() -> None:
    document = asyncapi([nasty.topology.graph()])
    operation = next(iter(document["operations"].values()))
    operation["channel"] = {"$ref": "#/channels/nowhere"}
    assert by_parser([json.dumps(document)])[0][0] == "not parsed"
    operation["action"] = "shout"
    assert against_schema(document) != []


def test_a_parser_that_is_not_there_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(programs.Missing, match="`make test` fetches it from npm"):
        programs.asyncapi()
