"""A graph as SVG, readable on a light and on a dark page, made without any other program."""

import unicodedata
from html import escape
from itertools import pairwise

from topologies.layout import Box, Layout, arrange
from topologies.outline import Outline, summary

_MARGIN, _TITLE = 28.0, 44.0
_LETTER = 7.3
"""How wide a letter of a name is: monospaced at 12 px; those in smaller print are narrower."""
_INSET = 18
_LONGEST = 36
"""The most letters of a name that are shown; the whole of it is in the tooltip."""

_STYLE = """\
.page { fill: #ffffff }
text { font: 11px ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #57606a }
.title { font-size: 16px; font-weight: 600; fill: #1f2328 }
.name { font: 600 12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1f2328 }
.kind { font-size: 10px; letter-spacing: .04em }
.box { stroke-width: 1.5 }
.line { fill: none; stroke: #8c959f; stroke-width: 1.5 }
.tip { fill: #8c959f }
.dead .line { stroke: #cf222e; stroke-dasharray: 4 4 }
.dead .tip { fill: #cf222e }
.endpoint .box { fill: #f3f5f8; stroke: #6e7781 }
.endpoint .kind { fill: #57606a }
.subscriber .box { fill: #eef5ff; stroke: #2f6fde }
.subscriber .kind { fill: #1f5ac4 }
.router .box { fill: #fff5e5; stroke: #bf6a02 }
.router .kind { fill: #9a5200 }
.publisher .box { fill: #ebf8ef; stroke: #218a43 }
.publisher .kind { fill: #1a7037 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 }
text { fill: #9aa4b0 }
.title, .name { fill: #e6edf3 }
.line { stroke: #6e7681 }
.tip { fill: #6e7681 }
.dead .line { stroke: #f0655c }
.dead .tip { fill: #f0655c }
.endpoint .box { fill: #1a212b; stroke: #7d8590 }
.endpoint .kind { fill: #9aa4b0 }
.subscriber .box { fill: #11223d; stroke: #4d8df6 }
.subscriber .kind { fill: #79aefc }
.router .box { fill: #2d2111; stroke: #d08a2c }
.router .kind { fill: #e3a655 }
.publisher .box { fill: #10281a; stroke: #3da55d }
.publisher .kind { fill: #62c181 }
}"""


def svg(drawn: Outline) -> str:
    """The drawing: sources on the left, destinations on the right, stages between them."""
    layout = arrange(_boxes(drawn), [(edge.start, edge.end) for edge in drawn.edges], across=64, down=22)
    width, height = layout.width + 2 * _MARGIN, layout.height + _TITLE + 2 * _MARGIN
    width = max(width, _wide(drawn.name) * 10 + 2 * _MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{_text(drawn.name)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        '<rect class="page" width="100%" height="100%" rx="8"/>',
        f'<text class="title" x="{_MARGIN:.0f}" y="{_MARGIN + 12:.0f}">{_text(drawn.name)}</text>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN + _TITLE:.0f})">',
    ]
    parts += [_line(layout, edge.start, edge.end, edge.kind) for edge in drawn.edges]
    for endpoint in drawn.endpoints:
        parts.append(_node(layout, endpoint.id, "endpoint", endpoint.system, endpoint.name, [], endpoint.name))
    for stage in drawn.stages:
        told = "\n".join(part for part in (stage.name, stage.description, stage.place) if part)
        parts.append(_node(layout, stage.id, stage.kind, stage.kind, stage.name, summary(stage), told))
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _boxes(drawn: Outline) -> dict[str, Box]:
    boxes: dict[str, Box] = {}
    for endpoint in drawn.endpoints:
        size = _size(endpoint.system, endpoint.name, [])
        boxes[endpoint.id] = Box(*size, "last" if endpoint.side == "destination" else None)
    for stage in drawn.stages:
        size = _size(stage.kind, stage.name, summary(stage))
        boxes[stage.id] = Box(*size, "before last" if stage.kind == "publisher" else None)
    return boxes


def _size(kind: str, name: str, numbers: list[str]) -> tuple[float, float]:
    words = [_wide(kind) * 6.4, _wide(_shortened(name)) * _LETTER, *(_wide(line) * 5.9 for line in numbers)]
    return max(words) + 2 * _INSET, 46.0 + 15 * len(numbers)


def _node(layout: Layout, id: str, shape: str, kind: str, name: str, numbers: list[str], told: str) -> str:
    """One box with its words; what it is told with shows when the pointer rests on it."""
    x, y = layout.places[id]
    width, height = layout.widths[id], _size(kind, name, numbers)[1]
    rows = [f'<text class="kind" x="{_INSET}" y="18">{_text(kind)}</text>']
    rows.append(f'<text class="name" x="{_INSET}" y="34">{_text(_shortened(name))}</text>')
    rows += [f'<text x="{_INSET}" y="{50 + 15 * at}">{_text(line)}</text>' for at, line in enumerate(numbers)]
    return (
        f'<g class="{shape}" transform="translate({x:.1f} {y:.1f})"><title>{_text(told)}</title>'
        f"{_outline_of(shape, width, height)}{''.join(rows)}</g>"
    )


def _outline_of(shape: str, width: float, height: float) -> str:
    """An endpoint is a lying cylinder, a router comes to a point on both sides, other stages are boxes."""
    if shape == "router":
        points = f"0,{height / 2:.1f} 10,0 {width - 10:.1f},0 {width:.1f},{height / 2:.1f} "
        return f'<polygon class="box" points="{points}{width - 10:.1f},{height} 10,{height}"/>'
    if shape != "endpoint":
        return f'<rect class="box" width="{width:.1f}" height="{height}" rx="{7 if shape == "subscriber" else 20}"/>'
    half, right = height / 2, width - 7
    body = f"M 7 0 H {right:.1f} a 7 {half} 0 0 1 0 {height} H 7 a 7 {half} 0 0 1 0 {-height} z"
    lid = f"M {right:.1f} 0 a 7 {half} 0 0 0 0 {height}"
    return f'<path class="box" d="{body}"/><path class="box" d="{lid}"/>'


def _line(layout: Layout, start: str, end: str, kind: str) -> str:
    """A line through the points of its route, with its tip at the end."""
    points = layout.routes[start, end]
    x, y = points[0]
    path = [f"M {x:.1f} {y:.1f}"]
    for at, ((x1, y1), (x2, y2)) in enumerate(pairwise(points)):
        if at % 2:
            path.append(f"H {x2:.1f}")
        else:
            bend = (x2 - x1) / 2
            path.append(f"C {x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}")
    x, y = points[-1]
    tip = f'<path class="tip" d="M {x:.1f} {y:.1f} l -8 -4 v 8 z"/>'
    return f'<g class="{kind}"><path class="line" d="{" ".join(path)}"/>{tip}</g>'


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _wide(text: str) -> int:
    """How many letters wide the text is; a letter of Chinese or Japanese is as wide as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _text(text: str) -> str:
    """Text as XML may hold it: a control character, which it may not, becomes a space."""
    return escape("".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text))
