"""`Stages`: makes the actors of one stage after the other, and wires each to the mailboxes of those behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from logging import LoggerAdapter, getLogger
from typing import Any

from actors import (
    BatchWorker,
    Bound,
    Clock,
    Counts,
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
    Sieve,
    Sink,
    Supervision,
    Turn,
    Worker,
    by_result,
    to_all,
)
from engine.assembly.bounds import bound_of, sizes
from engine.assembly.connect import Connect, Ends
from engine.assembly.running import Running
from engine.assembly.sinks import Replies
from engine.assembly.tracing import PassOn, Traces, TracesStage
from topologies import Graph, Stage, encoder_of, refusal, unpublishable

Logger = LoggerAdapter[Any]
REPLIES = "replies"


class Stages:
    """Makes what the stages of one topology consist of; ask for the stages behind first or last, as you like."""

    def __init__(
        self, graph: Graph, connect: Connect, clock: Clock, context: Mapping[str, Any], tracing: Traces | None
    ) -> None:
        self.graph = graph
        self.connect = connect
        self.clock = clock
        self.context = context
        self.tracing = tracing
        self.ends = Ends(connect, tracing)
        self._mailboxes = {stage.name: _mailbox(stage, graph.name) for stage in graph.stages}

    def running(self, stage: Stage) -> Running:
        """The parts of a stage, wired and not yet running."""
        return self._publisher(stage) if stage.kind == "publisher" else self._handling(stage)

    def _pool(
        self, stage: Stage, make: Callable[[int], Any], mailbox: Mailbox[Message], behind: Sequence[Outlet] = ()
    ) -> Pool:
        policy, logger = one_for_one(self.graph.supervision), logger_of(self.graph, stage.name)
        size, mailboxes = sizes(stage.settings.max_workers)[0], [outlet.mailbox for outlet in behind]
        return Pool(stage.name, size, make, mailbox, mailboxes, policy, self.clock, logger, _sticky(stage))

    # -- publishers ------------------------------------------------------------------------------------------

    def _publisher(self, stage: Stage) -> Running:
        assert stage.endpoint is not None
        assert stage.destination is not None
        sink = self.ends.sink(stage.endpoint)
        destination = stage.destination.fill if stage.destination.fields else stage.endpoint.name
        return self._publishing(stage, self._mailboxes[stage.name], sink, destination)

    def _publishing(
        self, stage: Stage, mailbox: Mailbox[Message], sink: Sink, destination: str | Callable[[Any], str] | None
    ) -> Running:
        logger, settings, counts = logger_of(self.graph, stage.name), stage.settings, Counts()
        retries = Retries(stage.name, mailbox, self.clock, counts, logger, settings.retry)
        link = Link(self.clock, logger, stage.name, ping=getattr(sink, "ping", None))

        def make(number: int) -> PublishWorker:
            return PublishWorker(
                stage.name, mailbox, sink, encoder_of, unpublishable, retries, link, counts, destination, stage.key
            )

        return Running(stage, mailbox, self._pool(stage, make, mailbox), retries, counts, links=[link])

    def _replies(self, stage: Stage, ledgers: list[Ledger]) -> Running | None:
        """A publisher of answers, where a source of this stage may bring questions."""
        if stage.kind != "subscriber":
            return None
        sinks = {
            id(ledger): self.ends.sink(endpoint.reply_to(endpoint.name), replies=True)
            for endpoint, ledger in zip(stage.sources, ledgers, strict=True)
            if endpoint.capabilities.replies
        }
        if not sinks:
            return None
        name = f"{stage.name}/{REPLIES}"
        hidden = Stage(name=name, kind="publisher", place=stage.place, settings=type(stage.settings)())
        mailbox: Mailbox[Message] = Mailbox(hidden.settings.mailbox, f"{self.graph.name}.{name}")
        return self._publishing(hidden, mailbox, Replies(sinks, logger_of(self.graph, stage.name)), None)

    # -- subscribers and routers -----------------------------------------------------------------------------

    def _handling(self, stage: Stage) -> Running:
        handler, settings = stage.handler, stage.settings
        assert handler is not None
        mailbox, counts, logger = self._mailboxes[stage.name], Counts(), logger_of(self.graph, stage.name)
        dead_letters = self.ends.sink(settings.dead_letter) if settings.dead_letter is not None else None

        def renew(message: Message) -> None:
            if message.raw is not None:
                message.body = handler.decode(message.raw)

        duplicates = self._duplicates(stage)
        outlets = self._outlets(stage)
        late = stage.kind == "router" or not all(outlet.plain for outlet in outlets)
        traced = self.tracing.stage(self.graph.name, stage, late) if self.tracing is not None else None
        make_retries = Retries if traced is None else traced.retries
        retries = make_retries(stage.name, mailbox, self.clock, counts, logger, settings.retry, dead_letters, renew)
        ledgers = [self._ledger(stage, endpoint, dead_letters, duplicates, traced) for endpoint in stage.sources]
        intakes = [self._intake(stage, ledger, duplicates) for ledger in ledgers]
        replies = self._replies(stage, ledgers)
        if replies is not None:
            outlets.append(Outlet(REPLIES, replies.mailbox))
        make = self._worker(stage, outlets, retries, counts, traced, replies is not None)
        pool = self._pool(stage, make, mailbox, outlets)
        links = [ledger.link for ledger in ledgers] + ([duplicates.link] if duplicates is not None else [])
        return Running(stage, mailbox, pool, retries, counts, intakes, ledgers, links, duplicates, replies)

    def _worker(
        self,
        stage: Stage,
        outlets: Sequence[Outlet],
        retries: Retries,
        counts: Counts,
        traced: TracesStage | None,
        replies: bool,
    ) -> Callable[[int], Worker]:
        """How a worker of this stage is made, by its number."""
        assert stage.handler is not None
        handler, batch, timeout = stage.handler, stage.settings.batch, stage.settings.timeout
        mailbox, logger = self._mailboxes[stage.name], logger_of(self.graph, stage.name)
        kind: Callable[..., Worker] = Worker if batch is None else partial(BatchWorker, batch)

        turn = Turn()

        def make(number: int) -> Worker:
            outbox = Outbox(outlets)
            pass_on = _passing_on(stage, outbox, replies)
            bind: Callable[[Emit], Bound] = partial(handler.bind, context=self.context, logger=logger)
            within = timeout
            if traced is not None:  # the time in which it has to be done is a part of what is traced
                pass_on, within = traced.passing_on(pass_on), None
                bind = partial(traced.bind, bind, self.clock, timeout, batch is not None)
            name = f"{stage.name}/{number + 1}"
            return kind(name, mailbox, bind, outbox, pass_on, retries, counts, self.clock, timeout=within, turn=turn)

        return make

    def _duplicates(self, stage: Stage) -> Duplicates | None:
        given = stage.settings.deduplicate
        if given is None:
            return None
        seen = self.connect.seen(given, f"{self.graph.name}.{stage.name}", self.clock)
        link = Link(self.clock, logger_of(self.graph, stage.name), "duplicates", ping=getattr(seen, "ping", None))
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

    def _ledger(
        self,
        stage: Stage,
        endpoint: Endpoint,
        dead_letters: Sink | None,
        duplicates: Duplicates | None,
        traced: TracesStage | None,
    ) -> Ledger:
        group = f"{self.graph.name}.{stage.name}"
        source = self.ends.source(endpoint, group, bound_of(self.graph, stage))
        ledger = (Ledger if traced is None else traced.ledger)(
            endpoint.name,
            source,
            dead_letters or self.ends.sink(endpoint.dead_letter()),
            self.clock,
            logger_of(self.graph, stage.name),
            (endpoint.broker.system, endpoint.name),
            duplicates,
        )
        options = sorted(map(str, endpoint.options.items()))
        ledger.lineage = f"{self.graph.name} {stage.name} {endpoint.broker.system} {endpoint.name} {options}"
        return ledger

    def _intake(self, stage: Stage, ledger: Ledger, duplicates: Duplicates | None) -> Intake:
        assert stage.handler is not None
        codec, mailbox, most = stage.handler.codec, self._mailboxes[stage.name], stage.settings.max_body
        decode = (codec and codec.direct) or stage.handler.decode
        sieve = None
        if duplicates is not None and stage.identities is not None:
            sieve = Sieve(stage.name, ledger, duplicates, stage.identities(ledger.name))
        mailbox.attach()
        return Intake(stage.name, ledger, mailbox, decode, refusal, stage.lane, most, sieve=sieve)


def _passing_on(stage: Stage, outbox: Outbox, replies: bool) -> PassOn:
    """How results of a stage get into its outbox."""
    if stage.kind != "router":
        return to_all(outbox, replies=replies)
    numbers = {outlet.name: at for at, outlet in enumerate(outbox.outlets)}
    return by_result(outbox, {target: numbers[name] for target, name in stage.targets.items()}, stage.name)


def _mailbox(stage: Stage, topology: str) -> Mailbox[Message]:
    name, capacity = f"{topology}.{stage.name}", stage.settings.mailbox
    if stage.lane is None:
        return Mailbox(capacity, name)
    return Lanes(capacity, name, sizes(stage.settings.max_workers)[0] if _sticky(stage) else 1)


def _sticky(stage: Stage) -> bool:
    """Whether each key is to meet the same worker: where the worker has state of its own."""
    return stage.lane is not None and stage.handler is not None and stage.handler.stateful


def one_for_one(policy: Supervision) -> Supervision:
    """The policy within a stage: its workers crash one by one, whatever the strategy between the stages is."""
    return replace(policy, strategy="one_for_one")


def logger_of(graph: Graph, stage: str = "") -> Logger:
    """The logger of a topology, or of a stage of it: its lines name them."""
    fields = {"topology": graph.name} | ({"stage": stage} if stage else {})
    return LoggerAdapter(getLogger("headrace"), fields)
