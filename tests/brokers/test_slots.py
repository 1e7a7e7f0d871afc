"""Numbers that one process has at a time, and that are free again when it dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.redis import slots
from engine.redis.slots import Slot

HOLD = "import sys; from engine.redis.slots import Slot; print(Slot(sys.argv[1]).number, flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_the_lowest_free_number_is_taken() -> None:
    first, second, third = Slot("orders"), Slot("orders"), Slot("orders")
    other = Slot("payments")
    assert [each.number for each in (first, second, third, other)] == ["0", "1", "2", "0"]
    second.release()
    second.release()
    again = Slot("orders")
    assert again.number == "1"
    for each in (first, third, other, again):
        each.release()


def test_a_killed_process_leaves_its_number_to_the_next() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "orders"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0\n"
        mine = Slot("orders")
        assert mine.number == "1"
        other.kill()
        other.wait()
        after = Slot("orders")
    assert after.number == "0"
    mine.release()
    after.release()


def test_where_nothing_can_be_locked_the_name_is_a_new_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "fcntl", None)
    one, other = Slot("orders"), Slot("orders")
    assert one.number != other.number
    assert len(one.number) == 12


def test_a_folder_of_somebody_else_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4711)
    (folder / "headrace-4711").mkdir()
    assert len(Slot("orders").number) == 12
