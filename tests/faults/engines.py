"""The processes under test: started, hurt, and started again when they end by themselves, as a machine would."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.witness import COUNTERS, told
from tests.servers.reaper import Reaper, kill_group

ROOT = Path(__file__).parent.parent.parent
DRAIN = 15
"""Seconds that an engine may take to drain."""


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a process under test. Another framework's bridge is another command.

    It finds in its environment what `tests/faults/bridge.py` lists as `Settings`, and drains on SIGTERM.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


HEADRACE = Command(
    (sys.executable, "-m", "headrace", "run", "tests.faults.bridge:topology"),
    {"HEADRACE_DRAIN": str(DRAIN), "HEADRACE_LOG_FORMAT": "json"},
)


class Engines:
    """The engines of one run, by slot: 0 always runs, others join and leave. `made` counts what happened to them."""

    def __init__(self, command: Command, folder: Path, environment: Mapping[str, str]) -> None:
        self.made: Counter[str] = Counter()
        self._command = command
        self._folder = folder
        self._environment = environment
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._reaper = Reaper()
        self._keeping: asyncio.Task[None] | None = None
        self._ended: set[int] = set()

    def start(self, slot: int = 0) -> None:
        """Start an engine; its log goes on where that of the one before it in this slot ended."""
        environment = {
            **os.environ,
            **self._command.environment,
            **self._environment,
            "FAULTS_SLOT": str(slot),
            "FAULTS_WITNESS": str(self._folder / f"witness-{slot}"),
        }
        with self.log_path(slot).open("ab") as log:
            process = subprocess.Popen(
                list(self._command.arguments),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._reaper.watch(process.pid)
        self._processes[slot] = process
        self._ended.discard(slot)
        self.made["starts"] += 1

    def running(self, slot: int = 0) -> bool:
        """Whether there is an engine in that slot."""
        process = self._processes.get(slot)
        return process is not None and process.poll() is None

    def pid(self, slot: int = 0) -> int:
        """The number of its process."""
        return self._processes[slot].pid

    def kill(self, slot: int = 0) -> None:
        """Kill -9, and wait for its end; `keep` starts slot 0 again."""
        self._ended.add(slot)
        self._end(self._processes[slot])
        self.made["kills"] += 1

    def signal(self, number: signal.Signals, slot: int = 0) -> None:
        """Send a signal, if there is anybody to get it."""
        if self.running(slot):
            os.kill(self.pid(slot), number)

    async def stop(self, slot: int = 0, within: float = DRAIN + 20) -> int | None:
        """SIGTERM and wait for its end. Returns the exit code; None where it had to be killed, or was not there."""
        if slot not in self._processes:
            return None
        self._ended.add(slot)
        self.signal(signal.SIGTERM, slot)
        return await self.wait(slot, within)

    async def wait(self, slot: int, within: float) -> int | None:
        """Wait for its end, and kill it when that does not come; the exit code, or None."""
        process, until = self._processes[slot], time.monotonic() + within
        self._ended.add(slot)
        while process.poll() is None and time.monotonic() < until:
            await asyncio.sleep(0.02)
        code = process.poll()
        self._end(process)
        return code

    def keep(self) -> None:
        """From now on start slot 0 again whenever it ends, unless it was stopped for good by `release`."""
        if not self.running():
            self.start()
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            if not self.running():
                if 0 in self._processes and 0 not in self._ended:
                    self.made[f"ended with {self._processes[0].returncode}"] += 1
                    self._end(self._processes[0])
                self.start()
                self.made["restarts"] += 1
            await asyncio.sleep(0.02)

    def release(self) -> None:
        """No longer start slot 0 again."""
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    def told(self, slots: str = "*") -> Counter[str]:
        """What the engines of these slots have counted themselves, all together."""
        total: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        for path in self._folder.glob(f"witness-{slots}"):
            total.update(told(path))
        return total

    def log_path(self, slot: int = 0) -> Path:
        """The file with the log of a slot."""
        return self._folder / f"engine-{slot}.log"

    def logged(self) -> str:
        """All that the engines have logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("engine-*.log")))

    def close(self) -> None:
        """Kill whatever still runs."""
        self.release()
        for process in self._processes.values():
            self._end(process)
        self._reaper.close()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        kill_group(process.pid)
        process.wait()
        self._reaper.forget(process.pid)
