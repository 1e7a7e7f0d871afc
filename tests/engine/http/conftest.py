"""A user's folder, and the command as a process that serves, as in the command's own tests; and a browser."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.cli.conftest import Write, process, write
from tests.engine.cli.test_run import Running, start
from tests.engine.http.browsing import browser

APP = """
    from tests.engine.http.served import Mill

    mill = Mill()
    memory, topology = mill.memory, mill.topology
    """
Serve = Callable[..., tuple[str, Running]]
__all__ = ["APP", "Serve", "browser", "process", "start", "write"]


def url_of(running: Running) -> str:
    """Where it serves, as it says when it does."""
    told: str = json.loads(running.until(running.err, "serving at")[-1])["message"]
    return told.rpartition(" ")[2]


@pytest.fixture
def serve(start: Callable[..., Running], write: Write, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start `headrace run` on the mill with `--http`; its URL, once it serves, and the process."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    write("app.py", APP)

    def serving(arguments: str = "--http 127.0.0.1:0") -> tuple[str, Running]:
        running = start("app.py", *shlex.split(arguments))
        return url_of(running), running

    return serving
