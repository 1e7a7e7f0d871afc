"""`headrace dead`: list, show and redrive the dead letters of a topology's sources."""

import json
from collections.abc import Callable
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from actors import DEAD_LETTER_PREFIX, Message
from engine.cli.exits import Code, CommandError
from engine.cli.letters import is_engine, listed, redriven, whole
from engine.cli.load import load
from engine.cli.options import AppDir, Json
from engine.cli.remote import Token
from engine.deadletters import Grave, Letter, Redriven, graves, letters, redrive
from engine.telemetry import logs

app = typer.Typer(name="dead", help="List, show and redrive dead letters.", no_args_is_help=True)
Dead = Annotated[
    str,
    typer.Argument(
        help="`module:topology` or `path/to/file.py:topology`; or the URL of an engine that runs it.", metavar="TARGET"
    ),
]
Source = Annotated[
    str | None,
    typer.Argument(help="The source whose dead letters are meant; all sources unless given.", metavar="[SOURCE]"),
]
Limit = Annotated[int, typer.Option(envvar="HEADRACE_LIMIT", min=1, help="The most letters of each source.")]
Reason = Annotated[
    str | None,
    typer.Option(envvar="HEADRACE_DEAD_REASON", help="Only letters whose reason matches this glob.", metavar="GLOB"),
]


@app.command("list")
def list_(
    target: Dead,
    source: Source = None,
    limit: Limit = 100,
    app_dir: AppDir = Path(),
    token: Token = None,
    json_: Json = False,
) -> int:
    """List dead letters, the oldest first: where from, when, how often tried, and why they are dead."""
    found = (
        listed(target, token, source, limit)
        if is_engine(target)
        else [asdict(letter) for letter in _read(target, source, limit, app_dir)]
    )
    if json_:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return Code.DONE
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("lies in", "position", "key", "last failure", "tries", "stage", "reason"):
        table.add_column(column, style="dim" if column == "last failure" else "", overflow="fold")
    for letter in found:
        position = letter["id"] or "" if letter["position"] is None else letter["position"]
        why = Text(_plain(f"{letter['error_type']}: {letter['reason']}"), style="red")
        known = letter["grave"], position, letter["key"] or "", letter["last_failure"][:19], str(letter["attempts"])
        table.add_row(*(Text(_plain(each)) for each in (*known, letter["stage"])), why)
    console = Console()
    console.print(table if found else "no dead letters")
    return Code.DONE


@app.command()
def show(
    target: Dead,
    position: Annotated[str, typer.Argument(help="The position or the id of a letter, as `list` prints it.")],
    source: Annotated[
        str | None, typer.Option(envvar="HEADRACE_DEAD_SOURCE", help="The source whose dead letters are meant.")
    ] = None,
    limit: Limit = 10_000,
    app_dir: AppDir = Path(),
    token: Token = None,
    json_: Json = False,
) -> int:
    """Show one dead letter whole: body, headers and traceback."""
    if is_engine(target):
        found = [whole(target, token, position, source, limit)]
    else:
        there = [asdict(letter) for letter in _read(target, source, limit, app_dir)]
        found = [each for each in there if position in (each["position"], each["id"])]
    if not found:
        raise CommandError(f"{position}: no dead letter has that position or id", "see `headrace dead list`")
    if json_:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return Code.DONE
    console = Console()
    for letter in found:
        for name, value in letter.items():
            console.print(Text.assemble((f"{name.replace('_', ' '):14}", "dim"), _plain(str(value).rstrip())))
    return Code.DONE


@app.command("redrive")
def redrive_(
    target: Dead,
    source: Source = None,
    reason: Reason = None,
    limit: Limit = 1_000_000,
    app_dir: AppDir = Path(),
    token: Token = None,
    json_: Json = False,
) -> int:
    """Put dead letters back where they came from; those that are refused stay, and make the exit code 1."""
    if is_engine(target):
        return redriven(target, token, source, reason, limit, json_)
    meant = _graves(target, source, app_dir)
    results = anyio.run(_redrive, meant, limit, _matching(reason))
    if json_:
        print(json.dumps({name: asdict(each) for name, each in results.items()}, indent=2))
    else:
        for name, each in results.items():
            print(f"{name}: {each.redriven} put back, {each.refused} refused, {each.left} left")
            for why in each.why:
                print(f"  {_plain(why)}")
    return Code.FAILED if any(each.refused for each in results.values()) else Code.DONE


def _graves(target: str, source: str | None, app_dir: Path) -> list[Grave]:
    logs.configure(level="error")
    found = graves(load(target, app_dir).graph())
    meant = [grave for grave in found if source in (None, grave.origin.name, grave.endpoint.name)]
    if not meant:
        names = ", ".join(grave.origin.name for grave in found)
        raise CommandError(f"{source}: no source of that name", f"it takes from {names}")
    for grave in meant:
        if grave.endpoint.capabilities.embedded:
            raise CommandError(
                f"{grave.endpoint.name}: an embedded broker lives in its own process, and so do its dead letters",
                "ask the engine that runs: headrace run ... --http 127.0.0.1:8080, headrace dead list http://127.0.0.1:8080",
            )
    return meant


def _read(target: str, source: str | None, limit: int, app_dir: Path) -> list[Letter]:
    return anyio.run(_letters, _graves(target, source, app_dir), limit)


async def _letters(meant: list[Grave], limit: int) -> list[Letter]:
    return [letter for grave in meant for letter in await letters(grave, limit)]


async def _redrive(meant: list[Grave], limit: int, wanted: Callable[[Message], bool]) -> dict[str, Redriven]:
    columns: tuple[Any, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed} put back"),
    )
    results = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for grave in meant:
            bar = progress.add_task(grave.endpoint.name, total=None)

            def told(so_far: Redriven, bar: Any = bar) -> None:
                progress.update(bar, completed=so_far.redriven)

            results[grave.endpoint.name] = await redrive(grave, limit, wanted, told)
    return results


def _plain(text: str) -> str:
    """Without what would move the cursor, or worse: others may have written it."""
    return "".join(each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text)


def _matching(glob: str | None) -> Callable[[Message], bool]:
    def matches(message: Message) -> bool:
        reason = (message.headers or {}).get(f"{DEAD_LETTER_PREFIX}reason", "")
        return glob is None or fnmatch(reason.decode(errors="replace") if isinstance(reason, bytes) else reason, glob)

    return matches
