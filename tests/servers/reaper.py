"""A small process that outlives the tests and takes their servers down with them, however they ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


class Reaper:
    """Kills process groups and removes folders when this process ends, or is killed.

    It is a child that reads the other end of a pipe. The pipe closes with the last breath of this process, whichever
    way that came; the parent-death signal of Linux would not do, since it comes when the *thread* that started a
    server ends.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, who still need the reaper then
        )

    def watch(self, group: int) -> None:
        """Kill this process group at the end."""
        self._say(f"watch {group}")

    def forget(self, group: int) -> None:
        """Leave this process group alone: it is gone, and its number may come again."""
        self._say(f"forget {group}")

    def sweep(self, folder: Path) -> None:
        """Remove this folder at the end."""
        self._say(f"sweep {folder}")

    def close(self) -> None:
        """Do now what was left for the end, and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


def kill_group(group: int) -> None:
    """Kill -9 what is left of a process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _main() -> None:
    groups: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        if verb == "watch":
            groups.add(int(what))
        elif verb == "forget":
            groups.discard(int(what))
        else:
            folders.append(what)
    for group in groups:
        kill_group(group)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main()
