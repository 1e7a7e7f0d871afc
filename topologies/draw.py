"""A graph drawn: as mermaid, as dot, as SVG and as JSON.

The JSON form is that of `topologies.outline.Outline`, field by field. Ids are made of names alone, so that a
drawing changes only where its topology does.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Literal

from topologies.graph import Graph
from topologies.outline import Edge, Outline, StageOutline, outline, summary
from topologies.svg import svg

Format = Literal["mermaid", "dot", "svg", "json"]

_MERMAID_SHAPES = {
    "subscriber": ('["', '"]'),
    "router": ('{{"', '"}}'),
    "publisher": ('(["', '"])'),
    "endpoint": ('[("', '")]'),
}
_MERMAID_STYLES = """\
  classDef endpoint fill:#eef2f6,stroke:#64748b,color:#1f2937
  classDef subscriber fill:#e8f0fe,stroke:#2563eb,color:#1f2937
  classDef router fill:#fdf3e1,stroke:#b45309,color:#1f2937
  classDef publisher fill:#e7f6ec,stroke:#15803d,color:#1f2937"""
_DOT_SHAPES = {
    "subscriber": 'shape=box, style="rounded,filled", color="#2563eb", fillcolor="#e8f0fe"',
    "router": 'shape=hexagon, style=filled, color="#b45309", fillcolor="#fdf3e1"',
    "publisher": 'shape=box, style="rounded,filled", color="#15803d", fillcolor="#e7f6ec"',
    "endpoint": 'shape=cylinder, style=filled, color="#64748b", fillcolor="#eef2f6"',
}


def draw(graph: Graph, format: Format) -> str:
    """The drawing as text that ends with a newline; the same graph gives the same text."""
    return _FORMATS[format](outline(graph))


def mermaid(drawn: Outline) -> str:
    """A mermaid flowchart."""
    lines = ["flowchart LR", f"  accTitle: {_mermaid_text(drawn.name)}"]
    for endpoint in drawn.endpoints:
        label = [f"<b>{_mermaid_text(endpoint.name)}</b>", _mermaid_text(endpoint.system)]
        lines.append(_mermaid_node(endpoint.id, "endpoint", label))
    for stage in drawn.stages:
        label = [f"<b>{_mermaid_text(stage.name)}</b>", *map(_mermaid_text, _words(stage))]
        lines.append(_mermaid_node(stage.id, stage.kind, label))
    for edge in drawn.edges:
        arrow = "-->" if edge.kind == "flow" else "-. dead .->"
        lines.append(f"  {_mermaid_id(edge.start)} {arrow} {_mermaid_id(edge.end)}")
    return "\n".join([*lines, _MERMAID_STYLES, ""])


def dot(drawn: Outline) -> str:
    """A digraph in the language of graphviz."""
    lines = [
        f"digraph {_dot_quoted(drawn.name)} {{",
        "  rankdir=LR;",
        '  node [fontname="sans-serif", fontsize=11, fontcolor="#1f2937", margin="0.15,0.08"];',
        '  edge [color="#64748b", fontname="sans-serif", fontsize=10];',
    ]
    lines += [_dot_node(end.id, "endpoint", [end.name, end.system]) for end in drawn.endpoints]
    for side, rank in (("source", "source"), ("destination", "sink")):
        ids = [f"{_dot_quoted(endpoint.id)};" for endpoint in drawn.endpoints if endpoint.side == side]
        if ids:
            lines.append(f"  {{ rank={rank}; {' '.join(ids)} }}")
    lines += [_dot_node(stage.id, stage.kind, [stage.name, *_words(stage)]) for stage in drawn.stages]
    lines += [_dot_edge(edge) for edge in drawn.edges]
    return "\n".join([*lines, "}", ""])


def as_json(drawn: Outline) -> str:
    """The outline as JSON."""
    return json.dumps(drawn.as_json(), indent=2, ensure_ascii=False) + "\n"


def _words(stage: StageOutline) -> list[str]:
    return [stage.kind, *summary(stage)]


def _mermaid_node(id: str, shape: str, label: list[str]) -> str:
    before, after = _MERMAID_SHAPES[shape]
    return f"  {_mermaid_id(id)}{before}{'<br>'.join(label)}{after}:::{shape}"


def _mermaid_id(id: str) -> str:
    """The id in letters, digits and underscores, no two alike: `_` is `__`, anything else its code in hex."""
    return re.sub(r"[^a-zA-Z0-9]", lambda sign: "__" if sign[0] == "_" else f"_{ord(sign[0]):x}_", id)


def _mermaid_text(text: str) -> str:
    """Text without a sign that mermaid, markdown or HTML would read."""
    # A zero-width space after each backslash: mermaid would make a line break of an escaped one and an "n".
    text = " ".join(text.split()).replace("\\", "\\\u200b")
    return re.sub(r"[^\w .,:/·-]", lambda sign: f"#{ord(sign[0])};", text)


def _dot_node(id: str, shape: str, label: list[str]) -> str:
    text = r"\n".join(_dot_text(line) for line in label)
    return f'  {_dot_quoted(id)} [label="{text}", {_DOT_SHAPES[shape]}];'


def _dot_edge(edge: Edge) -> str:
    look = ' [style=dashed, color="#b91c1c"]' if edge.kind == "dead" else ""
    return f"  {_dot_quoted(edge.start)} -> {_dot_quoted(edge.end)}{look};"


def _dot_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot_text(text: str) -> str:
    """Text inside a label's quotes; a label also reads backslashes and HTML's entities."""
    for sign, instead in (("\\", "\\\\"), ('"', '\\"'), ("&", "&amp;")):
        text = text.replace(sign, instead)
    return " ".join(text.split())


_FORMATS: Mapping[Format, Callable[[Outline], str]] = {
    "mermaid": mermaid,
    "dot": dot,
    "svg": svg,
    "json": as_json,
}
