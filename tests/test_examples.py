"""Every example runs as a process of its own, as its reader would run it; what it shows is checked."""

import csv
import gzip
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.name != "showing.py")


def run(*command: str, code: int = 0, **servers: str) -> str:
    environment = os.environ | servers
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False, env=environment)
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


SHOWN = {
    "bridge": [f'customer-{n % 2} {{"id":{n},"customer":"customer-{n % 2}",' for n in range(1, 6)],
    "gateway": [
        'billing.events invoice.paid {"number":0}',
        'billing.events invoice.sent {"number":4}',
        'shipping.events  {"specversion":"1.0","id":"e1","type":"parcel.sent","source":"shop"',
        'alerts.events  {"id":"e2","kind":"alarm.fire"',
        *(f'audit.events  {{"id":"e{n}"' for n in range(5)),
    ],
    "priority_routing": ["urgent.acme [2]", "refunds [3]", "acme.orders [1, 2]", "blue.orders [5]"],
    "batch_metrics": ["sensor-0 metrics 125 batches", "sensor-1 metrics 124 batches", "dead: sensor-1 is 'unknown'"],
    "tracing": [
        'arrived: {"id":1,"priority":"high","tenant":"acme"}',
        *("  " * depth + name + "\n" for depth, name in enumerate(("checkout", "send orders", "process orders"))),
        "      look up the customer\n",
        "      process by_priority\n        send orders.urgent\n",
        "      ack orders\n",
    ],
    "payments": ["3 put back, 1 left", "done: [0, 1, 3]", "dead: the account is closed after 1 tries"],
    "duplicates": ["booked: [('inv-1', 30.0), ('inv-2', 5.5), ('inv-3', 12.0)]", "left out: 4"],
    "model_calls": ["50 answers, at most 5 calls at once"],
    "dependencies": [
        *(
            f'"id":{n},"total":100.0,"price":{121.0 if n % 2 else 119.0},"tenant":"{"be" if n % 2 else "de"}"'
            for n in range(4)
        ),
        "4 calls timed",
    ],
}
"""Of each example: parts of lines that it prints, on whatever brokers it runs."""


@pytest.mark.parametrize("name", SHOWN)
def test_every_example_does_what_it_says_on_the_embedded_broker(name: str) -> None:
    shown = run(sys.executable, f"examples/{name}.py")
    missing = [part for part in SHOWN[name] if part not in shown]
    assert not missing, shown


@pytest.mark.parametrize("name", SHOWN)
def test_every_example_does_the_same_on_real_servers(
    name: str, redis_server: Redis, nats_server: Nats, rabbitmq_server: RabbitMQ, kafka_server: Kafka
) -> None:
    shown = run(
        sys.executable,
        f"examples/{name}.py",
        REDIS_URL=redis_server.url,
        NATS_URL=nats_server.url,
        RABBITMQ_URL=rabbitmq_server.url,
        KAFKA_URL=kafka_server.url,
    )
    missing = [part for part in SHOWN[name] if part not in shown]
    assert not missing, shown


def test_no_example_is_forgotten() -> None:
    assert {Path(name).stem for name in EXAMPLES} == set(SHOWN) | {"flights"}
