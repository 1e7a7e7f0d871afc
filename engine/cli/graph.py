"""`headrace graph`: draw a topology."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.exits import Code, CommandError
from engine.cli.load import load
from engine.cli.options import AppDir, Target
from topologies import Format, draw

_SUFFIXES: dict[str, Format] = {
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".json": "json",
}


def graph(
    target: Target,
    format: Annotated[
        Format | None,
        typer.Option(
            envvar="HEADRACE_GRAPH_FORMAT", help="By the name of the output file, or mermaid, unless told otherwise."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", envvar="HEADRACE_GRAPH_OUTPUT", help="A file to write to.")
    ] = None,
    app_dir: AppDir = Path(),
) -> None:
    """Draw a topology: endpoints, stages with the sizes of their pools and mailboxes, and what flows where."""
    drawing = draw(load(target, app_dir).graph(), format or _by_name(output))
    if output is None:
        print(drawing, end="")
        return
    try:
        output.write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output}: cannot be written: {error.strerror}", code=Code.FAILED) from error


def _by_name(output: Path | None) -> Format:
    """The format that a file's name ends with; mermaid where there is no file, or no ending."""
    if output is None or not output.suffix:
        return "mermaid"
    if output.suffix.lower() not in _SUFFIXES:
        raise CommandError(
            f"{output}: nothing is drawn as {output.suffix}",
            f"end its name with one of {', '.join(_SUFFIXES)}, or write --format",
        )
    return _SUFFIXES[output.suffix.lower()]
