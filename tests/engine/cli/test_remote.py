"""`headrace top`, `tap`, `pause`, `resume` and `scale`: a running engine steered from another process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import anyio
import httpcore  # noqa: F401 - httpx imports it late, and what is imported late `headrace` forgets
import pytest
from textual.widgets import DataTable, Static

from engine.cli.exits import Code, CommandError
from engine.cli.remote import Remote
from engine.cli.screen import Top
from tests.engine.cli.conftest import Command, assert_refused, surroundings

TOKEN = "a-token-of-the-tests"
SHOP = """
import anyio
from headrace import Memory, Topology

memory, topology = Memory(capacity=100_000), Topology("shop")


@topology.publisher(memory.topic("done"))
@topology.subscriber(memory.topic("orders"), max_workers=2)
async def check(order: dict) -> dict:
    await anyio.sleep(0.01)
    if order["number"] in (1, 2):
        raise ValueError("no such order: \x1b[31m")
    return order


@topology.lifespan
async def feed(context):
    async def publish():
        number = 0
        async with memory:
            while True:
                number += 1
                order = {"number": number, "text": "\\x1b[31mred\\u2028two\\u2029three\\x85four"}
                await memory.topic("orders").publish(order, key="a")
                await anyio.sleep(0.001)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publish)
        yield
        tasks.cancel_scope.cancel()
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an engine in a process of its own."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    command = [sys.executable, "-P", "-m", "headrace", "run", "shop:topology", "--http", "127.0.0.1:0", "--drain", "0"]
    environment = surroundings(HEADRACE_TOKEN=TOKEN, HEADRACE_LOG_FORMAT="json", PYTHONPATH=os.pathsep.join(sys.path))
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        patience = Timer(30, process.kill)
        patience.start()
        assert process.stderr is not None
        serving = next(line for line in process.stderr if "serving at" in line)
        patience.cancel()
        yield json.loads(serving)["message"].removeprefix("serving at ")
        process.kill()


