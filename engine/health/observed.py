"""`Observed`: what can be seen of a running stage at one moment, for `health.py` to judge."""

from dataclasses import dataclass
from time import perf_counter

from actors import RUN, Link, Worker
from engine.assembly.running import Running
from topologies import Graph


@dataclass(frozen=True, slots=True)
class Observed:
    """What can be seen of one stage at one moment, without a judgement. Times are in seconds."""

    topology: str
    stage: str
    kind: str
    behind: tuple[str, ...] = ()
    """The stages that take what it makes."""
    connected: bool = True
    trouble: str | None = None
    """What is not connected, and what its broker said last."""
    tried: bool = True
    """Whether what is not connected has been tried at all: before its workers have started, nobody does."""
    duplicates: str | None = None
    """Why what was done cannot be looked up."""
    oldest: float | None = None
    watermark: float | None = None
    """Since the oldest unsettled message of its own sources became the oldest; None where none is open."""
    open: int = 0
    progress: int = 0
    """Rises whenever anything goes on."""
    waiting: int = 0
    """Messages in its mailbox."""
    held: int = 0
    """Messages taken from its mailbox that are not done, those that wait for a retry among them."""
    retrying: int = 0
    in_hand: float | None = None
    """How long the slowest of its handlers has had the message that it is at."""
    all_in_hand: float | None = None
    """The same of the fastest, where every worker has one."""
    blocked: bool = False
    """Whether a worker has results for which there is no room behind."""
    running: bool = True
    """Whether any worker has started."""
    settling: bool = False
    """Whether its source is being told of what is complete."""
    burial: str | None = None
    """Why a dead letter is not confirmed."""
    paused: bool = False
    pending: int | None = None
    """Messages that its sources could deliver at once, as far as they know."""
    remade: int = 0
    """Times that its sources made their consumers anew because they did not move."""
    inner: bool = False
    """Whether it is a part of another stage, and told of by that one alone."""
    patience: float = 0.0
    """Seconds that it may stand still because it was declared so: a timeout, a batch's wait."""
    timeout: float | None = None

    @property
    def work(self) -> bool:
        """Whether there is anything to go on with."""
        return bool(self.open or self.waiting or self.held) or (bool(self.pending) and not self.paused)


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
        tried=not away or not all(link.untried for link in away),
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
