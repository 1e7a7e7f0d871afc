"""`headrace check`: compile topologies, say what was found, and ask their servers what they really promise."""

import json
import sys
from dataclasses import dataclass, field
from logging import NullHandler, getLogger
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from actors import HeadraceError, TopologyError, redact
from engine.cli.exits import Code, CommandError, code_of, complain
from engine.cli.guarantees import show
from engine.cli.load import load
from engine.cli.notes import notes
from engine.cli.options import AppDir, Json, Targets
from engine.preflight import Preflight, preflight
from topologies import Graph, Outline, outline, summary

Connect = Annotated[
    bool,
    typer.Option(
        "--connect",
        envvar="HEADRACE_CHECK_CONNECT",
        help="Ask the servers for the guarantee that each edge really has.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", envvar="HEADRACE_CHECK_STRICT", help="Exit with 1 where a setting breaks a promise.")
]
Timeout = Annotated[
    float, typer.Option(envvar="HEADRACE_CHECK_TIMEOUT", min=0.1, help="Seconds that each server may take to answer.")
]


@dataclass(slots=True)
class _Found:
    graphs: list[Graph] = field(default_factory=list)
    problems: list[tuple[str, HeadraceError]] = field(default_factory=list)
    flight: Preflight | None = None


def check(
    targets: Targets,
    connect: Connect = False,
    strict: Strict = False,
    timeout: Timeout = 5.0,
    app_dir: AppDir = Path(),
    json_: Json = False,
) -> int:
    """Compile topologies and print what they are made of; with `--connect`, what their servers make of it.

    Nothing is created, changed or consumed on a server. Exits with 78 when a topology cannot work, with 2 when
    there is none where one was named, with 69 when a server is out of reach; with 1 when one refuses to be asked, and,
    with `--strict`, when a setting breaks a promise.
    """
    if strict and not connect:
        raise CommandError("--strict judges what servers say, and none is asked", "write --connect --strict")
    found = _compile(targets, app_dir)
    if connect:
        getLogger("aiokafka").addHandler(NullHandler())  # it says over and over what is told once below
        found.flight = anyio.run(preflight, found.graphs, timeout)
    if json_:
        print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        for at, graph in enumerate(found.graphs):
            _print(graph, found.flight, at)
    errors = [error for _, error in found.problems]
    errors += [error for _, error in found.flight.failures] if found.flight else []
    for error in errors:
        complain(str(error))
    broken = strict and found.flight is not None and not found.flight.kept
    return max((code_of(error) or Code.FAILED for error in errors), default=Code.FAILED if broken else Code.DONE)


def _compile(targets: list[str], folder: Path) -> _Found:
    found = _Found()
    for target in targets:
        try:
            found.graphs.append(load(target, folder).graph())
        except (CommandError, TopologyError) as error:
            found.problems.append((target, error))
    return found


def _as_json(found: _Found) -> dict[str, Any]:
    problems = [
        {
            "target": target,
            "problem": getattr(error, "problem", str(error)),
            "remedy": getattr(error, "remedy", ""),
            "place": getattr(error, "place", ""),
        }
        for target, error in found.problems
    ]
    topologies = [{**outline(graph).as_json(), "notes": notes(graph)} for graph in found.graphs]
    told: dict[str, Any] = {"ok": not problems, "topologies": topologies, "problems": problems}
    if found.flight is not None:
        for topology, verdicts in zip(topologies, found.flight.verdicts, strict=True):
            topology["guarantees"] = [verdict.as_json() for verdict in verdicts]
        failures = [{"server": repr(broker), "problem": redact(str(error))} for broker, error in found.flight.failures]
        told |= {"ok": not problems and not failures, "kept": found.flight.kept, "failures": failures}
    return told


def _print(graph: Graph, flight: Preflight | None, at: int) -> None:
    drawn = outline(graph)
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    stages = f"{len(drawn.stages)} stage{'' if len(drawn.stages) == 1 else 's'}"
    console.print(f"[bold green]✓[/] [bold]{escape(drawn.name)}[/]: {stages}")
    console.print(_table(drawn))
    if flight is not None:
        show(console, flight.verdicts[at])
    for note in notes(graph):
        console.print(f"[yellow]note[/] {escape(note)}")


def _table(drawn: Outline) -> Table:
    names = {each.id: each.name for each in drawn.stages} | {
        each.id: f"{each.system}:{each.name}" for each in drawn.endpoints
    }
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("stage", "", "takes from", "goes to", "runs as"):
        table.add_column(title, overflow="fold")
    for stage in drawn.stages:
        before = [names[edge.start] for edge in drawn.edges if edge.end == stage.id]
        behind = [names[edge.end] for edge in drawn.edges if edge.start == stage.id and edge.kind == "flow"]
        cells = (stage.name, stage.kind, "\n".join(before), "\n".join(behind) or "–", "\n".join(summary(stage)))
        table.add_row(*map(Text, cells))
    return table
