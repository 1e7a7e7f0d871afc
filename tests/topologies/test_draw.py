"""Drawings: what they show, that they are well formed whatever the names are, and that they stay the same."""

import json
import re
import string
from collections.abc import Iterator
from math import inf
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Batch, Retry
from tests.topologies.drawn import Place, Server
from topologies import Format, Graph, Outline, Topology, draw, outline
from topologies.draw import dot, mermaid
from topologies.outline import Edge, EndpointOutline, StageOutline, summary
from topologies.svg import svg

SVG = "{http://www.w3.org/2000/svg}"
MEMORY, KAFKA, OTHER = Server("memory"), Server("kafka"), Server("kafka")


def orders() -> Graph:
    topology = Topology("orders")
    urgent = topology.publisher(Place(KAFKA, "urgent.{customer}"))

    @topology.publisher(Place(MEMORY, "seen"))
    @topology.subscriber(
        Place(MEMORY, "orders", {"group": "a"}),
        max_workers=(1, 8),
        mailbox=64,
        key="customer",
        retry=Retry(attempts=5),
        timeout=10,
        dead_letter=Place(OTHER, "graves"),
    )
    async def check(order: dict[str, str]) -> dict[str, str]:
        """Look at each order once."""
        return order

    @topology.router(check, to=[urgent])
    def choose(order: dict[str, str]) -> object:
        return urgent

    @topology.subscriber(check, batch=Batch(50), max_workers="auto")
    async def store(orders: list[dict[str, str]]) -> None: ...

    return topology.graph()


NASTY = "q\"'<b>&amp; {x} [y] (z) #1; \\n `c` %%{init}%% end 日本 --> | $ \x1b"


def named(name: str) -> Outline:
    """The smallest drawing, with this name wherever one can be."""
    source = EndpointOutline(f"source:memory:{name}", "source", name, "memory", {})
    target = EndpointOutline(f"destination:memory:{name}", "destination", name, "memory", {})
    stages = [
        StageOutline(f"stage:{word}", kind, word, "here.py:1", name, 1, 256, False, 1, None, None, None)  # type: ignore[arg-type]
        for word, kind in ((name, "subscriber"), (f"to:{name}", "publisher"))
    ]
    edges = (
        Edge(source.id, stages[0].id),
        Edge(stages[0].id, stages[1].id),
        Edge(stages[1].id, target.id),
        Edge(stages[0].id, target.id, "dead"),
    )
    return Outline(name, (source, target), tuple(stages), edges)


# -- the outline, which is the JSON form -----------------------------------------------------------------------


def test_the_json_form_is_as_documented() -> None:
    drawn = json.loads(draw(orders(), "json"))
    assert list(drawn) == ["version", "name", "endpoints", "stages", "edges"]
    assert (drawn["version"], drawn["name"]) == (1, "orders")
    assert drawn["endpoints"][0] == {
        "id": "source:memory:orders",
        "side": "source",
        "name": "orders",
        "system": "memory",
        "options": {"group": "a"},
    }
    check = next(stage for stage in drawn["stages"] if stage["name"] == "check")
    assert re.fullmatch(r".*test_draw\.py:\d+", check.pop("place"))
    assert check == {
        "id": "stage:check",
        "kind": "subscriber",
        "name": "check",
        "description": "Look at each order once.",
        "workers": [1, 8],
        "mailbox": 64,
        "ordered": True,
        "attempts": 5,
        "timeout": 10,
        "batch": None,
        "dead_letter": "destination:kafka:graves",
    }
    assert {(edge["start"], edge["end"], edge["kind"]) for edge in drawn["edges"]} == {
        ("source:memory:orders", "stage:check", "flow"),
        ("stage:check", "destination:kafka:graves", "dead"),
        ("stage:check", "stage:choose", "flow"),
        ("stage:check", "stage:store", "flow"),
        ("stage:check", "stage:to:seen", "flow"),
        ("stage:choose", "stage:to:urgent.{customer}", "flow"),
        ("stage:to:seen", "destination:memory:seen", "flow"),
        ("stage:to:urgent.{customer}", "destination:kafka~2:urgent.{customer}", "flow"),
    }


def test_a_retry_without_end_is_null_in_json_and_is_told_in_words() -> None:
    topology = Topology("patient")

    @topology.subscriber(Place(MEMORY, "in"), retry=Retry(attempts=inf, waiting=inf))
    async def take(body: dict[str, str]) -> None: ...

    (stage,) = outline(topology.graph()).stages
    assert stage.attempts is None
    assert summary(stage)[1] == "endless attempts"
    assert "Infinity" not in draw(topology.graph(), "json")


def test_equal_endpoints_are_drawn_once_and_different_ones_apart() -> None:
    topology = Topology("many")
    for number, place in enumerate(
        [
            Place(KAFKA, "same"),
            Place(KAFKA, "same"),
            Place(KAFKA, "same", {"group": "b"}),
            Place(OTHER, "same"),
            Place(MEMORY, "same"),
        ]
    ):

        @topology.subscriber(place, name=f"take{number}")
        async def take(body: dict[str, str]) -> None: ...

    drawn = outline(topology.graph())
    assert {each.id for each in drawn.endpoints} == {
        "source:kafka:same",
        "source:kafka:same~2",
        "source:kafka~2:same",
        "source:memory:same",
    }


def test_an_endpoint_that_is_both_stands_on_both_sides() -> None:
    topology = Topology("loop")

    @topology.publisher(Place(MEMORY, "b"))
    @topology.subscriber(Place(MEMORY, "a"))
    async def first(body: dict[str, str]) -> dict[str, str]:
        return body

    @topology.publisher(Place(MEMORY, "a"))
    @topology.subscriber(Place(MEMORY, "b"))
    async def second(body: dict[str, str]) -> dict[str, str]:
        return body

    ids = {each.id for each in outline(topology.graph()).endpoints}
    assert ids == {"source:memory:a", "destination:memory:b", "source:memory:b", "destination:memory:a"}


def test_options_become_what_json_knows() -> None:
    topology = Topology("options")
    options = {"path": Path("x"), "nested": {1: (2, {3})}, "none": None, "on": True}

    @topology.subscriber(Place(MEMORY, "a", options))
    async def take(body: dict[str, str]) -> None: ...

    assert json.loads(draw(topology.graph(), "json"))["endpoints"][0]["options"] == {
        "path": "x",
        "nested": {"1": [2, [3]]},
        "none": None,
        "on": True,
    }


@pytest.mark.parametrize("format", ["mermaid", "dot", "svg", "json"])
def test_the_same_topology_is_always_drawn_the_same_way(format: Format) -> None:
    assert draw(orders(), format) == draw(orders(), format)


# -- mermaid ---------------------------------------------------------------------------------------------------

NODE = re.compile(r'  (\w+)(\["|\{\{"|\(\["|\[\(")([^"]*)("\]|"\}\}|"\]\)|"\)\]):::(\w+)')
EDGE = re.compile(r"  (\w+) (?:-->|-\. dead \.->) (\w+)")


def assert_mermaid(text: str) -> dict[str, str]:
    """Every line is of one of the forms that make a flowchart; the labels by id."""
    first, second, *lines = text.splitlines()
    assert first == "flowchart LR"
    assert second.startswith("  accTitle: ")
    labels: dict[str, str] = {}
    for line in lines:
        if node := NODE.fullmatch(line):
            assert node[1] not in labels
            labels[node[1]] = node[3]
            assert not set(re.sub(r"</?b>|<br>|#\d+;", "", node[3])) & set("<>&#{}[]()`\\")
        elif edge := EDGE.fullmatch(line):
            assert {edge[1], edge[2]} <= labels.keys()
        else:
            assert re.fullmatch(r"  classDef \w+ [\w:#,]+", line), line
    return labels


def test_mermaid_has_a_node_for_each_stage_and_endpoint() -> None:
    labels = assert_mermaid(draw(orders(), "mermaid"))
    assert labels["stage_3a_check"] == (
        "<b>check</b><br>subscriber<br>1 to 8 workers · mailbox 64<br>in order by key · 5 attempts · at most 10 s"
    )
    assert labels["stage_3a_store"] == "<b>store</b><br>subscriber<br>workers: auto · mailbox 256<br>batches of 50"
    assert labels["source_3a_memory_3a_orders"] == "<b>orders</b><br>memory"
    assert "  stage_3a_check -. dead .-> destination_3a_kafka_3a_graves\n" in draw(orders(), "mermaid")


