"""The measurement of flatness, with a few thousand messages."""

import pytest
from rich.console import Console

from benchmarks import flat

CONSOLE = Console(quiet=True)


@pytest.mark.parametrize("shape", [{}, {"beside": 3}, {"keys": 50}, {"mailbox": 64}])
def test_a_shape_is_watched_over_its_last_messages(shape: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "WATCHED", 500)
    monkeypatch.setattr(flat, "SETTLED", 0.01)
    assert 0 < flat.cost(**shape) < 0.01


def test_every_shape_is_held_against_one_that_there_is() -> None:
    assert {other for other, _ in flat.SHAPES.values()} <= set(flat.SHAPES)
    table = flat.drawn({name: [1e-6, 2e-6, 3e-6] for name in flat.SHAPES})
    assert table.row_count == len(flat.SHAPES)


def test_memory_is_looked_at_after_the_first_then_after_each_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "FIRST", 2000)
    monkeypatch.setattr(flat, "EACH", 5000)
    looks = flat.growth(12_000, CONSOLE)
    assert [look.messages for look in looks] == [2000, 5000, 10_000, 12_000]
    assert all(look.megabytes > 10 and look.rate > 0 for look in looks)
