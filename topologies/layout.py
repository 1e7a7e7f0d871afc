"""Where the boxes of a drawing stand: in columns from left to right, with few crossings. Pure.

The method is that of Sugiyama, Tagawa and Toda (1981): columns by the longest path, corners where a line
passes a column, columns ordered by the barycenter of their neighbours, then moved towards them.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

T = TypeVar("T", bound=Hashable)
Link = tuple[str, str]
_Item = str | tuple[str, str, int]
"""A box, or the corner of a link in a column."""
_Neighbours = Mapping[T, list[T]]
_Pairs = list[list[tuple[_Item, _Item]]]
"""For each column, its links to the next one."""

_SWEEPS, _PULLS = 8, 32
"""How often the order of the columns, and the height of the boxes, is gone over."""
_CORNERS = 20_000
"""A drawing with more corners than that is no drawing any more: its long lines go straight."""


@dataclass(frozen=True, slots=True)
class Box:
    """The size of one box, and whether it belongs into the last column or before that one."""

    width: float
    height: float
    column: Literal["last", "before last"] | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The left upper corner of each box, and the points that each link runs through, in pixels."""

    places: Mapping[str, tuple[float, float]]
    widths: Mapping[str, float]
    """All boxes of a column are as wide as its widest."""
    routes: Mapping[Link, tuple[tuple[float, float], ...]]
    """An even number of points: from the first to the second a curve, on to the third straight, and so on."""
    width: float
    height: float


def arrange(boxes: Mapping[str, Box], links: Iterable[Link], *, across: float, down: float) -> Layout:
    """Place boxes so that every link leads to the right; the links must be free of cycles.

    `across` is the room between two columns, `down` the least between two boxes of a column.
    """
    links = list(dict.fromkeys(links))
    column_of = _columns(boxes, links)
    columns, pairs = _with_corners(boxes, links, column_of)
    columns = _ordered(columns, pairs)
    middles = _middles(columns, pairs, {name: box.height for name, box in boxes.items()}, down)
    return _placed(boxes, links, columns, column_of, middles, across)


def _columns(boxes: Mapping[str, Box], links: Sequence[Link]) -> dict[str, int]:
    """The column of each box: one past the furthest that leads to it."""
    ahead, behind = _neighbours(links)
    column: dict[str, int] = {}
    waiting = {name: len(behind[name]) for name in boxes}
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:
        column[name] = 1 + max((column[before] for before in behind[name]), default=-1)
        for after in ahead[name]:
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    last = max((at + (boxes[name].column != "last") for name, at in column.items()), default=0)
    for name, box in boxes.items():
        if box.column == "last":
            column[name] = last
        elif box.column == "before last" and all(boxes[after].column == "last" for after in ahead[name]):
            column[name] = last - 1
    return column