@pytest.fixture
def steered(headrace: Command, engine: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, told by its environment where the engine is."""
    monkeypatch.setenv("HEADRACE_URL", engine)
    monkeypatch.setenv("HEADRACE_TOKEN", TOKEN)
    return headrace


def stage(steered: Command, name: str) -> dict[str, Any]:
    """How a stage is, as the command prints it."""
    status = json.loads(steered("top", "--json").out)
    return next(each for each in status["stages"] if each["stage"] == name)


def test_top_as_json_is_the_status(steered: Command) -> None:
    status = json.loads(steered("top", "--json").out)
    assert status["topologies"] == ["shop"]
    assert [each["stage"] for each in status["stages"]] == ["check", "to:done"]


def test_top_without_a_terminal_prints_the_stages_once_as_text(steered: Command) -> None:
    result = steered("top")
    assert (result.code, result.err) == (Code.DONE, "")
    assert "\x1b" not in result.out
    title, *stages, engine = result.out.splitlines()
    assert title.split()[:5] == ["stage", "state", "workers", "mailbox", "handled"]
    assert [line.split()[0] for line in stages] == ["check", "to:done"]
    assert engine == "ready"


def test_a_stage_is_paused_and_resumed_by_its_name_or_by_a_glob(steered: Command) -> None:
    assert steered("pause", "check").out == "shop.check: paused, 2 workers\n"
    assert stage(steered, "check")["paused"] is True
    assert json.loads(steered("resume", "shop.*", "--json").out) == [
        {"topology": "shop", "stage": "check", "workers": 2, "paused": False}
    ]
    assert stage(steered, "check")["paused"] is False


def test_a_pool_is_scaled(steered: Command) -> None:
    assert steered("scale", "shop.check", "7").out == "shop.check: running, 7 workers\n"
    assert stage(steered, "check")["workers"] == 7
    assert steered("scale", "shop.check", "1").out == "shop.check: running, 1 worker\n"
    assert steered("scale", "shop.check", "2").code == Code.DONE


def test_a_tap_shows_messages_and_lets_none_of_them_steer_the_terminal(steered: Command) -> None:
    shown = steered("tap", "check", "--count", "4")
    assert shown.code == Code.DONE
    lines = shown.out.splitlines()
    assert len(lines) == 4
    assert "shop.check ← a {" in lines[0]
    assert "shop.check → a {" in lines[1]
    assert "\x1b" not in shown.out
    samples = [json.loads(line) for line in steered("tap", "check", "--count", "2", "--json").out.split("\n") if line]
    assert [sample["way"] for sample in samples] == ["in", "out"]
    assert "red" in json.loads(samples[0]["body"])["text"]


def test_a_tap_takes_what_ends_a_line_in_unicode_for_text(steered: Command) -> None:
    shown = steered("tap", "check", "--count", "2", "--json")
    assert (shown.code, shown.err) == (Code.DONE, "")
    bodies = [json.loads(line)["body"] for line in shown.out.removesuffix("\n").split("\n")]
    assert [json.loads(body)["text"] for body in bodies] == ["\x1b[31mred\u2028two\u2029three\x85four"] * 2


def test_dead_letters_of_an_engine_are_listed_shown_and_put_back(steered: Command, engine: str) -> None:
    listed = steered("dead", "list", engine)
    assert "\\x1b[31m" in listed.out
    assert "\x1b" not in listed.out
    letters = json.loads(steered("dead", "list", engine, "orders", "--json").out)
    assert {letter["error_type"] for letter in letters} == {"ValueError"}
    shown = steered("dead", "show", engine, letters[0]["position"])
    assert "Traceback" in shown.out
    assert_refused(steered("dead", "show", engine, "nowhere"), 1, "no dead letter there")
    assert steered("dead", "redrive", engine).out == "shop: 2 put back, 0 refused, 0 left\n"
    assert_refused(steered("dead", "list", engine, "--token", "wrong-token"), 1, "not the engine's")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pause", "chek"], 2, ["chek", "shop.check"]),
        (["pause", "to:done"], 1, ["to:done takes from no broker"]),
        (["scale", "check", "0"], 1, ["1 to", "pause it"]),
        (["scale", "check", "10000"], 1, ["1 to"]),
        (["scale", "check", "many"], 2, ["'many' is no number of workers"]),
        (["tap", "saw.*"], 1, ["no stage matches 'saw.*'"]),
        (["pause", "check", "--token", "wrong-token"], 1, ["this token is not the engine's", "HEADRACE_TOKEN"]),
        (["top", "--url", "http://127.0.0.1:1"], 69, ["no engine answers at http://127.0.0.1:1", "--http"]),
        (["top", "--url", "ftp://x"], 2, ["no URL of an engine"]),
        (["dead", "redrive", "URL", "nosuch"], 2, ["nosuch: no source of that name", "it takes from orders"]),
        (["top", "--sort", "size"], 2, ["size", "flow, rate, fill, p99"]),
    ],
)
def test_what_cannot_be_done_is_told(
    steered: Command, engine: str, arguments: list[str], code: int, words: list[str]
) -> None:
    assert_refused(steered(*(engine if each == "URL" else each for each in arguments)), code, *words)


@pytest.mark.parametrize("content", [None, "<html>hello</html>", "[]", "{}"])
def test_what_is_no_engine_is_told(headrace: Command, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "api/v1").mkdir(parents=True)
        for name in ("status", "tap", "dead"):
            (tmp_path / "api/v1" / name).write_text(content)
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with server:
        assert server.stdout is not None
        url = server.stdout.readline().partition("(")[2].partition(")")[0].rstrip("/")
        for asked in (["top", "--json"], ["top"], ["pause", "check"], ["tap", "check"]):
            assert_refused(headrace(*asked, "--url", url), 1, "not as an engine would")
        assert_refused(headrace("dead", "redrive", url), 1, "not as an engine would")
        assert_refused(headrace("dead", "list", url), 1, "not as an engine would")
        server.kill()


@pytest.mark.parametrize("token", ["größe-und-mehr", "s3cret-token\n", "s3cret-token\r"])
def test_a_token_that_no_header_could_carry_is_told_and_not_repeated(headrace: Command, token: str) -> None:
    refused = headrace("pause", "check", "--url", "http://127.0.0.1:1", "--token", token)
    assert_refused(refused, 2, "the token has a character that no header can hold", "HEADRACE_TOKEN")
    assert token.strip() not in refused.err


class TestTop:
    """The screen, by keys."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"  # textual's

    @pytest.fixture
    def screen(self, engine: str) -> Iterator[Top]:
        with Remote(engine, TOKEN) as remote:
            yield Top(remote, remote.get("/status"), "flow")

    async def test_it_shows_every_stage_and_what_the_engine_is(self, screen: Top) -> None:
        async with screen.run_test(size=(140, 20)) as pilot:
            await until(lambda: "msg/s in" in text_of(screen, "#engine"), pilot)
            table = screen.query_one(DataTable)
            assert [str(table.get_row_at(row)[0]) for row in range(table.row_count)] == ["check", "to:done"]
            assert text_of(screen, "#engine").startswith("ready")
            await until(lambda: float(str(table.get_row_at(0)[5])) > 10, pilot)

    async def test_p_pauses_what_is_selected_and_resumes_it(self, screen: Top) -> None:
        async with screen.run_test(size=(140, 20)) as pilot:
            await pilot.press("p")
            await until(lambda: word(screen, 0) == "paused", pilot)
            await pilot.press("p")
            await until(lambda: word(screen, 0) != "paused", pilot)

    async def test_plus_and_minus_scale_what_is_selected(self, screen: Top) -> None:
        async with screen.run_test(size=(140, 20)) as pilot:
            await pilot.press("plus", "plus", "plus")
            await until(lambda: screen.remote.get("/status")["stages"][0]["workers"] == 5, pilot)
            await pilot.press("minus", "minus", "minus")
            await until(lambda: screen.remote.get("/status")["stages"][0]["workers"] == 2, pilot)

    async def test_what_an_engine_does_not_do_is_said(self, screen: Top) -> None:
        async with screen.run_test(size=(140, 20)) as pilot:
            await pilot.press("down", "p")
            await until(lambda: "takes from no broker" in text_of(screen, "#told"), pilot)

    async def test_an_engine_that_is_away_is_said_to_be_and_its_last_state_stays(self, screen: Top) -> None:
        async with screen.run_test(size=(140, 20)) as pilot:
            screen.remote.client.base_url = "http://127.0.0.1:1"
            await until(lambda: text_of(screen, "#engine").startswith("away"), pilot)
            assert screen.query_one(DataTable).row_count == 2

    async def test_s_sorts_by_the_next_thing_and_keeps_what_is_selected(self, screen: Top) -> None:
        async with screen.run_test(size=(140, 20)) as pilot:
            await pilot.press("down", "s")
            assert screen.order == "rate"
            selected = screen.selected()
            assert selected is not None
            assert selected["stage"] == "to:done"


def text_of(screen: Top, name: str) -> str:
    return str(screen.query_one(name, Static).render())


def word(screen: Top, row: int) -> str:
    return str(screen.query_one(DataTable).get_row_at(row)[1])


async def until(true: Any, pilot: Any) -> None:
    """Wait until that holds on the screen."""
    with anyio.fail_after(15):
        while not true():
            await pilot.pause(0.05)


def test_an_engine_that_goes_away_in_the_middle_of_a_tap_is_told(headrace: Command, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    command = [sys.executable, "-P", "-m", "headrace", "run", "shop:topology", "--http", "127.0.0.1:0"]
    environment = surroundings(HEADRACE_TOKEN=TOKEN, HEADRACE_LOG_FORMAT="json", PYTHONPATH=os.pathsep.join(sys.path))
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = json.loads(next(line for line in process.stderr if "serving at" in line))["message"].split()[-1]
        with pytest.raises(CommandError) as told, Remote(url, TOKEN) as remote, remote.events("/tap") as samples:  # noqa: PT012
            next(samples)
            process.kill()
            list(samples)
        assert told.value.code == Code.UNAVAILABLE
        assert "went away" in str(told.value)
