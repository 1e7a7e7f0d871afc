"""What is kept of a benchmark: whole, or as it was before."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import page, store
from benchmarks.figures import figures
from benchmarks.probe import Latency
from benchmarks.rounds import Measurement
from benchmarks.store import BEGIN, END, Conditions, Stored, Table, Unreadable


def table(work: str = "bridge", rate: float = 100.0, date: str = "2026-01-01") -> Table:
    runs = [
        Measurement(broker="redis", work=work, contender=name, round=0, messages=100, rate=each, lost=lost)
        for name, each, lost in (("best", 100.0, 0), ("headrace", rate, 0), ("faststream", 999.0, 4))
    ]
    under = Conditions(date=date, command="python -m benchmarks", machine="2 × chip", versions={"Python": "3.11"})
    return Table(broker="redis", work=work, conditions=under, figures=figures(runs), left_out={"naive": "it rests"})


def test_what_was_stored_is_loaded_again(tmp_path: Path) -> None:
    stored = Stored(tables=[table()])
    stored.tables[0].figures[1].idle = Latency(p50=0.001, p99=0.0025, pace=300)
    store.write(tmp_path / "figures.json", stored.model_dump_json())
    assert store.load(tmp_path / "figures.json") == stored


def test_without_a_file_nothing_is_stored(tmp_path: Path) -> None:
    assert store.load(tmp_path / "figures.json") == Stored()


@pytest.mark.parametrize("text", ["{", '{"tables": [{"broker": "redis"}]}'])
def test_a_file_that_holds_something_else_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(text)
    with pytest.raises(Unreadable, match=r"figures\.json holds no figures: .*--save"):
        store.load(path)


def test_tables_take_the_place_of_those_of_the_same_work_and_the_others_stay() -> None:
    stored = Stored(tables=[table("bridge", date="old"), table("consume", date="old")])
    merged = stored.merged([table("consume", date="new"), table("batch", date="new")])
    assert [(each.work, each.conditions.date) for each in merged.tables] == [
        ("bridge", "old"),
        ("consume", "new"),
        ("batch", "new"),
    ]


def test_tables_are_written_between_the_marks_and_again() -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    once = store.with_tables(page, "new")
    assert once == f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"
    assert store.with_tables(once, "new") == once


@pytest.mark.parametrize("page", ["nothing", f"{BEGIN}", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    with pytest.raises(Unreadable, match="Put them back"):
        store.with_tables(page, "new")


def test_the_page_has_its_marks() -> None:
    store.with_tables(store.PAGE.read_text(encoding="utf-8"), "")


def test_what_is_interrupted_while_it_is_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.md"
    path.write_text("old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_shows_ratios_who_lost_conditions_and_who_was_left_out() -> None:
    text = page.markdown(Stored(tables=[table("consume"), table("bridge", rate=250)]))
    assert text.index("### In short") < text.index("### Whether it holds") < text.index("### bridge")
    assert text.index("### bridge") < text.index("### consume")
    assert "| Redis streams | 250 | 2.50 | – | – | – | 0 / 0 / – |" in text
    assert "| Redis streams | bridge | headrace / best | at least 1 | 2.50 | holds |" in text
    assert "| headrace | **2.50** · 250 (250–250) |" in text
    assert "| faststream | **(9.99)** · 999 (999–999); 4 lost |" in text
    assert "`python -m benchmarks`, 2026-01-01, on 2 × chip; Python 3.11; median of 1, up to 100 messages." in text
    assert "naive (it rests)" in text


def test_one_table_has_a_work_with_its_brokers_side_by_side() -> None:
    text = page.markdown(Stored(tables=[table(), table().model_copy(update={"broker": "kafka"})]))
    assert "|  | Redis streams | Kafka |" in text
    assert "* Redis streams, Kafka: `python -m benchmarks`, 2026-01-01" in text


def test_of_nothing_there_is_no_table() -> None:
    assert page.markdown(Stored()) == ""


def test_the_stored_figures_and_the_page_say_the_same() -> None:
    text = store.PAGE.read_text(encoding="utf-8")
    assert store.with_tables(text, page.markdown(store.load())) == text


def test_conditions_name_machine_command_and_moment() -> None:
    found = store.conditions("python -m benchmarks", {"Python": "3.11"})
    assert "UTC" in found.date
    assert "GB" in found.machine
    assert json.loads(found.model_dump_json())["command"] == "python -m benchmarks"
