"""The event loop of `headrace run`: uvloop where it is there, unless it is turned off."""

import json
import sys
from importlib.metadata import version

import pytest

from engine.cli import eventloop
from engine.settings import SettingsError
from tests.engine.cli.conftest import Command, Write, assert_refused

WHERE = """
    import asyncio

    from headrace import Memory, Topology

    topology = Topology("where")


    @topology.lifespan
    async def tell(context):
        print(type(asyncio.get_running_loop()).__module__.split(".")[0], flush=True)
        yield


    @topology.subscriber(Memory().topic("in"))
    async def work(body: dict) -> None: ...
    """


@pytest.mark.parametrize(
    ("arguments", "environment", "loop"),
    [
        ((), {}, "uvloop"),
        (("--uvloop",), {"HEADRACE_UVLOOP": "0"}, "uvloop"),
        (("--no-uvloop",), {}, "asyncio"),
        ((), {"HEADRACE_UVLOOP": "0"}, "asyncio"),
    ],
)
def test_it_runs_on_uvloop_unless_it_is_turned_off_and_says_so(
    process: Command, write: Write, arguments: tuple[str, ...], environment: dict[str, str], loop: str
) -> None:
    write("where.py", WHERE)
    result = process("run", "where", "--burst", *arguments, HEADRACE_LOG_FORMAT="json", **environment)
    assert (result.code, result.out) == (0, f"{loop}\n"), result.err
    started = next(line for line in map(json.loads, result.err.splitlines()) if line["message"] == "starting")
    assert started["loop"] == (f"uvloop {version('uvloop')}" if loop == "uvloop" else "asyncio")


def test_it_can_be_turned_off_in_the_file(process: Command, write: Write) -> None:
    write("where.py", WHERE)
    write("headrace.toml", "uvloop = false\n")
    assert process("run", "where", "--burst").out == "asyncio\n"


def test_without_it_asyncio_has_to_do(headrace: Command, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventloop, "find_spec", lambda name: None)
    write("where.py", WHERE)
    assert headrace("run", "where", "--burst").out == "asyncio\n"
    assert "uvloop" not in headrace("version").out


def test_who_asks_for_it_where_it_is_not_is_told_what_to_install(
    headrace: Command, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventloop, "find_spec", lambda name: None)
    write("where.py", WHERE)
    assert_refused(headrace("run", "where", "--uvloop"), 2, "not installed here", "pip install 'headrace[uvloop]'")


def test_on_windows_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert eventloop.options(None) == {}
    with pytest.raises(SettingsError, match="none for Windows"):
        eventloop.options(True)


def test_the_version_command_says_that_it_is_there(headrace: Command) -> None:
    assert f"uvloop {version('uvloop')}" in headrace("version").out
