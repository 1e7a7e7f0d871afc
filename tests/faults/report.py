"""docs/reliability.md: the results of a whole fault matrix as a page, written by the run that made them."""

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.run import WORKERS, Result
from tests.servers.programs import KAFKA_VERSION, nats_server, rabbitmqctl, redis_server

NAMES = {"redis": "Redis streams", "nats": "NATS JetStream", "rabbitmq": "RabbitMQ quorum queues", "kafka": "Kafka"}
CLIENTS = ("redis", "nats-py", "aiormq", "aiokafka")
HEAD = (
    "fault",
    "messages",
    "what happened",
    "lost",
    "spurious",
    "corrupted",
    "out of order",
    "twice, %",
    "longest stall, s",
    "recovery, s",
)

OPENING = """\
# Reliability

Written by `make faults`; do not edit it. What was measured is in the tables, how it was measured below them, and what
is promised in [delivery](delivery.md).

{machine}

{verdict}
"""

PEERS = """\
## The same bridge in FastStream {version}

Written for it in [its own bridge](../tests/faults/peer_bridge.py), in two settings: `default`, and `safest`,
the best that it offers against loss. Under the same harness, with fewer messages, as it is slower; order by key it does
not promise.

{table}
"""

PARTIAL = "\n\n**This is a part of the matrix: {missing} of its cells were not run.**"

METHOD = """\
## How it is measured

A bridge ([`tests/faults/bridge.py`](../tests/faults/bridge.py)) runs as a process of its own: source, a subscriber
with `key=` and {workers} workers whose handler waits a little at random, publisher. Producer and reader are the
brokers' own client libraries and no code of Headrace. A body is a function of its id, and so is whether it is poison.

- *Owed* is what the broker confirmed to the producer. Within 60 seconds after the last fault everything owed has to
  be at the destination, or, if it is poison, a dead letter; then a message more has to pass, and the engine has to
  drain.
- *Lost*: owed and nowhere. *Spurious*: there, though nobody published it, or though it is poison. *Corrupted*: not
  what its id asks for (a dead letter: byte for byte), or under another key. *Out of order*: there for the first time
  after a later one of its key; a dash where order by key is not promised: several engines on a broker that does not
  partition by key, or a destination that refuses messages.
- *Twice*: arrivals beyond the first, in percent of what was owed.
- *Longest stall*: the longest time without an arrival, the outage itself included. *Recovery*: from the moment when
  all was well again (a killed engine: from its death) to the next arrival; the longest of a run.
- A run whose faults did not happen fails, however well all arrived: *what happened* is counted where it happened.

RabbitMQ's queue has `single_active_consumer`, and each engine of Kafka's group its own `group_instance_id`, as
[brokers](brokers.md) advises where order matters. `mixed` has other engines join and leave only on these two. The clock
that jumps is that of the engine's process, where `time.time` is patched; that of the machine stays. What destinations
refuse with: RabbitMQ a full queue (`reject-publish`), Redis no memory (`OOM`), NATS a full stream, Kafka messages that
are too large.

The messages of a run are published while the engine handles them, at a pace that lets the faults meet full mailboxes;
so these are no figures of speed.

| fault | what is done |
|---|---|
{faults}

## To reproduce it

```text
make faults                                                    # all of it; about an hour
.venv/bin/python -m tests.faults --broker kafka --fault mixed --messages 100000 --seeds 5
.venv/bin/python -m tests.faults --broker nats --fault kill --seed 3    # one run; when what happens hangs on the seed
```
"""


def write(path: Path, results: Sequence[Result], missing: int = 0) -> None:
    """Write the page, whole or not at all. Where cells of the matrix are missing it says how many."""
    peers = [result for result in results if result.peer]
    results = [result for result in results if not result.peer]
    tables = [
        f"## {NAMES[broker]}\n\n" + table(list(of_broker))
        for broker, of_broker in groupby(results, key=lambda result: result.broker)
    ]
    tables += [PEERS.format(version=version("faststream"), table=_peers(peers))] if peers else []
    faults = "\n".join(f"| {fault.name} | {fault.says} |" for fault in FAULTS.values())
    opening = OPENING.format(
        machine=_machine(results), verdict=_verdict(results) + (PARTIAL.format(missing=missing) if missing else "")
    )
    page = "\n".join([opening, *tables, METHOD.format(workers=WORKERS, faults=faults)])
    draft = path.with_suffix(".draft")
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)


