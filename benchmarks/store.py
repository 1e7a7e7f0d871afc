"""Where figures are kept: `benchmarks/figures.json`, and tables between two marks of a page. Written whole or not."""

import os
import platform
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from benchmarks.figures import Figure
from benchmarks.launch import ROOT

FIGURES = ROOT / "benchmarks" / "figures.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- benchmarks: begin, written by python -m benchmarks --save -->"
END = "<!-- benchmarks: end -->"


class Unreadable(Exception):
    """A file is not what it should be. Says which, what is wrong, and what to do."""


class Conditions(BaseModel):
    """Under which figures were taken."""

    date: str
    command: str
    machine: str
    versions: dict[str, str]


class Table(BaseModel):
    """The figures of one work on one broker, taken in one run."""

    broker: str
    work: str
    conditions: Conditions
    figures: list[Figure]
    left_out: dict[str, str] = {}
    """Contenders that did not take part, and why."""


class Stored(BaseModel):
    """All that is kept."""

    tables: list[Table] = []

    @property
    def figures(self) -> list[Figure]:
        """The figures of all tables."""
        return [figure for table in self.tables for figure in table.figures]

    def merged(self, tables: Iterable[Table]) -> "Stored":
        """With these tables in place of those of the same work on the same broker."""
        kept = {(table.broker, table.work): table for table in self.tables}
        kept.update({(table.broker, table.work): table for table in tables})
        return Stored(tables=list(kept.values()))


def conditions(command: str, versions: dict[str, str]) -> Conditions:
    """Those of this moment on this machine."""
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{psutil.cpu_count()} × {_processor()}, {memory:.0f} GB, {platform.system()} {platform.machine()}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Conditions(date=date, command=command, machine=machine, versions=versions)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def load(path: Path = FIGURES) -> Stored:
    """What is kept; nothing where there is no file. Raises `Unreadable`."""
    try:
        return Stored.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Stored()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "its JSON"
        raise Unreadable(
            f"{path} holds no figures: {where}: {first['msg']}. Remove it, or write it anew with --save."
        ) from None


def with_tables(page: str, tables: str, path: Path = PAGE) -> str:
    """The text of a page with these tables between its marks. Raises `Unreadable` where they are not there once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise Unreadable(f"{path}: expected one line {BEGIN!r} and, below it, one line {END!r}. Put them back.")
    head, _, rest = page.partition(BEGIN)
    _, _, foot = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables.strip()}\n\n{END}{foot}"


def write(path: Path, text: str) -> None:
    """Put a whole file in place of the old one: whoever reads it, or interrupts this, finds one or the other."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as part:
        try:
            part.write(text)
            part.flush()
            os.fchmod(part.fileno(), 0o644)
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise
