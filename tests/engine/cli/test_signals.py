"""Signals in a process whose event loop does not get its turn."""

import signal
import subprocess
import sys

import pytest

BLOCKED = """
import asyncio, time
from engine.cli.signals import on_signals

async def main():
    with on_signals(lambda name: None, {within}):
        print("blocked", flush=True)
        time.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_process_that_never_comes_to_its_drain_ends_all_the_same(times: int) -> None:
    program = BLOCKED.format(within=0.1 if times == 1 else 60)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"blocked\n"
        process.send_signal(signal.SIGTERM)
        if times == 2:
            process.send_signal(signal.SIGINT)
        code = process.wait(30)
        said = process.stderr.read().decode()
    if times == 1:
        assert code == 1
        assert said.startswith("headrace: not ended 0.1 s after it was told to")
    else:
        assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM)  # the kernel may hand over the later one first
        assert "again: ended at once, without a drain" in said
