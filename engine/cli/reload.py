"""`headrace run --reload`: a process that starts the engine in another, and starts it anew when a file changes."""

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from watchfiles import PythonFilter, watch

from engine.settings import Settings

logger = logging.getLogger("headrace")
LONGER = 10.0
"""Seconds that a process may take beyond its drain before it is killed."""


def supervise(targets: list[str], app_dir: Path, config: Path | None, settings: Settings) -> int:
    """Run the targets in a process of their own, anew after every change of a Python file in the folder.

    The old process is drained first. SIGTERM and SIGINT are passed on to it; the exit code is its own.
    """
    command = _command(targets, app_dir, config, settings)
    asked = threading.Event()
    child = _start(command)

    def stop(number: int, frame: FrameType | None) -> None:
        # Each signal goes on to the child: the first drains it, a second ends it at once.
        asked.set()
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    logger.info("watching %s for changes", app_dir.resolve())
    told = False
    for changes in watch(
        app_dir, watch_filter=PythonFilter(), stop_event=asked, rust_timeout=500, yield_on_timeout=True
    ):
        if asked.is_set():
            break
        if changes:
            logger.info("changed: %s; starting again", ", ".join(sorted(Path(path).name for _, path in changes)[:3]))
            _stop(child, settings.drain)
            if asked.is_set():
                break
            child, told = _start(command), False
        elif child.poll() is not None and not told:
            logger.info("ended with %d; waiting for a change", child.returncode)
            told = True
    code = child.wait()
    return code if code >= 0 else 128 - code


def _command(targets: list[str], app_dir: Path, config: Path | None, settings: Settings) -> list[str]:
    """What to start: with every setting said, so that it does not watch for changes itself."""
    # -P: the current folder is not put before the installed packages.
    command = [sys.executable, "-P", "-m", "headrace", "run", "--no-reload", "--app-dir", str(app_dir)]
    command += ["--drain", str(settings.drain), "--burst" if settings.burst else "--no-burst"]
    command += ["--log-format", settings.log_format, "--log-level", settings.log_level]
    command += ["--config", str(config)] if config is not None else []
    return [*command, "--", *targets]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # In a group of its own: Ctrl-C comes to this process alone, which passes it on once.
    return subprocess.Popen(command, process_group=0)


def _stop(child: subprocess.Popen[bytes], drain: float) -> None:
    """Drain it, or kill it when that takes too long."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(drain + LONGER)
    except subprocess.TimeoutExpired:
        logger.warning("not stopped %g s after SIGTERM: killed", drain + LONGER)
        child.kill()
        child.wait()
