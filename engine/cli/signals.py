"""SIGTERM and SIGINT: the first drains, the second ends at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signals(first: Callable[[str], object]) -> Iterator[None]:
    """Within the block, call `first` in the running event loop at the first signal; end the process at the second.

    The second one ends it even where a handler never lets the event loop have its turn.
    """
    loop = asyncio.get_running_loop()
    seen = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        name = signal.Signals(number).name
        if seen > 1:
            # Not through sys.stderr: the signal may have come in the middle of a write to it.
            shown = "\x1b[?25h" if os.isatty(2) else ""  # a status line had hidden the cursor
            os.write(2, f"{shown}headrace: {name} again: ended at once, without a drain\n".encode())
            os._exit(128 + number)
        loop.call_soon_threadsafe(first, name)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
