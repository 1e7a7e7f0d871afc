"""Where in the user's files something was declared, so that every complaint can name it."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors import TopologyError


@dataclass(frozen=True, slots=True)
class Where:
    """A declaration's `file:line`, and the name of the stage it is about."""

    place: str
    stage: str = ""

    def error(self, problem: str, remedy: str = "") -> TopologyError:
        """The error to raise: it names file, line, stage, problem and remedy."""
        return TopologyError(f"{self.stage}: {problem}" if self.stage else problem, remedy=remedy, place=self.place)


def caller() -> tuple[str, Mapping[str, Any]]:
    """The `file:line` that called into this package, and the names that are local there."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("topologies."):
        frame = frame.f_back
    return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}", frame.f_locals


def _shown(path: str) -> str:
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here)
