"""`Engine`: topologies brought to life, kept running, and drained."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from logging import getLogger
from typing import Any

from anyio import CancelScope, Event, create_task_group, move_on_after, sleep

from actors import Child, Clock, DrainTimeout, IntensityExceeded, Supervision, Supervisor, TopologyError
from engine.assembly import Assembly, ByBroker, Connect, Running
from engine.status import StageStatus, status_of
from topologies import Graph, Lifespan

logger = getLogger("headrace")
QUIET = 1.0
"""Seconds without a message after which a source that cannot say what is pending counts as empty."""
CLOSING = 10.0
"""Seconds that sources and sinks may take to close."""


class Engine:
    """Runs topologies: every stage a pool of supervised actors behind a bounded mailbox.

    Stages start downstream first. Draining goes the other way: fetching stops, what is there flows out, receipts
    settle; what has not after `drain` seconds is given back to its broker, unacknowledged.
    """

    def __init__(
        self,
        *graphs: Graph,
        drain: float = 25.0,
        clock: Clock | None = None,
        connect: Connect | None = None,
    ) -> None:
        self.graphs = graphs
        self.patience = drain
        self.clock = clock or Clock()
        self.connect: Connect = connect or ByBroker()
        self.contexts: list[dict[str, Any]] = [{} for _ in graphs]
        self.assemblies: list[Assembly] = []
        self.started = Event()
        self._draining = Event()
        self._left: dict[str, int] = {}
        self._late = False
        self._root: Supervisor | None = None

    @property
    def draining(self) -> bool:
        """Whether it has been asked to drain."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Ask it to fetch nothing more, finish what it has, and end. Returns at once; `run` returns when done."""
        self._draining.set()

    async def run(self, *, burst: bool = False) -> None:
        """Run until drained; with `burst`, until no source has anything left.

        Raises `IntensityExceeded` when the supervisors gave up, `DrainTimeout` when the drain was not done in time,
        `TopologyError` when a lifespan leaves something missing that a handler asks for. Whatever happens, what is
        unfinished is given back before it returns.
        """
        async with AsyncExitStack() as stack:
            for graph, context in zip(self.graphs, self.contexts, strict=True):
                for lifespan in graph.lifespans:
                    await stack.enter_async_context(_entered(lifespan, context))
                _check_context(graph, context)
            self.assemblies = [
                Assembly(graph, self.connect, self.clock, context)
                for graph, context in zip(self.graphs, self.contexts, strict=True)
            ]
            try:
                await self._supervise(burst)
            finally:
                with CancelScope(shield=True):
                    await self._close()
        if self._late:
            raise DrainTimeout(self.patience, self._left)

    async def _supervise(self, burst: bool) -> None:
        children = [Child(each.graph.name, each.supervisor.run, each.supervisor.stop) for each in self.assemblies]
        # A topology that gave up is not restarted here: the process ends, and the machine's own supervisor decides.
        self._root = Supervisor("engine", children, Supervision(intensity=0), self.clock, logger)
        gave_up: IntensityExceeded | None = None
        async with create_task_group() as tasks:
            tasks.start_soon(self.clock.run)
            tasks.start_soon(self._drain_when_asked)
            if burst:
                tasks.start_soon(self._drain_when_empty)
            try:
                await self._root.run(self.started.set)
            except IntensityExceeded as error:
                gave_up = _first(error)
            tasks.cancel_scope.cancel()
        if gave_up is not None:
            raise gave_up

    async def _drain_when_asked(self) -> None:
        await self._draining.wait()
        await self.started.wait()
        logger.info("draining: at most %g s", self.patience)
        until = self.clock.now() + self.patience
        for running in self.running:
            running.retries.drain(until)
        for assembly in self.assemblies:
            for intake in assembly.intakes:
                intake.stop()
        await sleep(self.patience)
        self._late = True
        assert self._root is not None
        await self._root.stop()

    async def _drain_when_empty(self) -> None:
        await self.started.wait()
        quiet = self.clock.now()
        received = -1
        while not self.draining:
            await sleep(0.01)
            ledgers = [ledger for assembly in self.assemblies for ledger in assembly.ledgers]
            total = sum(ledger.counts.received for ledger in ledgers)
            if total != received:
                received, quiet = total, self.clock.now()
            if any(ledger.open or not ledger.link.connected for ledger in ledgers):
                continue
            pending = [ledger.source.pending() for ledger in ledgers]
            if any(pending) or (None in pending and self.clock.now() - quiet < QUIET):
                continue
            self.drain()

    async def _close(self) -> None:
        with move_on_after(CLOSING):
            for assembly in self.assemblies:
                for name, running in assembly.stages.items():
                    for ledger in running.ledgers:
                        if left := await ledger.give_back():
                            self._left[name] = self._left.get(name, 0) + left
                        await ledger.source.close()
                for sink in assembly.sinks:
                    await sink.close()

    @property
    def running(self) -> Sequence[Running]:
        """Every stage as it runs, sources first."""
        return [stage for assembly in self.assemblies for stage in reversed(assembly.stages.values())]

    def status(self) -> list[StageStatus]:
        """How every stage is, sources first."""
        return [
            status_of(assembly.graph.name, running)
            for assembly in self.assemblies
            for running in reversed(assembly.stages.values())
        ]

    async def scale(self, topology: str, stage: str, workers: int) -> None:
        """Have that many workers in the pool of a stage. KeyError where there is no such stage."""
        for assembly in self.assemblies:
            if assembly.graph.name == topology:
                await assembly.stages[stage].pool.resize(workers)
                return
        raise KeyError(topology)

    def __repr__(self) -> str:
        names = ", ".join(graph.name for graph in self.graphs)
        state = "draining" if self.draining else "running" if self.started.is_set() else "not started"
        return f"<Engine of {names}: {state}>"


def _first(error: IntensityExceeded) -> IntensityExceeded:
    """Of supervisors that gave up one after the other the first: those above it only passed the fault on."""
    while isinstance(error.__cause__, IntensityExceeded):
        error = error.__cause__
    return error


@asynccontextmanager
async def _entered(lifespan: Lifespan, context: dict[str, Any]) -> AsyncIterator[None]:
    run: Callable[[dict[str, Any]], Any] = asynccontextmanager(lifespan)
    async with run(context):
        yield


def _check_context(graph: Graph, context: dict[str, Any]) -> None:
    for stage in graph.stages:
        missing = sorted(stage.handler.needs - context.keys()) if stage.handler is not None else []
        if missing:
            raise TopologyError(
                f'stage {stage.name} asks for Context("{missing[0]}"), which no lifespan has set',
                remedy=f'set context["{missing[0]}"] in a function decorated with @topology.lifespan',
                place=stage.place,
            )
