"""The command and its commands."""

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from engine.cli import dead, eventloop
from engine.cli.check import check
from engine.cli.docs import docs
from engine.cli.exits import Code, report
from engine.cli.graph import graph
from engine.cli.publish import publish
from engine.cli.run import run
from engine.cli.steer import pause, resume, scale
from engine.cli.tap import tap
from engine.cli.top import top

app = typer.Typer(
    name="headrace",
    help="Declare how messages flow; supervised actors run it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command and end the process with its exit code."""
    sys.exit(execute())


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, or those of the process; return its exit code.

    No error leaves it: what went wrong is on stderr.
    """
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="headrace", standalone_mode=False)
    except BaseException as error:
        return report(error)
    return code if isinstance(code, int) else Code.DONE


def version() -> None:
    """Print the versions of Headrace, of Python and of what it runs on."""
    print(_versions())


def _versions() -> str:
    names = ("anyio", "pydantic", "uvloop") if eventloop.installed() else ("anyio", "pydantic")
    parts = ", ".join(f"{name} {version_of(name)}" for name in names)
    return f"headrace {version_of('headrace')} (Python {platform.python_version()}, {parts})"


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


for command in (run, check, graph, docs, publish, top, tap, pause, resume, scale, version):
    app.command()(command)
app.add_typer(dead.app)
