"""A topology as the live page draws it: its outline with the place of every box and line. Pure."""

from typing import Any

from topologies import Box, Outline, arrange

STAGE = (256.0, 136.0)
ENDPOINT = (176.0, 54.0)
"""Width and height of the boxes, in pixels; what the page writes into them fits."""
ACROSS, DOWN = 88.0, 28.0


def picture(drawn: Outline) -> dict[str, Any]:
    """The outline as JSON knows it, and in pixels where each node and edge is.

    `points` of an edge are even in number: from the first to the second a curve, on to the third straight, and so on.
    """
    boxes = {each.id: Box(*ENDPOINT, "last" if each.side == "destination" else None) for each in drawn.endpoints}
    boxes |= {each.id: Box(*STAGE, "before last" if each.kind == "publisher" else None) for each in drawn.stages}
    layout = arrange(boxes, [(edge.start, edge.end) for edge in drawn.edges], across=ACROSS, down=DOWN)
    made = drawn.as_json()
    for node in (*made["endpoints"], *made["stages"]):
        id = node["id"]
        x, y = layout.places[id]
        node |= {"x": _short(x), "y": _short(y), "width": layout.widths[id], "height": boxes[id].height}
    for edge in made["edges"]:
        edge["points"] = [(_short(x), _short(y)) for x, y in layout.routes[edge["start"], edge["end"]]]
    return {**made, "width": layout.width, "height": layout.height}


def _short(number: float) -> float:
    return round(number, 1)
