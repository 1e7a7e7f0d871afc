"""`headrace docs`: what topologies take and send, as an AsyncAPI document."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.exits import Code, CommandError
from engine.cli.load import load_graphs
from engine.cli.options import AppDir, Targets
from topologies import DocumentFormat, asyncapi, render

_SUFFIXES: dict[str, DocumentFormat] = {
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".html": "html",
    ".htm": "html",
}


def docs(
    targets: Targets,
    format: Annotated[
        DocumentFormat | None,
        typer.Option(
            envvar="HEADRACE_DOCS_FORMAT",
            help="By the name of the output file, or json, unless told otherwise; html is a page for browsers.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", envvar="HEADRACE_DOCS_OUTPUT", help="A file to write to.")
    ] = None,
    title: Annotated[
        str, typer.Option(envvar="HEADRACE_DOCS_TITLE", help="The names of the topologies unless given.")
    ] = "",
    version: Annotated[
        str, typer.Option(envvar="HEADRACE_DOCS_VERSION", help="The version of what is documented.")
    ] = "0.1.0",
    app_dir: AppDir = Path(),
) -> None:
    """Document topologies as AsyncAPI: servers, channels, operations, messages and their schemas; nothing secret."""
    chosen = format or _by_name(output)
    document = asyncapi(load_graphs(targets, app_dir), title=title, version=version)
    text = render(document, chosen)
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output}: cannot be written: {error.strerror}", code=Code.FAILED) from error


def _by_name(output: Path | None) -> DocumentFormat:
    """The form that a file's name tells. Raises `CommandError` where it tells none that there is."""
    if output is None:
        return "json"
    if (told := _SUFFIXES.get(output.suffix.lower())) is None:
        raise CommandError(f"{output}: its name tells no form", "end it in .json, .yaml or .html, or say --format")
    return told
