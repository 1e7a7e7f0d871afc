"""The arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from engine.telemetry.logs import LogFormat, LogLevel

Targets = Annotated[
    list[str],
    typer.Argument(help="`module:topology` or `path/to/file.py:topology`; the name may be left out.", metavar="TARGET"),
]
Target = Annotated[
    str,
    typer.Argument(help="`module:topology` or `path/to/file.py:topology`; the name may be left out.", metavar="TARGET"),
]
AppDir = Annotated[
    Path,
    typer.Option(
        envvar="HEADRACE_APP_DIR",
        help="Where modules are looked for, after all installed ones; also for headrace.toml.",
        exists=True,
        file_okay=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(envvar="HEADRACE_CONFIG", help="Another settings file than headrace.toml in the app's folder."),
]
Json = Annotated[bool, typer.Option("--json", envvar="HEADRACE_JSON", help="Print JSON.")]
Level = Annotated[LogLevel | None, typer.Option(envvar="HEADRACE_LOG_LEVEL", help="The least that is logged.")]
Format = Annotated[
    LogFormat | None,
    typer.Option(envvar="HEADRACE_LOG_FORMAT", help="How it is logged; auto is console on a terminal, JSON elsewhere."),
]
