"""`headrace check`: compile topologies, and say what was found."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from actors import HeadraceError, TopologyError
from engine.cli.exits import Code, CommandError, code_of, complain
from engine.cli.load import load
from engine.cli.options import AppDir, Json, Targets
from topologies import Graph, Outline, outline, summary


@dataclass(slots=True)
class _Found:
    graphs: list[Graph] = field(default_factory=list)
    problems: list[tuple[str, HeadraceError]] = field(default_factory=list)


def check(targets: Targets, app_dir: AppDir = Path(), json_: Json = False) -> int:
    """Compile topologies and print what they are made of.

    Exits with 78 when one of them cannot work, with 2 when there is none where one was named.
    """
    found = _compile(targets, app_dir)
    if json_:
        print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        for graph in found.graphs:
            _print(graph)
    for _, error in found.problems:
        complain(str(error))
    return max((code_of(error) or Code.FAILED for _, error in found.problems), default=Code.DONE)


def notes(graph: Graph) -> list[str]:
    """What its brokers do not promise."""
    said = []
    for stage in graph.stages:
        for source in stage.sources:
            can = source.capabilities
            if not can.redelivery:
                said.append(f"{stage.name}: {source.name} delivers at most once: what a crash interrupts is lost")
            if stage.lane is not None and not (can.partitioned or can.embedded):
                said.append(
                    f"{stage.name}: order by key holds within one engine; "
                    f"with several, {source.name} would have to be partitioned by it"
                )
    return said


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
    return {"ok": not problems, "topologies": topologies, "problems": problems}


def _print(graph: Graph) -> None:
    drawn = outline(graph)
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    stages = f"{len(drawn.stages)} stage{'' if len(drawn.stages) == 1 else 's'}"
    console.print(f"[bold green]✓[/] [bold]{escape(drawn.name)}[/]: {stages}")
    console.print(_table(drawn))
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
