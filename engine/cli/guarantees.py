"""How the guarantees of edges are shown: a table where there is room for one, else one edge below the other."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engine.brokers.findings import Finding, Level, Verdict

WIDE = 100
"""Columns from which there is room for a table."""
_MARKS: dict[Level, tuple[str, str]] = {
    "refused": ("✗", "bold red"),
    "warning": ("!", "bold red"),
    "limit": ("·", "yellow"),
    "note": ("·", "dim"),
    "unread": ("?", "dim"),
}


def show(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print what each edge has, what takes from it, and what would strengthen it."""
    if not verdicts:
        return
    if console.width >= WIDE:
        console.print(_table(verdicts))
    else:
        _list(console, verdicts)
    broken = sum(not verdict.kept for verdict in verdicts)
    if broken:
        told = f"{broken} of {len(verdicts)} edges {'does' if broken == 1 else 'do'} not keep what is promised"
        console.print(Text.assemble(("✗ ", "bold red"), told))


def _list(console: Console, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        console.print(_edge(verdict))
        console.print(Padding(_promise(verdict), (0, 0, 0, 2)))
        for finding in verdict.findings:
            console.print(Padding(_finding(finding), (0, 0, 0, 2)))
            if finding.advice:
                console.print(Padding(Text(f"→ {finding.advice}", "green"), (0, 0, 0, 4)))
    console.print()


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, share in (("edge", 3), ("what it has", 6), ("what would strengthen it", 4)):
        table.add_column(title, overflow="fold", ratio=share)
    for verdict in verdicts:
        table.add_row(_edge(verdict), _promise(verdict), "")
        for finding in verdict.findings:
            table.add_row("", _finding(finding), Text(finding.advice))
    return table


def _edge(verdict: Verdict) -> Text:
    edge = verdict.edge
    return Text.assemble((str(edge), "bold"), (f"  {edge.endpoint.broker.system}", "dim"))


def _promise(verdict: Verdict) -> Text:
    if verdict.promise is None:
        return Text("not known: the server cannot be asked", "red")
    if any(finding.level == "refused" for finding in verdict.findings):
        return Text("nothing passes", "bold red")
    but = any(finding.level in ("warning", "limit") for finding in verdict.findings)
    text = f"{verdict.promise}{verdict.reservation}{', but' if but else ''}"
    return Text(text, "red" if not verdict.kept else "yellow" if but else "green")


def _finding(finding: Finding) -> Text:
    mark, style = _MARKS[finding.level]
    return Text.assemble((f"{mark} ", style), finding.means, (f" ({finding.setting})", "dim"))
