"""What the documents show is run: every block of Python, every `headrace` command, every link.

The blocks of one page run from top to bottom in one module. One that begins with a comment of a file's name
is written to that file too, so that the commands of the page find it. Each topology is fed what stands for it in
`FED`, and has to publish what stands there. Of a command the lines shown below it must be among what it prints, in
their order; its exit code is 0 unless a comment says `# exits with 1`.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from inspect import iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from actors import Clock, Supervisor
from engine.assembly.assembly import Assembly
from engine.assembly.connect import ByBroker
from engine.settings import read
from headrace import Harness, Topology

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "make demo": "tests/test_examples.py runs what it runs",
    "make test": "these very tests",
    ".venv/bin/python -m benchmarks.engine --rounds 5": "takes minutes; it measures, and nothing of it can fail",
    ".venv/bin/python -m benchmarks.engine --rounds 1 --flat 10000000": "the same",
    "make bench": "takes an hour; tests/benchmarks/ runs the same with a few hundred messages",
    "make bench-quick": "the same, in minutes",
    ".venv/bin/python -m benchmarks --broker kafka --work bridge,io --contender naive,headrace": "the same",
    ".venv/bin/python -m benchmarks --broker redis --save": "the same, and writes",
    "pip install .": "the tests run where that has been done",
    "pip install 'headrace[otlp]'": "the same",
}
"""Commands that are shown and not run, each with the reason."""
LANGUAGES = {"python", "console", "toml", "text"}


@dataclass(frozen=True)
class Block:
    """A block of a page; `line` is that of its first line, from 1."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is the whole of."""
        found = re.match(r"# ([\w/]+\.(py|toml))\n", self.text)
        return found.group(1) if found else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it, and the lines below it."""

    block: Block
    command: str
    lines: tuple[str, ...]

    @property
    def code(self) -> int:
        """The exit code that it is to have."""
        found = re.search(r"# exits with (\d+)", self.command)
        return int(found.group(1)) if found else 0

    @property
    def bare(self) -> str:
        """Without its comment."""
        return self.command.partition("  #")[0].strip()

    def __str__(self) -> str:
        return f"{self.block.page.name}: {self.bare}"


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        opened = re.fullmatch(r"```(\w*)", lines[at])
        if opened:
            end = lines.index("```", at + 1)
            yield Block(page, at + 2, opened.group(1), "\n".join(lines[at + 1 : end]) + "\n")
            at = end
        at += 1


BLOCKS = [block for page in PAGES for block in blocks(page)]


def commands() -> Iterator[Shown]:
    for block in BLOCKS:
        if block.language == "console":
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, *lines = part.rstrip().splitlines()
                yield Shown(block, command, tuple(line for line in lines if line))


def write_files(page: Path, folder: Path) -> None:
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")


# -- what each topology is fed, and what comes out ---------------------------------------------------------------


def order(number: int = 1, customer: str = "ann", priority: str = "low", total: float = 5) -> dict[str, Any]:
    return {"id": number, "customer": customer, "priority": priority, "total": total}


Fed = tuple[list[tuple[str, Any]], dict[str, list[Any]]]
SMALL, LARGE, WRONG = (
    {"id": number, "customer": "ann", "total": total} for number, total in ((1, 99), (2, 100), (0, 1))
)
METRICS = [{"name": f"m{number}", "value": number - 1} for number in range(4)]
PERSON = {"email": "ann@example.com", "country": "de"}
FED: dict[str, Fed] = {
    "taxes": ([("orders", {"total": 10.0})], {"billed": [{"total": 10.0, "taxed": 12.0}]}),
    "orders": (
        [("orders", SMALL), ("orders", LARGE), ("orders", WRONG)],
        {"orders.small": [SMALL], "orders.large": [LARGE], "orders.dead": [WRONG]},
    ),
    "stages": (
        [("orders", order(1)), ("orders.late", order(2, total=3))],
        {"orders.priced": [order(1, total=10), order(2, total=6)]},
    ),
    "bodies": (
        [("readings", {"sensor": "s", "celsius": 20.5}), ("readings", [{"sensor": "s", "celsius": 1}] * 2)],
        {"celsius": ["20.5 °C", "1 °C, 1 °C"]},
    ),
    "results": (
        [("baskets", [{"sku": "a", "amount": 2}, {"sku": "b", "amount": 0}]), ("users", "ann"), ("users", "")],
        {"lines": [{"sku": "a", "amount": 2}], "welcomes": ["hello ann"]},
    ),
    "routers": (
        [("orders", order(1)), ("orders", order(2, priority="high")), ("orders", order(3, priority="spam"))],
        {"normal": [order(1)], "urgent": [order(2, priority="high")], "mails": ["ann is in a hurry"]},
    ),
    "templates": (
        [("orders", order(1)), ("orders", order(2, customer="*"))],
        {"orders.ann.low": [order(1)], "orders.dead": [order(2, customer="*")]},
    ),
    "failures": (
        [
            ("payments", order(number, priority=what))
            for number, what in enumerate(["stolen", "twice", "busy", "broken"], 1)
        ],
        {"payments.graveyard": [order(1, priority="stolen"), order(4, priority="broken")]},
    ),
    "duplicates": (
        [("payments", order(1)), ("payments", order(2)), ("payments", order(1, total=3))],
        {"receipts": ["ann has paid 5"] * 2},
    ),
    "ordered": (
        [("orders", order(number)) for number in range(1, 9)],
        {"accounts": [order(number) for number in range(1, 9)]},
    ),
    "batches": ([("metrics", each) for each in METRICS], {"sums": [3, 0], "metrics.dead": METRICS[:1]}),
    "actors": (
        [("orders", order(1)), ("orders", order(2)), ("orders", order(3, "bob"))],
        {"totals": [{"ann": 5}, {"ann": 10}, {"bob": 5}]},
    ),
    "pools": ([("questions", "why"), ("files", "a.txt")], {"answers": ["yhw"], "sizes": [5]}),
    "injection": ([("names", "ann")], {"greetings": ["ann en 0 session of None"]}),
    "middleware": ([("words", "hello"), ("words", "rude")], {"echoes": ["HELLO"], "words.dead": ["rude"]}),
    "lifespan": ([("fruit", "apple")], {"prices": [3.0]}),
    "pricing": ([("orders", order(1))], {"totals": [5]}),
    "everything": ([("orders", order(1))], {"totals": [5]}),
    "prices": ([("price", order(1))], {"price.dead": []}),
    "supervised": ([("words", "one"), ("words", "poison"), ("words", "two")], {"counts": [1, 1, 2]}),
    "tested": ([("orders", order(1))], {"orders.paid": [order(1)]}),
    "invoicing": ([("invoices", {"total": 5})], {"paid": [{"total": 5}]}),
    "shop": ([("names", "ann")], {"greetings": ["hello ann"]}),
    "signup": ([("rabbit:signups", PERSON)], {"kafka:people.de": [PERSON]}),
}


def place(name: str, brokers: dict[str, Any]) -> Any:
    """The endpoint of that name: of `memory`, unless another broker stands before it."""
    broker, _, name = name.rpartition(":")
    return brokers[broker].queue(name) if broker == "rabbit" else brokers[broker or "memory"].topic(name)


async def feed(topology: Topology, brokers: dict[str, Any]) -> None:
    given, expected = FED[topology.name]
    async with Harness(topology) as harness:
        for topic, body in given:
            await harness.publish(place(topic, brokers), body)
        await harness.settle()
        for topic, bodies in expected.items():
            published = harness.published(place(topic, brokers))
            found = [getattr(body, "model_dump", lambda body=body: body)() for body in published]
            assert sorted(found, key=str) == sorted(bodies, key=str), (
                f"{topology.name} publishes something else to {topic}"
            )


# -- running it all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_every_block_of_python_runs_and_does_what_it_says(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"page_{page.stem.lower()}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = vars(module)
    fed: list[Topology] = []
    for block in blocks(page):
        if block.language != "python":
            continue
        tests = {name for name in names if name.startswith("test_")}
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
        for topology in [each for each in names.values() if isinstance(each, Topology)]:
            if not any(topology is known for known in fed):
                fed.append(topology)
                await feed(topology, names)
        for name in [name for name in names if name.startswith("test_") and name not in tests]:
            assert iscoroutinefunction(names[name]), f"{block}: {name} would not be run"
            await names[name]()


def test_every_topology_that_is_fed_is_shown() -> None:
    shown = {name for block in BLOCKS for name in re.findall(r'Topology\("(\w+)"', block.text)}
    assert shown == set(FED)


@pytest.mark.parametrize("shown", list(commands()), ids=str)
def test_every_command_runs_and_prints_what_is_shown(shown: Shown, tmp_path: Path) -> None:
    if shown.bare in NOT_RUN or shown.bare.startswith("curl "):  # tests/engine/http/test_documented.py runs those
        return
    assert re.match(r"(\w+=\S+ )*headrace ", shown.bare), f"{shown.block}: neither run nor in NOT_RUN"
    write_files(shown.block.page, tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        shown.command,
        shell=True,
        cwd=tmp_path,
        env=surroundings | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == shown.code, f"{shown.block}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    printed = iter([line.rstrip() for line in done.stdout.splitlines()])
    missing = [line for line in shown.lines if line.rstrip() not in printed]
    assert not missing, f"{shown.block}: not printed, or not in this order: {missing}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=str)
def test_every_settings_file_is_valid(block: Block, tmp_path: Path) -> None:
    assert block.file == "headrace.toml"
    write_files(block.page, tmp_path)
    read(tmp_path)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_of_a_kind_that_is_checked_or_drawn(block: Block) -> None:
    assert block.language in LANGUAGES


# -- what the words refer to -------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_every_test_that_is_named_exists() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
            assert f"def {name}(" in written, f"{page.name} names {name}"


def test_the_supervision_tree_is_drawn_as_it_is() -> None:
    readme = ROOT / "README.md"
    names: dict[str, Any] = {"__name__": "orders"}
    (block,) = [block for block in blocks(readme) if block.text.startswith("engine\n")]
    drawn = re.findall(r"── (.+?)(?:  |$)", block.text, re.MULTILINE)
    exec(next(block.text for block in blocks(readme) if block.file == "orders.py"), names)
    graph = names["topology"].graph()
    assembly = Assembly(graph, ByBroker(), Clock(), {})
    assert drawn == [graph.name, *children(assembly.supervisor)]


def children(supervisor: Supervisor) -> Iterator[str]:
    for child in supervisor.children:
        yield child.name
        below = getattr(child.run, "__self__", None)
        if isinstance(below, Supervisor):
            yield from children(below)


def test_the_architecture_has_a_line_for_every_file_and_for_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package in ("actors", "topologies", "engine", "headrace"):
        section = text.partition(f"### {package}/\n")[2].partition("\n#")[0]
        named = re.findall(r"^\| `([\w/*]+\.py)` \| \S", section, re.MULTILINE)
        there = {path.relative_to(ROOT / package).as_posix() for path in (ROOT / package).rglob("*.py")}
        there = {name for name in there if not name.endswith("__init__.py")}
        gone = [name for name in named if "*" not in name and name not in there]
        missing = sorted(name for name in there if not any(fnmatch(name, pattern) for pattern in named))
        assert not gone, f"docs/architecture.md names {gone} in {package}/"
        assert not missing, f"{package}/ has {missing}: give each its line in docs/architecture.md"
