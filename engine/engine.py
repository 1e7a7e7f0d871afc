"""`Engine`: topologies brought to life, kept running, and drained."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from logging import getLogger
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio import CancelScope, Event, create_task_group, move_on_after, sleep

from actors import (
    BrokerError,
    BrokerUnavailable,
    Child,
    Clock,
    IntensityExceeded,
    Link,
    Supervision,
    Supervisor,
    Unfinished,
)
from engine import control, given
from engine.assembly.assembly import Assembly
from engine.assembly.connect import ByBroker, Connect
from engine.assembly.running import Running
from engine.closing import entered
from engine.drain import Drain
from engine.health.asking import keep_asking
from engine.health.health import Health, Watch
from engine.health.heartbeat import Heartbeat
from engine.health.observed import observe
from engine.health.stalls import watch
from engine.health.status import StageStatus, status_of
from engine.hosting import beside
from engine.telemetry.provider import tracing_by
from topologies import Graph, Topology

if TYPE_CHECKING:  # imported where something is measured or traced, and not before
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

logger = getLogger("headrace")


class Engine:
    """Runs topologies: every stage a pool of supervised actors behind a bounded mailbox.

    Raises `TopologyError` where two of them have one name, `TypeError` and `ValueError` for arguments that cannot be.
    What it does is traced by `tracer_provider`, or else by OpenTelemetry's global one, where one is configured by then.

    Stages start downstream first. Draining goes the other way: fetching stops, what is there flows out, receipts
    settle; what has not after `drain` seconds is given back to its broker, unacknowledged.
    """

    def __init__(
        self,
        *topologies: Graph | Topology,
        drain: float = 25.0,
        clock: Clock | None = None,
        connect: Connect | None = None,
        stalled_after: float = 60.0,
        meter_provider: "MeterProvider | None" = None,
        tracer_provider: "TracerProvider | None" = None,
    ) -> None:
        given.offers("connect", connect, ("source", "sink", "seen"), "what makes sources and sinks, as a Harness does")
        given.offers("meter_provider", meter_provider, ("get_meter",), "a MeterProvider of OpenTelemetry")
        given.offers("tracer_provider", tracer_provider, ("get_tracer",), "a TracerProvider of OpenTelemetry")
        self.graphs = given.graphs_of(topologies)
        self.clock = given.clock_of(clock)
        self.connect: Connect = connect or ByBroker()
        self.contexts: list[dict[str, Any]] = [{} for _ in self.graphs]
        self._tracer_provider = tracer_provider
        self.assemblies: list[Assembly] = []
        self.started = Event()
        self.ended = Event()
        self._drain = Drain(given.seconds("drain", drain, zero=True), self.clock, self.started)
        self._beside: AbstractAsyncContextManager[None] | None = None
        self._watch = Watch(given.seconds("stalled_after", stalled_after))
        self._heartbeat = Heartbeat()
        self._meter_provider = meter_provider
        self._fallen: str | None = None
        """Why it does not run any more."""

    async def __aenter__(self) -> Self:
        """Run beside the block, from when it has started; drained at the end of it."""
        self._beside = beside(self.run, self.started, self.drain)
        await self._beside.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        assert self._beside is not None
        return await self._beside.__aexit__(kind, error, tb)

    @property
    def patience(self) -> float:
        """How long a drain may take, in seconds."""
        return self._drain.patience

    @property
    def left(self) -> list[Unfinished]:
        """What was given back when it ended, or is about to be."""
        return self._drain.left

    @property
    def draining(self) -> bool:
        """Whether it has been asked to drain."""
        return self._drain.asked.is_set()

    def drain(self) -> None:
        """Ask it to fetch nothing more, finish what it has, and end. Returns at once; `run` returns when done."""
        self._drain.asked.set()

    async def run(self, *, burst: bool = False) -> None:
        """Run until drained; with `burst`, until no source has anything left.

        Raises `IntensityExceeded` when the supervisors gave up, `DrainTimeout` when the drain was not done in time,
        `TopologyError` when a lifespan leaves something missing that a handler asks for. Whatever happens, what is
        unfinished is given back before it returns.
        """
        async with AsyncExitStack() as stack:
            stack.callback(self.ended.set)
            for graph, context in zip(self.graphs, self.contexts, strict=True):
                for lifespan in graph.lifespans:
                    await stack.enter_async_context(entered(lifespan, context))
                given.check_context(graph, context)
            tracing = tracing_by(self._tracer_provider)
            self.assemblies = [
                Assembly(graph, self.connect, self.clock, context, tracing)
                for graph, context in zip(self.graphs, self.contexts, strict=True)
            ]
            self._drain.assemblies = self.assemblies
            if self._meter_provider is not None:
                self._measure(self._meter_provider)
            try:
                await self._supervise(burst)
            finally:
                self._fallen = self._fallen or "it has ended"
                with CancelScope(shield=True):
                    await self._drain.close()
        self._drain.check()

    def _measure(self, provider: "MeterProvider") -> None:
        from engine.telemetry.metrics import Metrics  # here, as most tests and many programs go without

        Metrics(provider, [(each.graph.name, list(each.stages.values())) for each in self.assemblies], self.health)

    async def _supervise(self, burst: bool) -> None:
        supervisors = [each.supervisor for each in self.assemblies]
        children = [Child(each.name, each.run, each.stop, cut=each.cut) for each in supervisors]
        # A topology that gave up is not restarted here: the process ends, and the machine's own supervisor decides.
        root = Supervisor("engine", children, Supervision(intensity=0), self.clock, logger, side_by_side=True)
        gave_up: IntensityExceeded | None = None
        async with create_task_group() as tasks:
            tasks.start_soon(self.clock.run)
            tasks.start_soon(self._drain.when_asked, root)
            tasks.start_soon(watch, self.health, self._heartbeat, self._watch.stalled_after)
            tasks.start_soon(keep_asking, self._links)
            if burst:
                tasks.start_soon(self._drain.when_empty)
            try:
                await root.run(self.started.set)
            except IntensityExceeded as error:
                gave_up = _first(error)
                self._fallen = str(gave_up)
            finally:
                self._drain.hangs = False
            tasks.cancel_scope.cancel()
        if gave_up is not None:
            raise gave_up

    def unfinished(self) -> list[Unfinished]:
        """What has been fetched and is not finished, by stage, and what it waits for."""
        return self._drain.unfinished()

    def _links(self) -> list[Link]:
        """What is asked whether it is there; once it drains, nothing: what is closed must not be connected again."""
        return [] if self.draining else [link for running in self.running for link in running.links]

    def out_of_reach(self) -> dict[str, BrokerError | None]:
        """What is not connected, by `stage: endpoint`, and what its broker said last."""
        return {
            f"{running.stage.name}: {link.what}": link.error
            for running in self.running
            for link in running.links
            if not link.connected
        }

    async def healthy(self, within: float) -> None:
        """Wait until all sources and publishers are connected.

        Raises `BrokerUnavailable`, which names what is not, after `within` seconds.
        """
        with move_on_after(within):
            await self.started.wait()
            while self.out_of_reach():  # noqa: ASYNC110 - a link tells nobody when it is up
                await sleep(0.02)
            return
        told = "; ".join(f"{what}: {error or 'no answer yet'}" for what, error in self.out_of_reach().items())
        raise BrokerUnavailable(f"not connected within {within:g} s: {told}")

    @property
    def running(self) -> Sequence[Running]:
        """Every stage as it runs, sources first."""
        return [stage for assembly in self.assemblies for stage in assembly.running]

    def status(self) -> list[StageStatus]:
        """How every stage is, sources first."""
        return [status_of(assembly.graph.name, running) for assembly in self.assemblies for running in assembly.running]

    def health(self) -> Health:
        """Whether it is ready and alive, and how every stage goes on; cheap, and to be called at any time.

        Ready: started, every source and publisher connected, not draining. What was told to pause is as it should be.
        Alive: its supervisors stand and no stage is stuck so that a restart could help; a broker out of reach is waited
        for and never turns it false. From another thread it also tells an event loop that does not turn.
        """
        away = [
            f"{running.stage.name}: none of its workers has started"
            if link.untried and not running.pool.running
            else f"{running.stage.name}: {link.what}: {link.error or 'no answer yet'}"
            for running in self.running
            for link in running.links
            if not link.connected
        ]
        observed = [
            observe(assembly.graph, each)
            for assembly in self.assemblies
            for stage in assembly.running
            for each in ((stage, stage.replies) if stage.replies is not None else (stage,))
        ]
        started = self.started.is_set()
        fallen = self._fallen
        if fallen is None and (silence := self._heartbeat.silence) > self._watch.stalled_after:
            fallen = f"its event loop has stood still for {silence:.0f} s"
        return self._watch.health(self.clock.now(), observed, started, self.draining, fallen, list(dict.fromkeys(away)))

    @property
    def loop_lag(self) -> float:
        """Seconds by which the event loop was late the last time that it was measured, twice a second."""
        return self._heartbeat.lag

    def pause(self, topology: str, stage: str) -> None:
        """Have the sources of a stage fetch nothing until `resume`; what was fetched goes on. A drain ends it.

        Raises `UnknownStage`, and `ControlError` where the stage takes from no broker.
        """
        control.pause(control.find(self.assemblies, topology, stage))

    def resume(self, topology: str, stage: str) -> None:
        """Have the sources of a stage fetch again. Raises what `pause` does."""
        control.resume(control.find(self.assemblies, topology, stage))

    async def scale(self, topology: str, stage: str, workers: int | None) -> None:
        """Have that many workers in the pool of a stage; None lets one that finds its own size do so again.

        Raises `UnknownStage`, and `ControlError` where the number is out of bounds.
        """
        await control.scale(control.find(self.assemblies, topology, stage), workers)

    def __repr__(self) -> str:
        names = ", ".join(graph.name for graph in self.graphs)
        state = "draining" if self.draining else "running" if self.started.is_set() else "not started"
        return f"<Engine of {names}: {state}>"


def _first(error: IntensityExceeded) -> IntensityExceeded:
    """Of supervisors that gave up one after the other the first: those above it only passed the fault on."""
    while isinstance(error.__cause__, IntensityExceeded):
        error = error.__cause__
    return error