def _with_corners(
    boxes: Mapping[str, Box], links: Sequence[Link], column: Mapping[str, int]
) -> tuple[list[list[_Item]], _Pairs]:
    """The columns with a corner wherever a link passes one, and the pairs of neighbours between them."""
    columns: list[list[_Item]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    pairs: _Pairs = [[] for _ in columns]
    for name in boxes:
        columns[column[name]].append(name)
    cornered = sum(column[end] - column[start] - 1 for start, end in links) <= _CORNERS
    for start, end in links:
        before: _Item = start
        for at in range(column[start] + 1, column[end] if cornered else 0):
            corner = (start, end, at)
            columns[at].append(corner)
            pairs[at - 1].append((before, corner))
            before = corner
        if cornered or column[end] == column[start] + 1:
            pairs[column[end] - 1].append((before, end))
    return columns, pairs


def _ordered(columns: list[list[_Item]], pairs: _Pairs) -> list[list[_Item]]:
    """The columns, each in the order found that has the fewest crossings."""
    ahead, behind = _neighbours(pair for between in pairs for pair in between)
    best, fewest = columns, _crossings(columns, pairs)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        columns = [list(column) for column in columns]
        forth = sweep % 2 == 0
        for at in range(1, len(columns)) if forth else range(len(columns) - 2, -1, -1):
            beside = columns[at - 1 if forth else at + 1]
            order = {item: place for place, item in enumerate(beside)}
            _by_barycenter(columns[at], order, behind if forth else ahead)
        crossings = _crossings(columns, pairs)
        if crossings < fewest:
            best, fewest = columns, crossings
    return best


def _by_barycenter(column: list[_Item], order: Mapping[_Item, int], beside: _Neighbours[_Item]) -> None:
    weight: dict[_Item, float] = {}
    for place, item in enumerate(column):
        weight[item] = _mean([order[other] for other in beside[item]], place)
    column.sort(key=weight.__getitem__)


def _crossings(columns: Sequence[Sequence[_Item]], pairs: _Pairs) -> int:
    """How often links cross, counted with a Fenwick tree (Barth, Jünger and Mutzel, 2002)."""
    count = 0
    for at, between in enumerate(pairs):
        if not between:
            continue
        left = {item: place for place, item in enumerate(columns[at])}
        right = {item: place for place, item in enumerate(columns[at + 1])}
        tree = [0] * (len(right) + 1)
        for seen, (_, end) in enumerate(sorted((left[a], right[b]) for a, b in between)):
            place, above = end + 1, 0
            while place:
                above += tree[place]
                place &= place - 1
            count += seen - above
            place = end + 1
            while place < len(tree):
                tree[place] += 1
                place += place & -place
    return count


def _middles(
    columns: Sequence[Sequence[_Item]],
    pairs: _Pairs,
    heights: Mapping[str, float],
    down: float,
) -> dict[_Item, float]:
    """How far down the middle of each item is: near the mean of its neighbours, in order, not overlapping."""
    ahead, behind = _neighbours(pair for between in pairs for pair in between)
    tall = [[heights[item] if isinstance(item, str) else 0.0 for item in column] for column in columns]
    middle: dict[_Item, float] = {}
    for column, high in zip(columns, tall, strict=True):
        middle.update(zip(column, _apart([0.0] * len(column), high, down), strict=True))
    forth = list(zip(columns, tall, strict=True))
    for sweep in range(_PULLS):
        for column, high in forth if sweep % 2 else reversed(forth):
            beside = [[middle[other] for other in ahead[item] + behind[item]] for item in column]
            wanted = [_mean(near, middle[item]) for item, near in zip(column, beside, strict=True)]
            middle.update(zip(column, _apart(wanted, high, down), strict=True))
    return middle


def _mean(numbers: Sequence[float], default: float) -> float:
    return sum(numbers) / len(numbers) if numbers else default


def _apart(wanted: Sequence[float], heights: Sequence[float], down: float) -> list[float]:
    """The middles nearest to those wanted, `down` apart; by pooling adjacent violators."""
    shifts = [0.0] if wanted else []
    for above, below in pairwise(heights):
        shifts.append(shifts[-1] + above / 2 + down + below / 2)
    blocks: list[tuple[float, int]] = []
    for want, shift in zip(wanted, shifts, strict=True):
        total, size = want - shift, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / size:
            before, count = blocks.pop()
            total, size = total + before, size + count
        blocks.append((total, size))
    placed = [total / size for total, size in blocks for _ in range(size)]
    return [place + shift for place, shift in zip(placed, shifts, strict=True)]


def _placed(
    boxes: Mapping[str, Box],
    links: Sequence[Link],
    columns: Sequence[Sequence[_Item]],
    column_of: Mapping[str, int],
    middles: Mapping[_Item, float],
    across: float,
) -> Layout:
    """The numbers of a layout, moved so that its left upper corner is at zero."""
    wide = [[boxes[item].width for item in column if isinstance(item, str)] for column in columns]
    widths = [max(column, default=0.0) for column in wide]
    lefts = [sum(widths[:at]) + across * at for at in range(len(columns))]
    half = {item: boxes[item].height / 2 if isinstance(item, str) else 0.0 for item in middles}
    top = min((middle - half[item] for item, middle in middles.items()), default=0.0)
    bottom = max((middle + half[item] for item, middle in middles.items()), default=0.0)
    routes: dict[Link, tuple[tuple[float, float], ...]] = {}
    for start, end in links:
        first, last = column_of[start], column_of[end]
        points = [(lefts[first] + widths[first], middles[start] - top)]
        for at in range(first + 1, last):
            if (middle := middles.get((start, end, at))) is not None:
                points += [(lefts[at], middle - top), (lefts[at] + widths[at], middle - top)]
        routes[start, end] = (*points, (lefts[last], middles[end] - top))
    return Layout(
        places={name: (lefts[column_of[name]], middles[name] - half[name] - top) for name in boxes},
        widths={name: widths[column_of[name]] for name in boxes},
        routes=routes,
        width=lefts[-1] + widths[-1] if columns else 0.0,
        height=bottom - top,
    )


def _neighbours(links: Iterable[tuple[T, T]]) -> tuple[_Neighbours[T], _Neighbours[T]]:
    """Of each item, those that its links lead to, and those that they come from."""
    ahead: defaultdict[T, list[T]] = defaultdict(list)
    behind: defaultdict[T, list[T]] = defaultdict(list)
    for start, end in links:
        ahead[start].append(end)
        behind[end].append(start)
    return ahead, behind
