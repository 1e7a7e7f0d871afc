"""A part of the fault matrix, small enough for every run of the tests: `make faults` runs all of it.

In a process of its own: the clients leave connections open behind them when a server is killed, which is no warning
about the engine.
"""

import json
import subprocess
import sys

import pytest

from tests.faults.engines import ROOT
from tests.faults.run import PLACES

pytestmark = pytest.mark.timeout(300)


def matrix(broker: str, *faults: str) -> list[dict]:
    """Run these faults on that broker; what became of each."""
    chosen = [f"--fault={fault}" for fault in faults]
    command = [
        sys.executable,
        "-m",
        "tests.faults",
        f"--broker={broker}",
        *chosen,
        "--messages=3000",
        "--seconds=4",
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=290, check=False)
    assert done.stdout, done.stderr
    results: list[dict] = json.loads(done.stdout)
    assert (done.returncode == 0) == (not any(result["problems"] for result in results))
    return results


@pytest.mark.parametrize("broker", PLACES)
def test_nothing_is_lost_invented_or_out_of_order_whoever_is_killed(broker: str) -> None:
    faults = ("kill", "server-kill", "confirm-lost")
    results = matrix(broker, *faults)
    assert {result["fault"]: result["problems"] for result in results} == {fault: [] for fault in faults}
