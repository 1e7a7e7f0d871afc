"""Every example runs as a process of its own, as its reader would run it; what it shows is checked."""

import csv
import gzip
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def run(*command: str, code: int = 0) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def flights_by_plain_python() -> Counter[str]:
    """What becomes of each departure, counted by a loop over the file that knows nothing of topologies."""
    counts: Counter[str] = Counter()
    with gzip.open(ROOT / "examples/data/flights-2013-01.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            counts["departures"] += 1
            if row["tailnum"] == "NA":
                counts["departures.dead"] += 1
                continue
            if row["dep_delay"] != "NA":
                counts["carriers.delay"] += 1
            if row["dep_time"] == "NA":
                counts["departures.cancelled"] += 1
            elif row["dep_delay"] != "NA" and int(row["dep_delay"]) >= 60:
                counts["departures.late"] += 1
            else:
                counts["departures.on-time"] += 1
    return counts


def test_the_demo_counts_what_plain_python_counts() -> None:
    shown = run(sys.executable, "examples/flights.py")
    table = {name: int(count.replace(",", "")) for name, count in re.findall(r"│ (\S+) +│ +([\d,]+) │", shown)}
    assert table == flights_by_plain_python()
    assert table["departures"] == 27_004
    assert "tailnum: " in shown
    assert re.search(r"[\d,]+ messages a second", shown)
    assert re.search(r"p50 [\d.]+ ms, p99 [\d.]+ ms", shown)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_passes_the_check(name: str) -> None:
    run(sys.executable, "-m", "headrace", "check", f"examples/{name}")
