"""How the command ends: its exit codes, and what it says on stderr when it fails."""

import asyncio
import logging
import sys
from enum import IntEnum
from typing import Any

import typer

from actors import BrokerUnavailable, HeadraceError, IntensityExceeded, TopologyError, redact
from engine.cli.frames import from_theirs_on, place_of
from engine.settings import SettingsError


class Code(IntEnum):
    """The exit codes; those from 64 on are of BSD's `sysexits`."""

    DONE = 0
    """Done, or drained."""
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    """A broker cannot be reached."""
    GAVE_UP = 70
    """A supervisor gave up: start the process anew."""
    TOPOLOGY = 78
    """A topology cannot work as it is declared."""
    INTERRUPTED = 130


class CommandError(HeadraceError):
    """The command cannot do what it was told: says why and what to do instead, in two lines at most."""

    def __init__(self, problem: str, remedy: str = "", code: Code = Code.USAGE) -> None:
        self.problem = problem
        self.remedy = remedy
        self.code = code
        super().__init__(f"{problem}\n  {remedy}" if remedy else problem)


def report(error: BaseException) -> int:
    """Say on stderr what went wrong, and return the exit code for it.

    What the user can mend takes a line or two; anything else is logged with its place and its traceback, from where the
    user's own code begins.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return Code.INTERRUPTED
    if isinstance(error, typer.TyperException):
        complain(f"{error.format_message()}\n  {_help(error)}")
        return Code.USAGE
    code = code_of(error)
    if code is None:
        where, seen = place_of(error), error.with_traceback(from_theirs_on(error))
        what = redact(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        logging.getLogger("headrace").critical("failed: %s%s", what, f" ({where})" if where else "", exc_info=seen)
        return Code.FAILED
    complain(str(error))
    return code


def code_of(error: BaseException) -> Code | None:
    """The exit code for an error that explains itself; None for any other."""
    match error:
        case CommandError():
            return error.code
        case SettingsError():
            return Code.USAGE
        case TopologyError():
            return Code.TOPOLOGY
        case IntensityExceeded():
            return Code.GAVE_UP
        case BrokerUnavailable():
            return Code.UNAVAILABLE
        case HeadraceError():
            return Code.FAILED
    return None


def tell_of_interrupts(loop: asyncio.AbstractEventLoop) -> None:
    """Have a `KeyboardInterrupt` that something raised in the loop told once, by its place.

    It ends the loop at once; asyncio would tell of every task that it came through.
    """
    told = False

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told
        error = context.get("exception")
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, KeyboardInterrupt):
            loop.default_exception_handler(context)
        elif not told:
            told = True
            logging.getLogger("headrace").critical("ended by a KeyboardInterrupt at %s", place_of(error) or "no line")

    loop.set_exception_handler(handle)


def complain(text: str) -> None:
    """Print to stderr what is wrong, its name before it."""
    red, reset = ("\x1b[1;31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}headrace:{reset} {redact(text)}", file=sys.stderr)


def _help(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "headrace"
    return f"see {path} --help"