@given(st.text(min_size=1))
def test_mermaid_is_well_formed_whatever_the_names_are(name: str) -> None:
    assert len(assert_mermaid(mermaid(named(name)))) == 4


@given(st.lists(st.text("ab_.:1f", min_size=1), min_size=2, max_size=20, unique=True))
def test_different_names_have_different_ids_in_mermaid(names: list[str]) -> None:
    ids = [set(assert_mermaid(mermaid(named(name)))) for name in names]
    assert len(set().union(*ids)) == sum(map(len, ids))


# -- dot -------------------------------------------------------------------------------------------------------


def tokens(text: str) -> Iterator[str]:
    """The tokens of dot, as far as it is used: identifiers, quoted strings and signs."""
    token = re.compile(r'\s*("(?:[^"\\]|\\.)*"|->|[\w.]+|[{}\[\]=,;])', re.DOTALL)
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = token.match(text, at)
        assert found is not None, text[at : at + 40]
        at = found.end()
        yield found[1]


def assert_dot(text: str) -> list[str]:
    """Parentheses match, statements end, quotes close; the tokens."""
    found = list(tokens(text))
    assert found[0] == "digraph"
    depth = 0
    for token in found:
        depth += (token in "{[") - (token in "}]") if len(token) == 1 else 0
        assert depth >= 0
    assert (depth, found[-1]) == (0, "}")
    return found


def test_dot_has_nodes_edges_and_ranks() -> None:
    text = draw(orders(), "dot")
    found = assert_dot(text)
    assert '"check\\nsubscriber\\n1 to 8 workers · mailbox 64\\nin order by key · 5 attempts · at most 10 s"' in found
    assert '  "stage:check" -> "destination:kafka:graves" [style=dashed, color="#b91c1c"];' in text.splitlines()
    assert '  { rank=source; "source:memory:orders"; }' in text.splitlines()
    assert found.count("->") == 8


@given(st.text(min_size=1))
def test_dot_is_well_formed_whatever_the_names_are(name: str) -> None:
    assert_dot(dot(named(name)))


# -- SVG -------------------------------------------------------------------------------------------------------


def test_svg_shows_every_stage_and_endpoint_with_its_words() -> None:
    root = ElementTree.fromstring(draw(orders(), "svg"))
    shapes = [each.get("class") for each in root.iter(f"{SVG}g") if each.get("class") not in (None, "flow", "dead")]
    assert sorted(filter(None, shapes)) == ["endpoint"] * 4 + ["publisher"] * 2 + ["router"] + ["subscriber"] * 2
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert {"orders", "check", "choose", "store", "graves", "urgent.{customer}", "batches of 50"} <= set(words)
    assert len([each for each in root.iter(f"{SVG}g") if each.get("class") == "dead"]) == 1


def test_svg_stays_readable_on_a_dark_page() -> None:
    text = draw(orders(), "svg")
    assert "prefers-color-scheme: dark" in text
    light, dark = text.split("@media")
    for kind in ("page", "endpoint", "subscriber", "router", "publisher"):
        assert f".{kind}" in light
        assert f".{kind}" in dark


@given(st.text(min_size=1) | st.just(NASTY))
def test_svg_is_well_formed_whatever_the_names_are(name: str) -> None:
    root = ElementTree.fromstring(svg(named(name)))
    for number in "".join(value for each in root.iter() for value in each.attrib.values()).split():
        assert "nan" not in number


def test_svg_shortens_a_long_name_and_tells_it_in_full() -> None:
    name = string.ascii_letters * 3
    root = ElementTree.fromstring(svg(named(name)))
    assert name not in [each.text for each in root.iter(f"{SVG}text") if each.get("class") == "name"]
    assert [each.text for each in root.iter(f"{SVG}title") if each.text and each.text.startswith(name)]


def test_svg_refers_to_nothing_outside_of_itself() -> None:
    text = draw(orders(), "svg").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\(|href|<script|@import", text)
