"""`make soak`: half an hour at half of full speed with a kill every minute; memory, files and tasks have to stay flat.

In the first two thirds it is the server that is killed, so that one engine lives through all of it and is measured;
then it is the engine.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from tests.faults.engines import HEADRACE, Engines
from tests.faults.oracle import Following, Plan
from tests.faults.places import Place
from tests.faults.run import PLACES, RECOVER
from tests.faults.witness import told
from tests.servers.process import ServerFailed
from tests.servers.programs import Missing
from tests.servers.site import Site

console = Console(highlight=False, soft_wrap=True)
MEASURED = 15.0
"""Seconds of full speed, of which the later two thirds are measured."""
GROWTH = {"memory, MB": (1.1, 10.0), "files": (1.0, 4.0), "tasks": (1.0, 4.0), "memory of the tests, MB": (1.2, 30.0)}
"""By how much, as a factor and beside it, the end may be above the beginning."""


@dataclass(slots=True)
class Soak:
    """One soak: what was published, what came, and how the engine was meanwhile."""

    place: Place
    server: Any
    engines: Engines
    folder: Path
    following: Following
    rate: float = 1e9
    published: int = 0
    kills: int = 0
    over: bool = False
    samples: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in GROWTH})

    async def produce(self) -> None:
        """Publish at `rate`, each run until it is confirmed, and never far ahead of what has come."""
        plan, keys = self.following.plan, self.following.plan.keys
        due = time.monotonic()
        while not self.over:
            run = range(self.published, self.published + keys)
            await self._insist([(plan.key(number), plan.body(number)) for number in run])
            self.published = run.stop
            due = max(due + keys / self.rate, time.monotonic() - 1)
            await asyncio.sleep(max(0, due - time.monotonic()))
            while self.published - self.following.total > 20_000 and not self.over:
                await asyncio.sleep(0.05)

    async def _insist(self, run: Sequence[tuple[str, bytes]]) -> None:
        while True:
            try:
                async with asyncio.timeout(30):
                    await self.place.publish(run)
            except Exception:
                await asyncio.sleep(0.1)
            else:
                return

    async def follow(self) -> None:
        """Read and judge what arrives, and let the server forget it."""
        read = 0
        while True:
            try:
                async with asyncio.timeout(60):
                    self.following.arrived(await self.place.arrived())
                    if self.following.total > read + 20_000:
                        await self.place.forget()
                        read = self.following.total
            except Exception:
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.2)

    async def sample(self) -> None:
        """Look every five seconds how the engine is, as long as it is the one that was started."""
        first = self.engines.pid()
        while self.engines.running() and self.engines.pid() == first:
            now = {
                "memory, MB": _memory(first),
                "files": len(os.listdir(f"/proc/{first}/fd")),
                "tasks": told(self.folder / "witness-0")["tasks"],
                "memory of the tests, MB": _memory("self"),
            }
            for name, value in now.items():
                self.samples[name].append(value)
            await asyncio.sleep(5)

    async def kill_each_minute(self, minutes: float) -> None:
        """Kill the server, and later the engine."""
        began, every = time.monotonic(), min(60.0, minutes * 60 / 6)
        while (passed := time.monotonic() - began) < minutes * 60:
            await asyncio.sleep(every)
            if passed < minutes * 60 * 2 / 3:
                await self.server.async_restart(kill=True)
            else:
                self.engines.kill()
            self.kills += 1
            console.print(self.line(passed))

    def line(self, passed: float) -> str:
        """How far it is."""
        now = ", ".join(f"{name} {values[-1]:.0f}" for name, values in self.samples.items() if values)
        return (
            f"{passed / 60:4.1f} min  {self.published:,} published, {self.following.total:,} arrived, "
            f"{self.following.duplicates:,} twice, {self.kills} kills; {now}"
        )

    def problems(self) -> list[str]:
        """What must not be."""
        found = self.following.problems(self.published)
        for name, values in self.samples.items():
            if len(values) < 12:
                found.append(f"no proof: {name} was looked at {len(values)} times")
                continue
            quarter = len(values) // 4
            before, after = median(values[quarter // 2 : quarter * 3 // 2]), median(values[-quarter:])
            factor, beside = GROWTH[name]
            console.print(f"{name}: {before:.1f} at first, {after:.1f} in the end, {max(values):.1f} at most")
            if after > before * factor + beside:
                found.append(f"{name} grew from {before:.1f} to {after:.1f}")
        return found


async def soak(site: Site, broker: str, minutes: float, seed: int) -> list[str]:
    """Soak one broker; what was wrong."""
    kind = PLACES[broker]
    server = await asyncio.to_thread(site.get, kind.kind)
    folder = Path(tempfile.mkdtemp(prefix=f"headrace-soak-{broker}-"))
    async with AsyncExitStack() as stack:
        place = kind(server, f"soak-{time.time_ns():x}")
        stack.push_async_callback(place.close)
        await place.prepare()
        name = place.source.removesuffix(".in")
        engines = Engines(HEADRACE, folder, {"FAULTS_URL": server.url, "FAULTS_NAME": name, "FAULTS_PACE": "0"})
        stack.callback(engines.close)
        run = Soak(place, server, engines, folder, Following(Plan(seed, 0)))
        engines.keep()
        tasks = [asyncio.create_task(task) for task in (run.produce(), run.follow(), run.sample())]
        try:
            await _full_speed(run)
            await run.kill_each_minute(minutes)
            run.over = True
            await asyncio.wait(tasks[:1], timeout=60)
            await _complete(run)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        engines.release()
        code = await engines.stop()
        console.print(run.line(minutes * 60))
        return run.problems() + ([f"the engine did not drain: exit code {code}"] if code else [])


async def _full_speed(run: Soak) -> None:
    """Measure how fast it goes, and have it go half as fast from then on."""
    await asyncio.sleep(MEASURED / 3)
    before = run.following.total
    await asyncio.sleep(MEASURED * 2 / 3)
    full = (run.following.total - before) / (MEASURED * 2 / 3)
    run.rate = max(200.0, full / 2)
    console.print(f"full speed with producer and reader beside it: {full:,.0f} a second; half of that from now on")


async def _complete(run: Soak) -> None:
    until = time.monotonic() + RECOVER
    while run.following.missing(run.published) and time.monotonic() < until:
        await asyncio.sleep(0.2)


def _memory(process: int | str) -> float:
    """The resident memory of a process, in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and say what was wrong; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--broker", choices=PLACES, default="redis")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())
    for number in (signal.SIGINT, signal.SIGTERM):  # the first may be ignored, as it is in a shell's background
        signal.signal(number, signal.default_int_handler)
    try:
        with Site() as site:
            problems = asyncio.run(soak(site, options.broker, options.minutes, options.seed))
    except KeyboardInterrupt:
        return 130
    except (Missing, ServerFailed) as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    for problem in problems:
        console.print(f"✗ {problem}", style="red", markup=False)
    if not problems:
        console.print(f"✓ {options.broker}: nothing lost, nothing left over", style="green")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
