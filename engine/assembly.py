"""From a graph to actors: mailboxes, pools, intakes, ledgers, and the supervision tree over them, before any runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from logging import LoggerAdapter, getLogger
from typing import Any, Protocol

from actors import (
    RUN,
    BatchWorker,
    Bound,
    Child,
    Clock,
    Counts,
    Deduplicate,
    Duplicates,
    Emit,
    Endpoint,
    Intake,
    Lanes,
    Ledger,
    Link,
    Mailbox,
    Message,
    Outbox,
    Outlet,
    Pool,
    PublishWorker,
    Retries,
    Seen,
    SeenHere,
    Sieve,
    Sink,
    Sizer,
    Sizing,
    Source,
    Supervision,
    Supervisor,
    Worker,
    by_result,
    to_all,
)
from engine.sinks import OnDemand, Replies
from engine.tracing import Traces, TracesStage
from topologies import Graph, Settings, Stage, Workers, encoder_of, refusal, unpublishable

Logger = LoggerAdapter[Any]
REPLIES = "replies"
AUTO = (1, 64)
"""The bounds of a pool with `max_workers="auto"`."""


class Connect(Protocol):
    """How endpoints become sources and sinks: by their own brokers, or all in memory for a test."""

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source: ...

    def sink(self, endpoint: Endpoint) -> Sink: ...

    def seen(self, given: Deduplicate, name: str, clock: Clock) -> Seen: ...


class ByBroker:
    """Each endpoint by its own broker."""

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source:
        return endpoint.source(group, bound)

    def sink(self, endpoint: Endpoint) -> Sink:
        return endpoint.sink()

    def seen(self, given: Deduplicate, name: str, clock: Clock) -> Seen:
        if given.store is None:
            return SeenHere(given.window, given.most, clock)
        return given.store.seen(name, given.window, given.most)


@dataclass(slots=True, eq=False)
class Running:
    """One stage as it runs."""

    stage: Stage
    mailbox: Mailbox[Message]
    pool: Pool
    retries: Retries
    counts: Counts
    intakes: list[Intake] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    duplicates: Duplicates | None = None
    """Where it is not to handle again what was done."""
    replies: "Running | None" = None
    """Its publisher of answers, where a source of it may bring questions."""
    sizer: Sizer | None = None
    """Of a pool that finds its own size."""

    def __post_init__(self) -> None:
        self.pool.supervisor.on_crash = self.counts.faults.crashed

    def __repr__(self) -> str:
        return f"<{self.stage.name}: {self.pool!r}, {self.mailbox!r}, {len(self.retries)} waiting to be retried>"


class Assembly:
    """All actors of one topology, not yet running.

    Children stand in the order in which they start: downstream first. Stopped in reverse, the sources are the first.
    """

    def __init__(
        self,
        graph: Graph,
        connect: Connect,
        clock: Clock,
        context: Mapping[str, Any],
        tracing: Traces | None = None,
    ) -> None:
        self.graph = graph
        self.tracing = tracing
        """None where nothing is traced: then nothing of it is in the way of a message."""
        self.connect = connect
        self.clock = clock
        self.context = context
        self.stages: dict[str, Running] = {}
        self.sinks: list[Sink] = []
        self._mailboxes = {stage.name: _mailbox(stage, graph.name) for stage in graph.stages}
        children = [self._child(stage) for stage in reversed(graph.stages)]
        self.supervisor = Supervisor(graph.name, children, graph.supervision, clock, self.logger(""))

    def logger(self, stage: str) -> Logger:
        """The logger of a stage: its lines name topology and stage."""
        fields = {"topology": self.graph.name} | ({"stage": stage} if stage else {})
        return LoggerAdapter(getLogger("headrace"), fields)

    @property
    def intakes(self) -> list[Intake]:
        return [intake for running in self.stages.values() for intake in running.intakes]

    @property
    def ledgers(self) -> list[Ledger]:
        return [ledger for running in self.stages.values() for ledger in running.ledgers]

    def _child(self, stage: Stage) -> Child:
        running = self._publisher(stage) if stage.kind == "publisher" else self._handling(stage)
        self.stages[stage.name] = running
        return self._supervised(running)

    def _supervised(self, running: Running) -> Child:
        """One child of the topology's supervisor: the pool itself, or a supervisor of ledgers, pool and intakes."""
        pool, name = running.pool, running.stage.name
        low, high = sizes(running.stage.settings.max_workers)
        if not running.intakes and low == high:
            return Child(name, pool.run, pool.stop, cut=pool.cut)
        children = [Child(f"{name}/settle {ledger.name}", ledger.run) for ledger in running.ledgers]
        if running.replies is not None:
            answering = running.replies.pool
            children.append(Child(answering.name, answering.run, answering.stop, cut=answering.cut))
        children.append(Child(f"{name}/pool", pool.run, pool.stop, cut=pool.cut))
        children += [Child(f"{name}/fetch {intake.ledger.name}", intake.run) for intake in running.intakes]
        if low < high:
            running.sizer = Sizer(pool, Sizing(low, high, low), running.counts, self.clock)
            children.append(Child(f"{name}/size", running.sizer.run))
        # A part of it that gives up, or crashes, makes the stage crash: one level less to exhaust before the top knows.
        policy = replace(one_for_one(self.graph.supervision), intensity=0)
        supervisor = Supervisor(name, children, policy, self.clock, self.logger(name))
        return Child(name, supervisor.run, supervisor.stop, cut=supervisor.cut)

    def _sink(self, endpoint: Endpoint, replies: bool = False) -> Sink:
        sink: Sink = OnDemand(self.connect.sink(endpoint))
        if self.tracing is not None:
            sink = self.tracing.sink(sink, endpoint, replies)
        self.sinks.append(sink)
        return sink

    # -- publishers ------------------------------------------------------------------------------------------

    def _publisher(self, stage: Stage) -> Running:
        assert stage.endpoint is not None
        assert stage.destination is not None
        sink = self._sink(stage.endpoint)
        destination = stage.destination.fill if stage.destination.fields else stage.endpoint.name
        return self._publishing(stage, self._mailboxes[stage.name], sink, destination)

    def _publishing(
        self, stage: Stage, mailbox: Mailbox[Message], sink: Sink, destination: str | Callable[[Any], str] | None
    ) -> Running:
        logger, settings, counts = self.logger(stage.name), stage.settings, Counts()
        retries = Retries(stage.name, mailbox, self.clock, counts, logger, settings.retry)
        link = Link(self.clock, logger, stage.name)

        def make(number: int) -> PublishWorker:
            return PublishWorker(
                stage.name, mailbox, sink, encoder_of, unpublishable, retries, link, counts, destination, stage.key
            )

        pool = self._pool(stage, make, mailbox, ())
        return Running(stage, mailbox, pool, retries, counts, links=[link])

    # -- subscribers and routers -----------------------------------------------------------------------------

    def _handling(self, stage: Stage) -> Running:
        handler, settings = stage.handler, stage.settings
        assert handler is not None
        logger, mailbox, counts = self.logger(stage.name), self._mailboxes[stage.name], Counts()
        dead_letters = self._sink(settings.dead_letter) if settings.dead_letter is not None else None

        def renew(message: Message) -> None:
            if message.raw is not None:
                message.body = handler.decode(message.raw)

        duplicates = self._duplicates(stage)
        outlets = self._outlets(stage)
        late = stage.kind == "router" or not all(outlet.plain for outlet in outlets)
        traced = self.tracing.stage(self.graph.name, stage, late) if self.tracing is not None else None
        make_retries = Retries if traced is None else traced.retries
        retries = make_retries(stage.name, mailbox, self.clock, counts, logger, settings.retry, dead_letters, renew)
        ledgers, intakes = self._sources(stage, dead_letters, duplicates, traced)
        replies = self._replies(stage, ledgers)
        if replies is not None:
            outlets.append(Outlet(REPLIES, replies.mailbox))

        batch = settings.batch
        make_worker: Callable[..., Worker] = Worker if batch is None else partial(BatchWorker, batch)

        def make(number: int) -> Worker:
            outbox = Outbox(outlets)
            if stage.kind == "router":
                numbers = {outlet.name: at for at, outlet in enumerate(outlets)}
                targets = {target: numbers[name] for target, name in stage.targets.items()}
                pass_on = by_result(outbox, targets, stage.name)
            else:
                pass_on = to_all(outbox, replies=replies is not None)
            bind: Callable[[Emit], Bound] = partial(handler.bind, context=self.context, logger=logger)
            timeout = settings.timeout
            if traced is not None:
                pass_on, timeout = traced.passing_on(pass_on), None
                bind = partial(traced.bind, bind, self.clock, settings.timeout, batch is not None)
            return make_worker(
                f"{stage.name}/{number + 1}",
                mailbox,
                bind,
                outbox,
                pass_on,
                retries,
                counts,
                self.clock,
                timeout=timeout,
            )

        pool = self._pool(stage, make, mailbox, [outlet.mailbox for outlet in outlets])
        links = [ledger.link for ledger in ledgers] + ([duplicates.link] if duplicates is not None else [])
        return Running(stage, mailbox, pool, retries, counts, intakes, ledgers, links, duplicates, replies)

    def _duplicates(self, stage: Stage) -> Duplicates | None:
        given = stage.settings.deduplicate
        if given is None:
            return None
        seen = self.connect.seen(given, f"{self.graph.name}.{stage.name}", self.clock)
        link = Link(self.clock, self.logger(stage.name), "duplicates")
        return Duplicates(seen, link, stage.settings.mailbox)

    def _outlets(self, stage: Stage) -> list[Outlet]:
        assert stage.handler is not None
        made = stage.handler.returns
        return [
            Outlet(
                behind.name,
                self._mailboxes[behind.name],
                behind.handler.adapter(made) if behind.handler is not None else None,
                behind.lane,
            )
            for behind in self.graph.downstream(stage.name)
        ]

    def _sources(
        self,
        stage: Stage,
        dead_letters: Sink | None,
        duplicates: Duplicates | None,
        traced: TracesStage | None,
    ) -> tuple[list[Ledger], list[Intake]]:
        assert stage.handler is not None
        mailbox, settings, logger = self._mailboxes[stage.name], stage.settings, self.logger(stage.name)
        codec = stage.handler.codec
        decode = (codec and codec.direct) or stage.handler.decode
        ledgers, intakes = [], []
        bound = bound_of(self.graph, stage) if stage.sources else 0
        for endpoint in stage.sources:
            group = f"{self.graph.name}.{stage.name}"
            source = self.connect.source(endpoint, group, bound)
            if self.tracing is not None:
                source = self.tracing.source(source, endpoint, group)
            make_ledger = Ledger if traced is None else traced.ledger
            ledger = make_ledger(
                endpoint.name,
                source,
                dead_letters or self._sink(endpoint.dead_letter()),
                self.clock,
                logger,
                (endpoint.broker.system, endpoint.name),
                duplicates,
            )
            options = sorted(map(str, endpoint.options.items()))
            ledger.lineage = f"{self.graph.name} {stage.name} {endpoint.broker.system} {endpoint.name} {options}"
            sieve = None
            if duplicates is not None and stage.identities is not None:
                sieve = Sieve(stage.name, ledger, duplicates, stage.identities(endpoint.name))
            mailbox.attach()
            ledgers.append(ledger)
            intakes.append(
                Intake(stage.name, ledger, mailbox, decode, refusal, stage.lane, settings.max_body, sieve=sieve)
            )
        return ledgers, intakes

    def reached(self, stage: Stage) -> list[str]:
        """A stage and all that are behind it, however far, by name."""
        return reached_from(self.graph, stage)

    def _replies(self, stage: Stage, ledgers: list[Ledger]) -> Running | None:
        """A publisher of answers, where a source of this stage may bring questions."""
        if stage.kind != "subscriber":
            return None
        sinks = {
            id(ledger): self._sink(endpoint.reply_to(endpoint.name), replies=True)
            for endpoint, ledger in zip(stage.sources, ledgers, strict=True)
            if endpoint.capabilities.replies
        }
        if not sinks:
            return None
        name = f"{stage.name}/{REPLIES}"
        hidden = Stage(name=name, kind="publisher", place=stage.place, settings=type(stage.settings)())
        mailbox: Mailbox[Message] = Mailbox(hidden.settings.mailbox, f"{self.graph.name}.{name}")
        return self._publishing(hidden, mailbox, Replies(sinks, self.logger(stage.name)), None)

    def _pool(self, stage: Stage, make: Callable[[int], Any], mailbox: Mailbox[Message], behind: Any) -> Pool:
        policy, logger = one_for_one(self.graph.supervision), self.logger(stage.name)
        size = sizes(stage.settings.max_workers)[0]
        return Pool(stage.name, size, make, mailbox, behind, policy, self.clock, logger, _sticky(stage))


