"""Whose line an error comes from: of the frames of a traceback, those that are the user's."""

import os
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

OURS = ("actors", "topologies", "engine", "headrace")
ROOT = Path(__file__).resolve().parents[2]
_FOREIGN = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib"))


def place_of(error: BaseException) -> str | None:
    """`file:line` of the last line that is neither ours, nor Python's, nor of an installed package."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _theirs(frame.filename):
            return f"{shown(Path(frame.filename).resolve())}:{frame.lineno}"
    return None


def is_ours(error: BaseException) -> bool:
    """Whether the line that raised it is one of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _in_ours(Path(frames[-1].filename).resolve())


def from_theirs_on(error: BaseException) -> TracebackType | None:
    """The traceback from the first line of the user's on: how we came there is of no use to them. All, if none is."""
    at = error.__traceback__
    while at is not None and not _theirs(at.tb_frame.f_code.co_filename):
        at = at.tb_next
    return at or error.__traceback__


def _theirs(name: str) -> bool:
    path = Path(name).resolve()
    return path.is_file() and not _in_ours(path) and not str(path).startswith(_FOREIGN)


def _in_ours(path: Path) -> bool:
    return any(path.is_relative_to(ROOT / package) for package in OURS)


def shown(path: Path) -> str:
    """The path as seen from where the command was given; a folder's ends with a slash."""
    path, here = path.absolute(), Path.cwd()
    text = str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)
    return f"{text}{os.sep}" if path.is_dir() else text
