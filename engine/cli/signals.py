"""SIGTERM and SIGINT: the first drains, the second ends at once, and so does a drain that nothing comes of."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signals(
    first: Callable[[str], object], within: float, last_words: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Within the block, call `first` in the running event loop at the first signal; end the process at the second.

    The process also ends, with 1, when it has not by itself `within` seconds after the first. Both hold even where a
    handler never lets the event loop have its turn. `last_words`, which must not wait, adds to what is said then.
    """
    loop = asyncio.get_running_loop()
    seen = 0
    patience = threading.Timer(within, _cut_off, (within, last_words))
    patience.daemon = True

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        name = signal.Signals(number).name
        if seen > 1:
            _end(f"{name} again: ended at once, without a drain", last_words, 128 + number)
        patience.start()
        loop.call_soon_threadsafe(first, name)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        # The patience goes on: the loop is yet to be closed, and so is what a thread of the user's holds.
        for number, handler in before.items():
            signal.signal(number, handler)


def _cut_off(seconds: float, last_words: Callable[[], str]) -> None:
    why = f"not ended {seconds:g} s after it was told to: something neither returns nor lets itself be cancelled"
    _end(why, last_words, 1)


def _end(why: str, last_words: Callable[[], str], code: int) -> None:
    # Not through sys.stderr: the signal may have come in the middle of a write to it.
    shown = "\x1b[?25h" if os.isatty(2) else ""  # a status line had hidden the cursor
    try:
        more = last_words()
    except Exception:  # it looks at what was in the middle of a change
        more = ""
    os.write(2, f"{shown}headrace: {why}{'; ' if more else ''}{more}\n".encode())
    os._exit(code)
