"""A folder with a user's modules in it, and the command run on it: in this process, or as one of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from engine.cli.app import execute

ORDERS = """
    from pydantic import BaseModel, Field

    from headrace import Memory, Topology


    class Order(BaseModel):
        id: int = Field(gt=0)
        customer: str
        priority: str = "low"


    memory = Memory()
    topology = Topology("orders")
    urgent = topology.publisher(memory.topic("urgent.{customer}"), key="customer")
    normal = topology.publisher(memory.topic("orders.enriched"))


    @topology.subscriber(memory.topic("orders"), max_workers=4, key="customer")
    async def check(order: Order) -> Order:
        if order.customer == "nobody":
            raise ValueError("there is no such customer")
        return order


    @topology.router(check, to=[urgent, normal])
    def by_priority(order: Order):
        return urgent if order.priority == "high" else normal
    """


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the user's."""

    def writing(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    return writing


@pytest.fixture
def headrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Run the command in this process, from the user's folder; leave nothing of it behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    modules, root = set(sys.modules), logging.getLogger()
    handlers, level = root.handlers, root.level

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        code = execute(arguments)
        return Result(code, *capfd.readouterr())

    yield run
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """Run the command as a process of its own, from the user's folder."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "headrace", *arguments],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            env=surroundings(**environment),
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def surroundings(**environment: str) -> dict[str, str]:
    """The environment without settings of the command, and with these variables."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return plain | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"} | environment


def assert_refused(result: Result, code: int, *words: str) -> None:
    """It ended with that code, and told why in a line or two that hold these words, without a traceback."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert 1 <= len(result.err.splitlines()) <= 3, result.err
    for word in words:
        assert word in result.err
