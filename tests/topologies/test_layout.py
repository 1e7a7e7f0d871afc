"""Where boxes stand: every link to the right, nothing on top of anything, few crossings, and the same each time."""

from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.layout import Box, Layout, Link, arrange

Column = Literal["last", "before last"] | None
Drawing = tuple[dict[str, Box], list[Link]]


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Boxes of any size, and links that lead from earlier ones to later ones; some boxes belong to the right."""
    count = draw(st.integers(0, 14))
    names = [f"box {number}" for number in range(count)]
    pairs = [(start, end) for at, start in enumerate(names) for end in names[at + 1 :]]
    links = draw(st.lists(st.sampled_from(pairs), max_size=30)) if pairs else []
    ends = {name for name in names if not any(start == name for start, _ in links)}
    last = {name for name in sorted(ends) if draw(st.booleans())}
    boxes = {}
    for name in names:
        column: Column = "last" if name in last else draw(st.sampled_from([None, "before last"]))
        boxes[name] = Box(draw(st.integers(10, 200)), draw(st.integers(10, 80)), column)
    return boxes, links


def placed(drawing: Drawing) -> Layout:
    return arrange(*drawing, across=50, down=10)


@given(drawings())
def test_every_link_leads_to_the_right_from_border_to_border(drawing: Drawing) -> None:
    boxes, links = drawing
    layout = placed(drawing)
    for start, end in links:
        points = layout.routes[start, end]
        (x1, y1), (x2, y2) = layout.places[start], layout.places[end]
        assert points[0] == pytest.approx((x1 + layout.widths[start], y1 + boxes[start].height / 2))
        assert points[-1] == pytest.approx((x2, y2 + boxes[end].height / 2))
        assert len(points) % 2 == 0
        assert all(before[0] <= after[0] for before, after in pairwise(points))
        assert all(before[0] < after[0] for before, after in list(pairwise(points))[::2])


@given(drawings())
def test_no_box_stands_on_another_or_outside(drawing: Drawing) -> None:
    boxes, _ = drawing
    layout = placed(drawing)
    columns: dict[float, list[str]] = {}
    for name, (x, y) in layout.places.items():
        columns.setdefault(x, []).append(name)
        assert x >= 0
        assert y >= -1e-6
        assert x + layout.widths[name] <= layout.width + 1e-6
        assert y + boxes[name].height <= layout.height + 1e-6
    for names in columns.values():
        names.sort(key=lambda name: layout.places[name][1])
        for above, below in pairwise(names):
            bottom = layout.places[above][1] + boxes[above].height
            assert bottom + 10 <= layout.places[below][1] + 1e-6
    for left, right in pairwise(sorted(columns)):
        assert left + layout.widths[columns[left][0]] + 50 <= right + 1e-6


@given(drawings())
def test_what_belongs_to_the_right_is_there_alone(drawing: Drawing) -> None:
    boxes, _ = drawing
    layout = placed(drawing)
    last = {layout.places[name][0] for name, box in boxes.items() if box.column == "last"}
    assert len(last) <= 1
    assert all(layout.places[name][0] < max(last, default=1e9) for name, box in boxes.items() if box.column != "last")


@given(drawings())
def test_lines_do_not_run_through_boxes(drawing: Drawing) -> None:
    boxes, _ = drawing
    layout = placed(drawing)
    for points in layout.routes.values():
        for (left, y), (right, _) in list(pairwise(points))[1::2]:
            for name, box in boxes.items():
                x, top = layout.places[name]
                if left <= x <= right:
                    assert not top < y < top + box.height


@given(drawings())
def test_the_same_boxes_are_always_placed_the_same_way(drawing: Drawing) -> None:
    assert placed(drawing) == placed(drawing)


def test_crossings_that_need_not_be_are_undone() -> None:
    boxes = {name: Box(10, 10) for name in "abcxyz"}
    layout = placed((boxes, [("a", "z"), ("b", "y"), ("c", "x")]))
    assert [layout.places[name][1] for name in "abc"] == [layout.places[name][1] for name in "zyx"]


def test_a_chain_is_a_straight_line() -> None:
    boxes = {name: Box(10, height) for name, height in zip("abcd", [10, 40, 20, 30], strict=True)}
    layout = placed((boxes, list(pairwise("abcd"))))
    assert {y for points in layout.routes.values() for _, y in points} == {20.0}


def test_a_publisher_stands_beside_the_destinations() -> None:
    boxes = {
        "source": Box(10, 10),
        "early": Box(10, 10),
        "late": Box(10, 10),
        "publisher": Box(10, 10, "before last"),
        "other": Box(10, 10, "before last"),
        "there": Box(10, 10, "last"),
    }
    links = [("source", "early"), ("early", "late"), ("early", "publisher"), ("publisher", "there")]
    layout = placed((boxes, [*links, ("late", "other"), ("other", "there")]))
    assert layout.places["publisher"][0] == layout.places["other"][0]


def test_a_thousand_boxes_with_long_lines_are_placed() -> None:
    names = [str(number) for number in range(1000)]
    boxes = {name: Box(10, 10) for name in names} | {f"to {name}": Box(10, 10, "last") for name in names}
    layout = placed((boxes, [*pairwise(names), *((name, f"to {name}") for name in names)]))
    assert len(layout.places) == 2000
