"""Targets: what they name, and what is said when they name nothing that can be run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.exits import CommandError
from engine.cli.load import Target, parse
from tests.engine.cli.conftest import ORDERS, Command, Write, assert_refused, surroundings

EMPTY = """
    from headrace import Memory, Topology
    memory = Memory()
    """
BAD_TOPOLOGIES = {
    "a handler without a body annotation": (
        """
        topology = Topology("orders")
        @topology.subscriber(memory.topic("orders"))
        async def check(order): ...
        """,
        ["bad.py:4", "check"],
    ),
    "a stage that subscribes to what is no stage": (
        """
        topology = Topology("orders")
        def unknown(order: dict) -> dict: ...
        @topology.subscriber(unknown)
        async def check(order: dict) -> None: ...
        """,
        ["bad.py:5", "check", "unknown"],
    ),
    "a router whose target is no stage": (
        """
        topology = Topology("orders")
        def unknown(order: dict) -> None: ...
        @topology.router(memory.topic("orders"), to=[unknown])
        def choose(order: dict): return unknown
        """,
        ["bad.py:5", "choose", "unknown"],
    ),
    "two stages of one name": (
        """
        topology = Topology("orders")
        @topology.subscriber(memory.topic("a"), name="same")
        async def one(order: dict) -> None: ...
        @topology.subscriber(memory.topic("b"), name="same")
        async def two(order: dict) -> None: ...
        """,
        ["bad.py:6", "same", "name="],
    ),
    "a mailbox of nothing": (
        """
        topology = Topology("orders")
        @topology.subscriber(memory.topic("orders"), mailbox=0)
        async def check(order: dict) -> None: ...
        """,
        ["bad.py:4", "check", "mailbox=0"],
    ),
    "no workers": (
        """
        topology = Topology("orders")
        @topology.subscriber(memory.topic("orders"), max_workers=0)
        async def check(order: dict) -> None: ...
        """,
        ["bad.py:4", "check", "max_workers=0"],
    ),
    "a template with a field that the body lacks": (
        """
        from pydantic import BaseModel
        class Order(BaseModel):
            id: int
        topology = Topology("orders")
        @topology.publisher(memory.topic("tenant.{tenant}"))
        @topology.subscriber(memory.topic("orders"))
        async def check(order: Order) -> Order: ...
        """,
        ["bad.py:7", "tenant"],
    ),
    "stages in a circle": (
        """
        topology = Topology("orders")
        def one(order: dict) -> dict: ...
        def two(order: dict) -> dict: ...
        topology.subscriber(memory.topic("orders"), two)(one)
        topology.subscriber(one)(two)
        """,
        ["bad.py:", "one", "two"],
    ),
    "no stage at all": ("topology = Topology('orders')\n", ["bad.py:3", "orders"]),
}


@pytest.mark.parametrize("case", BAD_TOPOLOGIES)
def test_a_topology_that_cannot_work_is_told_by_file_stage_and_remedy(
    case: str, process: Command, write: Write
) -> None:
    declared, words = BAD_TOPOLOGIES[case]
    path = write("bad.py", EMPTY)
    write("more.txt", declared)
    path.write_text(path.read_text() + (path.parent / "more.txt").read_text())
    assert_refused(process("check", "bad"), 78, *words)


BAD_MODULES = {
    "a syntax error": ("x = 1\ndef f(:\n", ["mine.py:2", "SyntaxError"]),
    "an exception": ("\n\n1 / 0\n", ["mine.py:1", "ZeroDivisionError", "division by zero"]),
    "an import of what is not there": ("import no_such_module\n", ["mine.py:1", "no_such_module"]),
    "an exit": ("import sys\nsys.exit(3)\n", ["mine.py:2", "SystemExit"]),
    "a wrong value of theirs": ("import json\njson.loads('{')\n", ["mine.py:2", "JSONDecodeError"]),
    "an option that there is not": ("import headrace\nheadrace.Retry(tries=0)\n", ["mine.py:2", "tries"]),
}
WRONG_OPTIONS = {
    "Retry(attempts=0)": "Retry(attempts=0): expected a whole number, at least 1",
    "Retry(attempts=1.5)": "Retry(attempts=1.5): expected a whole number",
    'Batch("3")': "Batch(size='3'): expected a whole number, at least 1",
    'Batch(3, "1s")': "Batch(wait='1s'): expected seconds, zero or more",
    'Supervision(intensity="x")': "Supervision(intensity='x'): expected a number, at least 0",
    "Supervision(period=0)": "Supervision(period=0): expected seconds, more than 0",
    'Memory().topic("")': "topic(''): expected a name",
    'Memory(capacity="x")': "Memory(capacity='x'): expected a whole number, at least 1",
    "Deduplicate(window=0)": "Deduplicate(window=0): expected seconds",
    'RabbitMQ().queue("a", bind="x")': "queue('a', bind='x'): expected exchanges",
    "broker(os.environ.get('NO_SUCH_VARIABLE'))": "broker(url): expected the URL of a broker as text, and not NoneType",
    'broker("redis://localhost:abc")': "",
    'Kafka().topic("a", pattern="b")': "topic(...) takes a name or a pattern=",
}


@pytest.mark.parametrize("wrong", WRONG_OPTIONS)
def test_an_option_that_cannot_be_is_told_by_its_line_and_ends_with_78(
    wrong: str, headrace: Command, write: Write
) -> None:
    write(
        "mine.py",
        f"import os\nfrom headrace import *\nfrom headrace import Kafka, Memory, RabbitMQ\n\nmade = {wrong}\n",
    )
    result = headrace("check", "mine.py")
    assert_refused(result, 78, f"mine.py:5: {WRONG_OPTIONS[wrong]}")
    assert "Error" not in result.err
    (problem,) = json.loads(headrace("check", "mine.py", "--json").out)["problems"]
    assert problem["place"] == "mine.py:5"
    assert problem["problem"].startswith(WRONG_OPTIONS[wrong])


@pytest.mark.parametrize("case", BAD_MODULES)
def test_a_module_that_does_not_import_is_told_by_its_line(case: str, process: Command, write: Write) -> None:
    text, words = BAD_MODULES[case]
    write("mine.py", text)
    assert_refused(process("run", "mine:topology", "--burst"), 2, *words)


SEVERAL = """
    from headrace import Topology
    first = Topology("first")
    second = Topology("second")
    number = 3
    def make(): return first
    """
BAD_TARGETS = {
    "several:nothing": ["several has no nothing", "several:first, several:second"],
    "several:number": ["is no Topology", "int", "several:first"],
    "several:make": ["is no Topology", "function", "topology = make()"],
    "several": ["several topologies", "several:first, several:second"],
    "several.py": ["several topologies", "several.py:first"],
    "plain": ["has no topology", 'Topology("orders")'],
    "nowhere": ["no such module", "--app-dir"],
    "nowhere.py": ["no such file"],
    "folder/": ["not a Python file"],
    "actors:topology": ["a package of Headrace"],
    "several:": ["not a target"],
    "several:a-b": ["not a target"],
    "": ["not a target"],
    ".": ["not a target"],
}


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_a_target_that_is_no_topology_is_a_usage_error(target: str, headrace: Command, write: Write) -> None:
    write("several.py", SEVERAL)
    write("plain.py", "x = 1\n")
    write("folder/file.txt", "")
    assert_refused(headrace("check", target), 2, *BAD_TARGETS[target])


def test_an_attribute_that_is_no_topology_is_a_usage_error_of_the_process_too(process: Command, write: Write) -> None:
    write("several.py", SEVERAL)
    assert_refused(process("run", "several:number"), 2, "is no Topology", "several:first")


@pytest.mark.parametrize("line", ["from actors.order import Order", "from actors import Order", "import actors.order"])
def test_a_folder_of_the_users_called_actors_is_named_as_in_the_way(line: str, process: Command, write: Write) -> None:
    write("actors/__init__.py", "")
    write("actors/order.py", "Order = dict\n")
    write("uses.py", f"{line}\nfrom headrace import Topology\ntopology = Topology('a')\n")
    assert_refused(process("run", "uses:topology"), 2, "actors/ is in the way", "rename yours")


@pytest.mark.parametrize("target", ["engine.pipeline:topology", "engine/pipeline.py"])
def test_a_target_in_a_folder_called_like_ours_is_in_the_way(target: str, headrace: Command, write: Write) -> None:
    write("engine/__init__.py", "")
    write("engine/pipeline.py", ORDERS)
    assert_refused(headrace("check", target), 2, "engine/ is in the way", "rename yours")


@pytest.mark.parametrize("by", ["module", "path"])
def test_a_folder_that_comes_before_ours_on_the_path_is_named(by: str, tmp_path: Path, write: Write) -> None:
    write("actors/__init__.py", "")
    flags = ["-m", "headrace"] if by == "module" else ["-P", "-m", "headrace"]
    done = subprocess.run(
        [sys.executable, *flags, "version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=surroundings(PYTHONPATH=str(tmp_path) if by == "path" else ""),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{tmp_path / 'actors'} is in the way" in done.stderr


def test_a_script_beside_a_folder_called_actors_is_told_so(tmp_path: Path, write: Write) -> None:
    write("actors/__init__.py", "")
    script = write("script.py", "from headrace import Topology\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=surroundings())
    assert f"ImportError: {tmp_path / 'actors'} is in the way" in done.stderr


def test_a_module_hidden_by_an_installed_one_is_named_and_runs_by_its_path(headrace: Command, write: Write) -> None:
    write("queue.py", ORDERS)
    assert_refused(headrace("check", "queue:topology"), 2, "queue.py is hidden by another module", "path: queue.py")
    assert headrace("check", "queue.py:topology").code == 0


def test_the_users_folder_comes_last_on_the_path(headrace: Command, write: Write, tmp_path: Path) -> None:
    write("orders.py", ORDERS)
    assert headrace("check", "orders").code == 0
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    "target",
    ["orders", "orders:topology", "orders.py", "orders.py:topology", "./orders.py", "inner/deep.py", "inner.deep"],
)
def test_a_topology_is_found_by_module_and_by_path(target: str, headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    write("inner/__init__.py", "")
    write("inner/part.py", ORDERS)
    write("inner/deep.py", "from .part import topology\n")
    result = headrace("check", target)
    assert (result.code, result.err) == (0, "")
    assert "orders: 4 stages" in result.out


def test_a_file_finds_the_modules_beside_it(headrace: Command, write: Write) -> None:
    write("elsewhere/orders_of_mine.py", ORDERS)
    write("elsewhere/main_of_mine.py", "from orders_of_mine import topology\n")
    assert headrace("check", "elsewhere/main_of_mine.py").code == 0
    assert headrace("check", "main_of_mine.py", "--app-dir", "elsewhere").code == 0


def test_a_topology_called_topology_goes_before_others(headrace: Command, write: Write) -> None:
    write("both.py", ORDERS + "\n    other = Topology('other')\n")
    assert "orders: 4 stages" in headrace("check", "both").out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b:c", Target("a.b:c", "a.b", "c")),
        ("a.b", Target("a.b", "a.b", "")),
        ("a.b:c.d", Target("a.b:c.d", "a.b", "c.d")),
        ("x/y.py:t", Target("x/y.py:t", "x/y.py", "t")),
        ("C:/x/y.py", Target("C:/x/y.py", "C:/x/y.py", "")),
        ("C:\\x\\y.py:t", Target("C:\\x\\y.py:t", "C:\\x\\y.py", "t")),
    ],
)
def test_a_target_is_a_place_and_a_name(text: str, expected: Target) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", ":", ":a", "a:", "a:1", "a b", "a..b", "a:b:c"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="not a target"):
        parse(text)