def _mailbox(stage: Stage, topology: str) -> Mailbox[Message]:
    name, capacity = f"{topology}.{stage.name}", stage.settings.mailbox
    if stage.lane is None:
        return Mailbox(capacity, name)
    return Lanes(capacity, name, sizes(stage.settings.max_workers)[0] if _sticky(stage) else 1)


def reached_from(graph: Graph, stage: Stage) -> list[str]:
    """A stage and all that are behind it, however far, by name."""
    reached, names = {stage.name}, [stage.name]
    for name in names:
        new = [behind.name for behind in graph.downstream(name) if behind.name not in reached]
        reached.update(new)
        names.extend(new)
    return names


def bound_of(graph: Graph, stage: Stage) -> int:
    """The most messages from one source that this stage and all behind it hold when everything is full."""
    settings = [graph.stage(name).settings for name in reached_from(graph, stage)]
    waiting = stage.settings.mailbox if stage.settings.deduplicate is not None else 0
    return waiting + sum(each.mailbox + max(min(RUN, each.mailbox), _at_work(each)) for each in settings)


def _at_work(settings: Settings) -> int:
    """How many messages all workers of a stage can be at once at."""
    return sizes(settings.max_workers)[1] * (settings.batch.size if settings.batch is not None else 1)


def sizes(workers: Workers) -> tuple[int, int]:
    """The least and the most workers of a pool."""
    if workers == "auto":
        return AUTO
    return workers if isinstance(workers, tuple) else (workers, workers)


def one_for_one(policy: Supervision) -> Supervision:
    """The policy within a stage: its workers crash one by one, whatever the strategy between the stages is."""
    return replace(policy, strategy="one_for_one")


def _sticky(stage: Stage) -> bool:
    """Whether each key is to meet the same worker: where the worker has state of its own."""
    return stage.lane is not None and stage.handler is not None and stage.handler.stateful
