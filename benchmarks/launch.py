"""Starts the processes that measure, bounds their time, and leaves none behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

ROOT = Path(__file__).parent.parent
TAIL = 12
"""Lines of what a process complained of that are shown."""


class ChildFailed(Exception):
    """A process did not end well, or not in time. The message ends with the last lines that it wrote."""


class Child:
    """One process of `python -m MODULE ARGUMENT` that prints one line of JSON."""

    def __init__(self, process: Process, complaints: Path) -> None:
        self._process = process
        self._complaints = complaints

    async def go(self) -> None:
        """Have it begin, where it waits for that; a process that has ended meanwhile says so in its result."""
        assert self._process.stdin is not None
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._process.stdin.send(b"\n")

    async def result(self, limit: float) -> bytes:
        """Wait for what it prints and for its end, so many seconds at most; raises `ChildFailed`."""
        assert self._process.stdout is not None
        printed = b""
        with anyio.move_on_after(limit) as waiting:
            async for chunk in self._process.stdout:
                printed += chunk
            await self._process.wait()
        if waiting.cancelled_caught:
            raise ChildFailed(f"not done within {limit:.0f} s{self._tail()}")
        if self._process.returncode or not printed:
            raise ChildFailed(f"ended with code {self._process.returncode}{self._tail()}")
        return printed.splitlines()[-1]

    def _tail(self) -> str:
        lines = self._complaints.read_text(errors="replace").splitlines()[-TAIL:]
        return "".join(f"\n    {line}" for line in lines)


@asynccontextmanager
async def child(module: str, argument: str) -> AsyncIterator[Child]:
    """A process that runs meanwhile, and is killed where it still does at the end.

    It holds a pipe as its input, and ends by itself when this process does without having said goodbye. Ctrl-C in the
    terminal does not reach it.
    """
    with tempfile.NamedTemporaryFile(prefix="headrace-bench-", suffix=".log") as complaints:
        process = await anyio.open_process(
            [sys.executable, "-m", module, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            yield Child(process, Path(complaints.name))
        finally:
            with suppress(ProcessLookupError, PermissionError):
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.aclose()
