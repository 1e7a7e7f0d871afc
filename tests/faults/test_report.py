"""The page of the results: every cell of the matrix, what failed by name, and nothing at all of a half run."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.__main__ import main
from tests.faults.engines import ROOT
from tests.faults.faults import FAULTS
from tests.faults.oracle import Verdict
from tests.faults.report import table
from tests.faults.run import PLACES, Result
from tests.servers.ports import ask


def result(broker: str, fault: str, seed: int = 1, **verdict: list) -> Result:
    judged = Verdict(owed=100, arrived=103, dead=0, duplicates=3, **verdict)
    made = dict(FAULTS[fault].wanted)
    problems = judged.problems()
    return Result(broker, fault, seed, 100, 9.0, True, judged, made, 2.5, 1.25, 0, problems)


def matrix() -> list[Result]:
    return [result(broker, fault.name) for broker in PLACES for fault in FAULTS.values() if broker in fault.brokers]


def test_the_seeds_of_a_fault_are_one_row_and_what_failed_stands_out() -> None:
    lines = table([result("nats", "kill"), result("nats", "kill", 2, missing=[7, 8])]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| **kill: 1 of 2 failed** | 200 | 6 kills, 6 restarts, 2 redelivered | 2 | 0 | 0 | 0 |")
    assert lines[2].endswith("| 3.00 | 2.5 | 1.2 |")


def test_a_whole_matrix_is_written_with_every_cell(tmp_path: Path) -> None:
    page, told = tmp_path / "page.md", tmp_path / "results.json"
    told.write_text(json.dumps([asdict(each) for each in matrix()]))
    assert main(["--read", str(told), "--write", str(page)]) == 0
    text = page.read_text()
    assert f"**{len(matrix())} runs, {100 * len(matrix()):,} messages: {len(matrix())} passed, 0 failed.**" in text
    assert all(text.count(f"\n| {fault} |") == len(PLACES) + 1 for fault in FAULTS)


def test_half_a_matrix_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    page, told = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text("as it was")
    told.write_text(json.dumps([asdict(each) for each in matrix()[1:]]))
    assert main(["--read", str(told), "--write", str(page)]) == 1
    assert page.read_text() == "as it was"
    assert list(tmp_path.glob("*.draft")) == []
    assert main(["--read", str(told), "--write", str(page), "--partial"]) == 0
    assert "a part of the matrix: 1 of its cells were not run" in page.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing_running(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.faults", "--broker=redis", "--fault=none", "--messages=100000"]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
    until = time.monotonic() + 30
    while not (engines := _children(run.pid, "headrace")):
        assert time.monotonic() < until, "no engine was started"
        time.sleep(0.02)
    servers = _children(run.pid, "redis-server")
    started = [*engines, *servers]
    assert len(started) == 2
    port = int(_told(Path(f"/proc/{servers[0]}/cmdline")).strip("\0").rsplit(":", 1)[1])
    while ask(port, b"DBSIZE\r\n") in (b":0\r\n", b":1\r\n"):  # in the midst of it, a client may swallow what ends it
        assert time.monotonic() < until, "nothing has arrived"
        time.sleep(0.01)
    os.kill(run.pid, number)
    try:
        assert run.wait(30) == 130
    finally:
        run.kill()
        assert run.stderr is not None
        run.stderr.close()
    assert [process for process in started if Path(f"/proc/{process}").exists()] == []


def _children(parent: int, name: str) -> list[int]:
    """The processes that one has started, by what is in their command."""
    found = [each for thread in Path(f"/proc/{parent}/task").iterdir() for each in _told(thread / "children").split()]
    return [int(each) for each in found if name in _told(Path(f"/proc/{each}/cmdline"))]


def _told(path: Path) -> str:
    """What stands in a file of a process that may have gone."""
    try:
        return path.read_text()
    except OSError:
        return ""
