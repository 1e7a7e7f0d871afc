"""`headrace run --reload`: a process that starts the engine in another, and starts it anew when a file changes."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from watchfiles import PythonFilter, watch

from engine.cli.exits import Code
from engine.settings import Settings

logger = logging.getLogger("headrace")
LONGER = 10.0
"""Seconds that a process may take beyond its drain before it is killed."""


def supervise(targets: list[str], app_dir: Path, config: Path | None, settings: Settings) -> int:
    """Run the targets in a process of their own, anew after every change of a Python file in the folder.

    The old process is drained first. SIGTERM and SIGINT are passed on to it; the exit code is its own.
    """
    child = _Child(_command(targets, app_dir, config, settings), _surroundings(settings), settings.drain)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, child.pass_on)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    logger.info("watching %s for changes", app_dir.resolve())
    for changes in watch(
        app_dir, watch_filter=PythonFilter(), stop_event=child.asked, rust_timeout=500, yield_on_timeout=True
    ):
        if changes and not child.asked.is_set():
            logger.info("changed: %s; starting again", ", ".join(sorted(Path(path).name for _, path in changes)[:3]))
            child.restart()
        child.tell_if_ended()
    return child.end()


def _command(targets: list[str], app_dir: Path, config: Path | None, settings: Settings) -> list[str]:
    """What to start: with every setting said, so that it does not watch for changes itself."""
    # -P: the current folder is not put before the installed packages.
    command = [sys.executable, "-P", "-m", "headrace", "run", "--no-reload", "--app-dir", str(app_dir)]
    command += ["--drain", str(settings.drain), "--burst" if settings.burst else "--no-burst"]
    command += ["--log-format", settings.log_format, "--log-level", settings.log_level]
    command += [] if settings.uvloop is None else ["--uvloop" if settings.uvloop else "--no-uvloop"]
    command += ["--http", settings.http] if settings.http is not None else []
    command += ["--config", str(config)] if config is not None else []
    return [*command, "--", *targets]


def _surroundings(settings: Settings) -> dict[str, str]:
    """The environment, with the token in it: in the command everybody on the machine could read it."""
    token = {} if settings.token is None else {"HEADRACE_TOKEN": settings.token.get_secret_value()}
    return dict(os.environ) | token


class _Child:
    """The process that runs the engine now."""

    def __init__(self, command: list[str], surroundings: dict[str, str], drain: float) -> None:
        self.asked = threading.Event()
        """Set once this process was asked to end."""
        self._command = command
        self._surroundings = surroundings
        self._drain = drain
        self._draining = False
        self._told = False
        self._start()

    def _start(self) -> None:
        self._told = False
        # In a group of its own: Ctrl-C comes to this process alone, which passes it on once.
        self._process = subprocess.Popen(self._command, env=self._surroundings, process_group=0)

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Hand on a signal: the first drains the child, unless it drains already; a second ends it at once."""
        if self.asked.is_set() or not self._draining:
            self._process.send_signal(number)
        self.asked.set()

    def restart(self) -> None:
        """Drain the process, kill it when that takes too long, and start another unless asked to end meanwhile."""
        self._draining = True
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(self._drain + LONGER)
        except subprocess.TimeoutExpired:
            logger.warning("not stopped %g s after SIGTERM: killed", self._drain + LONGER)
            self._process.kill()
            self._process.wait()
        self._draining = False
        if not self.asked.is_set():
            self._start()

    def tell_if_ended(self) -> None:
        """Say once that it ended by itself; the next change starts it again."""
        if self._process.poll() is not None and not self._told and not self.asked.is_set():
            logger.info("ended with %d; waiting for a change", self._process.returncode)
            self._told = True

    def end(self) -> int:
        """Wait for its end; its exit code."""
        code = self._process.wait()
        # Ended by the signal itself: it had not yet begun to run anything that could be drained.
        return Code.DONE if code in (-signal.SIGTERM, -signal.SIGINT) else code if code >= 0 else 128 - code