def table(results: Sequence[Result]) -> str:
    """The rows of one broker: a fault a row, its seeds together."""
    rows = ["| " + " | ".join(HEAD) + " |", "|---|---:|---|" + "---:|" * (len(HEAD) - 3)]
    for fault, of_fault in groupby(results, key=lambda result: result.fault):
        cells = _cells(fault, list(of_fault))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _cells(fault: str, results: Sequence[Result]) -> Iterable[str]:
    made: Counter[str] = Counter()
    for result in results:
        made.update({what: result.made.get(what, 0) for what in FAULTS[fault].wanted})
    failed = [result for result in results if result.problems]
    verdicts = [result.verdict for result in results]
    owed = sum(verdict.owed for verdict in verdicts)
    recoveries = [result.recovery for result in results if result.recovery is not None]
    inversions = sum(len(verdict.inversions) for verdict in verdicts)
    return (
        f"**{fault}: {len(failed)} of {len(results)} failed**" if failed else fault,
        f"{sum(result.messages for result in results):,}",
        ", ".join(f"{count:,} {what}" for what, count in made.items()) or "–",
        str(sum(len(verdict.missing) for verdict in verdicts)),
        str(sum(len(verdict.spurious) for verdict in verdicts)),
        str(sum(len(verdict.corrupted) for verdict in verdicts)),
        str(inversions) if all(result.ordered for result in results) else "–",
        f"{100 * sum(verdict.duplicates for verdict in verdicts) / max(1, owed):.2f}",
        f"{max(result.stall for result in results):.1f}",
        f"{max(recoveries):.1f}" if recoveries else "–",
    )


def _peers(results: Sequence[Result]) -> str:
    """The rows of another framework: a broker, a setting and a fault a row."""
    head = (
        "broker",
        "setting",
        "fault",
        "messages",
        "lost",
        "twice, %",
        "longest stall, s",
        "recovery, s",
        "otherwise",
    )
    rows = ["| " + " | ".join(head) + " |", "|---|---|---|" + "---:|" * 5 + "---|"]
    for result in sorted(results, key=lambda each: (list(NAMES).index(each.broker), each.peer)):
        lost = len(result.verdict.missing)
        problems = [problem for problem in result.problems if "missing: " not in problem]
        cells = (
            NAMES[result.broker],
            result.peer,
            result.fault,
            f"{result.messages:,}",
            f"**{lost:,}**" if lost else "0",
            f"{result.verdict.duplicated:.2f}",
            f"{result.stall:.1f}",
            "–" if result.recovery is None else f"{result.recovery:.1f}",
            "; ".join(problems).replace("|", "/") or "–",
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _verdict(results: Sequence[Result]) -> str:
    failed = [result for result in results if result.problems]
    messages = sum(result.messages for result in results)
    said = f"{len(results)} runs, {messages:,} messages: {len(results) - len(failed)} passed, {len(failed)} failed."
    if not failed:
        return f"**{said}**"
    lines = [
        f"- {result.broker} × {result.fault}, seed {result.seed}: {'; '.join(result.problems)}" for result in failed
    ]
    return "\n".join([f"**{said}**", "", *lines])


def _machine(results: Sequence[Result]) -> str:
    seeds = sorted({result.seed for result in results})
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    servers = (
        f"Redis {_said(redis_server(), '--version').split('v=')[-1].split()[0]}",
        f"NATS {_said(nats_server(), '--version').split('v')[-1]}",
        f"RabbitMQ {_said(rabbitmqctl(), 'version')}",
        f"Kafka {KAFKA_VERSION}",
    )
    clients = ", ".join(f"{client} {version(client)}" for client in CLIENTS)
    return (
        f"{datetime.now(UTC):%d %B %Y}, Headrace {version('headrace')}, Python {platform.python_version()} on "
        f"{platform.system()}, {os.cpu_count()} cores shared with the servers and the producer, {memory:.0f} GB; "
        f"{', '.join(servers)}, each one node; {clients}. Seeds {', '.join(map(str, seeds))}."
    )


def _said(program: Path, *arguments: str) -> str:
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
