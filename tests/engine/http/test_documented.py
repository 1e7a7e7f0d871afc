"""Every `curl` that a page shows is run against the topology of that page, and answers what is shown below it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.cli.test_run import Running
from tests.engine.http.conftest import url_of
from tests.engine.http.served import TOKEN
from tests.test_docs import ROOT, Shown, commands, write_files

PAGE = ROOT / "docs" / "operations.md"
SHOWN = [shown for shown in commands() if shown.command.startswith("curl ")]


def test_the_commands_are_all_of_one_page() -> None:
    assert {shown.block.page for shown in SHOWN} == {PAGE}
    assert len(SHOWN) > 8


@pytest.mark.timeout(120)
def test_every_curl_answers_what_is_shown(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(PAGE, tmp_path)
    running = start("invoicing.py", "--http", "127.0.0.1:0", "--token", TOKEN)
    url = url_of(running)
    for shown in SHOWN:
        assert "http://localhost:8080" in shown.command
        answer(shown, url)


def answer(shown: Shown, url: str) -> None:
    done = subprocess.run(
        shown.command.replace("http://localhost:8080", url),
        shell=True,
        env=os.environ | {"HEADRACE_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, f"{shown}: {done.stderr}"
    assert done.stdout, f"{shown}: no answer"
    assert '"status": 4' not in done.stdout, f"{shown}: {done.stdout}"
    for line in shown.lines:
        assert line == done.stdout.strip(), f"{shown}: {done.stdout}"
