"""`headrace docs`: the document of one topology or several, in each form, printed or written."""

import json
from pathlib import Path

import pytest
import yaml

from tests.engine.cli.conftest import ORDERS, Command, Write, assert_refused
from tests.topologies.asyncapi_checked import against_schema


def test_docs_prints_valid_json_unless_told_otherwise(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    result = headrace("docs", "orders")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert against_schema(document) == []
    assert list(document["operations"]) == [
        "orders.check",
        "orders.check.dead",
        "orders.to_urgent.customer",
        "orders.to_orders.enriched",
    ]


def test_docs_prints_the_same_as_yaml(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    as_yaml = yaml.safe_load(headrace("docs", "orders", "--format", "yaml").out)
    assert as_yaml == json.loads(headrace("docs", "orders").out)


def test_docs_takes_a_title_and_a_version(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    info = json.loads(headrace("docs", "orders", "--title", "Shop", "--version", "3.2").out)["info"]
    assert (info["title"], info["version"]) == ("Shop", "3.2")


def test_docs_writes_a_file_in_the_form_of_its_name(headrace: Command, write: Write, tmp_path: Path) -> None:
    write("orders.py", ORDERS)
    for name, begins in (("d.json", "{"), ("d.yml", "asyncapi: 3.1.0"), ("d.html", "<!doctype html>")):
        assert headrace("docs", "orders", "-o", name) == (0, "", "")
        assert (tmp_path / name).read_text().startswith(begins)
    assert headrace("docs", "orders", "-o", "d.html", "--format", "yaml").code == 0
    assert (tmp_path / "d.html").read_text().startswith("asyncapi: 3.1.0")


@pytest.mark.parametrize("name", ["d.pdf", "docs"])
def test_docs_refuses_a_name_that_tells_no_form_unless_one_is_said(
    headrace: Command, write: Write, tmp_path: Path, name: str
) -> None:
    write("orders.py", ORDERS)
    assert_refused(headrace("docs", "orders", "-o", name), 2, name, ".json, .yaml or .html", "--format")
    assert not (tmp_path / name).exists()
    assert headrace("docs", "orders", "-o", name, "--format", "json").code == 0


def test_docs_of_several_topologies_are_one_document(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    write("more.py", ORDERS.replace('Topology("orders")', 'Topology("more")'))
    info = json.loads(headrace("docs", "orders", "more").out)["info"]
    assert info["tags"] == [{"name": "orders"}, {"name": "more"}]


def test_docs_refuses_the_same_topology_twice(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    assert_refused(headrace("docs", "orders", "orders"), 2, "orders is among the targets already")


def test_docs_says_where_it_cannot_write(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    assert_refused(headrace("docs", "orders", "-o", "no/such/docs.html"), 1, "no/such/docs.html")
