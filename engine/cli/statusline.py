"""The line at the bottom of a terminal that says how a running engine is."""

import os
import sys
from collections import deque
from collections.abc import Sequence
from time import monotonic

from anyio import sleep
from rich.console import Console
from rich.live import Live
from rich.text import Text

from engine.engine import Engine
from engine.health.health import StageHealth
from engine.health.status import StageStatus

EVERY = 0.25
"""Seconds between two looks."""
OVER = 2.0
"""Seconds that a rate is the mean of."""


def in_foreground() -> bool:
    """Whether there is a terminal to write the line to, and this process has it; in the background it must not."""
    if not sys.stderr.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (AttributeError, OSError):  # no such thing on Windows, or not our terminal
        return True


async def show_status(engine: Engine) -> None:
    """Keep the line up to date until cancelled; then it goes. What else is printed scrolls by above it."""
    await engine.started.wait()
    seen: deque[tuple[float, int]] = deque()
    with Live(console=Console(file=sys.stderr), transient=True, auto_refresh=False) as live:
        while True:
            stages, now = engine.status(), monotonic()
            seen.append((now, sum(stage.settled for stage in stages)))
            while now - seen[0][0] > OVER:
                seen.popleft()
            stalled = [stage for stage in engine.health().stages if stage.stalled]
            live.update(status_line(stages, _rate(seen), engine.draining, stalled), refresh=True)
            await sleep(EVERY)


def status_line(
    stages: Sequence[StageStatus], rate: float, draining: bool, stalled: Sequence[StageHealth] = ()
) -> Text:
    """In one line: how many came and how many are finished, how fast, what is held, and what to look at."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("● draining" if draining else "● running", style="yellow" if draining else "green")
    line.append(f"  in {sum(stage.received for stage in stages):,}")
    line.append(f"  done {sum(stage.settled for stage in stages):,}", style="bold")
    line.append(f"  {rate:,.0f}/s")
    line.append(f"  held {sum(stage.depth + stage.held + stage.busy for stage in stages):,}", style="dim")
    for word, count, style in (
        ("to be retried", sum(stage.waiting_for_retry for stage in stages), "yellow"),
        ("dead", sum(stage.dead for stage in stages), "red"),
        ("restarts", sum(stage.restarts for stage in stages), "yellow"),
    ):
        if count:
            line.append(f"  {word} {count:,}", style=style)
    away = [stage.stage for stage in stages if not stage.connected]
    if away:
        line.append(f"  waiting for the broker of {', '.join(away[:3])}", style="red")
    # Who waits for a stage behind it is not the one to look at, unless nobody is.
    blamed = [stage for stage in stalled if stage.waiting_for != "downstream"] or stalled
    for stage in [stage for stage in blamed if stage.stage not in away][:2]:
        line.append(f"  stalled {stage.stage} ({stage.waiting_for}, {stage.unmoved or 0:,.0f} s)", style="red")
    return line


def _rate(seen: Sequence[tuple[float, int]]) -> float:
    (since, before), (now, after) = seen[0], seen[-1]
    return (after - before) / (now - since) if now > since else 0.0
