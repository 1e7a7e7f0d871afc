"""The command line: `headrace`."""

from engine.cli.app import main

__all__ = ["main"]
