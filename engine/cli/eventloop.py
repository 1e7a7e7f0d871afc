"""Which event loop `headrace run` has: uvloop where it is installed and wanted, else asyncio's own."""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from engine.settings import SettingsError


def options(wanted: bool | None) -> dict[str, Any]:
    """What `anyio.run` is told. `wanted`: True says that uvloop has to be there, None that it is used where it is.

    Raises `SettingsError` where it has to be there and is not.
    """
    if wanted and not installed():
        remedy = "pip install 'headrace[uvloop]', or take --uvloop, HEADRACE_UVLOOP or `uvloop` in headrace.toml away"
        if sys.platform == "win32":
            remedy = "there is none for Windows: take --uvloop, HEADRACE_UVLOOP or `uvloop` in headrace.toml away"
        raise SettingsError(f"uvloop is on, and it is not installed here\n  {remedy}")
    return {"use_uvloop": True} if wanted is not False and installed() else {}


def installed() -> bool:
    """Whether uvloop is there; never on Windows."""
    return sys.platform != "win32" and find_spec("uvloop") is not None


def name(chosen: dict[str, Any]) -> str:
    """What to call the loop of these options in a log."""
    return f"uvloop {version('uvloop')}" if chosen else "asyncio"
