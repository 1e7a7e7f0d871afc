"""`StageStatus`: how one stage is, as a record to print, to draw or to send."""

from dataclasses import dataclass

from engine.assembly.running import Running


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage at one moment. Counts are messages since the start; ages and latencies are seconds."""

    topology: str
    stage: str
    kind: str
    workers: int
    busy: int
    depth: int
    capacity: int
    held: int
    waiting_for_retry: int
    received: int
    handled: int
    published: int
    failed: int
    retried: int
    dead: int
    dropped: int
    settled: int
    returned: int
    redelivered: int
    duplicates: int
    restarts: int
    connected: bool
    oldest: float | None
    latency_p50: float | None
    latency_p99: float | None
    paused: bool = False
    """It fetches nothing, because somebody said so."""


def status_of(topology: str, running: Running) -> StageStatus:
    """Read a stage's counters and gauges."""
    counts, ledgers = running.counts, running.ledgers
    latencies = [each for ledger in ledgers if (each := ledger.latency.percentiles()) is not None]
    ages = [age for ledger in ledgers if (age := ledger.oldest) is not None]
    return StageStatus(
        topology=topology,
        stage=running.stage.name,
        kind=running.stage.kind,
        workers=running.pool.size,
        busy=running.pool.busy,
        depth=len(running.mailbox),
        capacity=running.mailbox.capacity,
        held=running.mailbox.held,
        waiting_for_retry=len(running.retries),
        received=sum(ledger.counts.received for ledger in ledgers),
        handled=counts.handled,
        published=counts.published,
        failed=counts.failed,
        retried=counts.retried,
        dead=sum(ledger.counts.dead for ledger in ledgers),
        dropped=counts.dropped,
        settled=sum(ledger.counts.settled for ledger in ledgers),
        returned=sum(ledger.counts.returned for ledger in ledgers),
        redelivered=sum(ledger.counts.redelivered for ledger in ledgers),
        duplicates=sum(ledger.counts.duplicates for ledger in ledgers),
        restarts=running.pool.supervisor.restarts,
        connected=all(link.connected for link in running.links),
        oldest=max(ages, default=None),
        latency_p50=max((p50 for p50, _ in latencies), default=None),
        latency_p99=max((p99 for _, p99 in latencies), default=None),
        paused=any(intake.paused for intake in running.intakes),
    )
