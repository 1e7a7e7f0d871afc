"""What can be seen of a running stage at one moment: `Observed`, for `engine/health/health.py` to judge."""

from time import perf_counter

from actors import RUN, Link, Worker
from engine.assembly import Running
from engine.health.health import Observed
from topologies import Graph


def observe(graph: Graph, running: Running) -> Observed:
    """Read the gauges of a stage; costs nothing in proportion to its messages."""
    stage, ledgers, counts = running.stage, running.ledgers, running.counts
    workers = [worker for worker in running.pool.workers if isinstance(worker, Worker)]
    hands = [age for worker in workers if (age := _in_hand(worker)) is not None]
    store = running.duplicates.link if running.duplicates is not None else None
    away = [link for link in running.links if not link.connected and link is not store]
    forgetful = store is not None and not store.connected
    pending = [ledger.source.pending() for ledger in ledgers if ledger.link.connected]
    settings = stage.settings
    settled = sum(ledger.counts.settled + ledger.counts.returned + ledger.counts.received for ledger in ledgers)
    return Observed(
        graph.name,
        stage.name,
        stage.kind,
        _behind(graph, running),
        connected=not away and not forgetful,
        trouble=_trouble(away[0]) if away else None,
        duplicates=_trouble(store) if store is not None and forgetful else None,
        oldest=max((age for ledger in ledgers if (age := ledger.oldest) is not None), default=None),
        watermark=max((age for ledger in ledgers if (age := ledger.unmoved) is not None), default=None),
        open=sum(len(ledger.open) for ledger in ledgers),
        progress=settled + counts.handled + counts.published,
        waiting=len(running.mailbox),
        held=running.mailbox.held,
        retrying=len(running.retries),
        in_hand=max(hands, default=None),
        all_in_hand=min(hands) if hands and len(hands) == running.pool.size else None,
        blocked=any(_blocked(worker) for worker in workers),
        running=running.pool.running,
        settling=any(ledger.settling for ledger in ledgers),
        burial=next((why for ledger in ledgers if (why := ledger.unburied) is not None), None),
        paused=bool(running.intakes) and all(intake.paused for intake in running.intakes),
        pending=sum(filter(None, pending)) if any(count is not None for count in pending) else None,
        remade=sum(getattr(ledger.source, "remade", 0) for ledger in ledgers),
        inner=_inner(graph, stage.name),
        patience=max(settings.timeout or 0.0, settings.batch.wait if settings.batch is not None else 0.0),
        timeout=settings.timeout,
    )


def _behind(graph: Graph, running: Running) -> tuple[str, ...]:
    """The names of the stages that take what it makes, its publisher of answers among them."""
    names = [behind.name for behind in graph.downstream(running.stage.name)]
    return (*names, running.replies.stage.name) if running.replies is not None else tuple(names)


def _inner(graph: Graph, name: str) -> bool:
    """Whether no declaration has made it: a publisher of answers."""
    try:
        graph.stage(name)
    except KeyError:
        return True
    return False


def _in_hand(worker: Worker) -> float | None:
    """How long it has been at the message it is at; None where it has none, or waits for room behind."""
    since = worker.busy_since
    return None if since is None or len(worker.outbox) >= RUN else perf_counter() - since


def _blocked(worker: Worker) -> bool:
    made = len(worker.outbox)
    return made >= RUN or (made > 0 and worker.busy_since is None)


def _trouble(link: Link) -> str:
    """What is not connected, since when, and what its broker said last."""
    since = f" for {link.clock.now() - link.away:.0f} s" if link.away is not None else ""
    return f"{link.what} is out of reach{since}, {link.error or 'no answer yet'}"
