"""`Assembly`: the supervision tree of one topology, made of its graph before anything runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actors import Child, Clock, Intake, Ledger, Sizer, Sizing, Supervisor
from engine.assembly.bounds import sizes
from engine.assembly.connect import Connect
from engine.assembly.running import Running
from engine.assembly.stages import Stages, logger_of, one_for_one
from engine.assembly.tracing import Traces
from topologies import Graph


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
        self.clock = clock
        making = Stages(graph, connect, clock, context, tracing)
        self.stages = {stage.name: making.running(stage) for stage in reversed(graph.stages)}
        self.sinks = making.ends.sinks
        children = [self._supervised(running) for running in self.stages.values()]
        self.supervisor = Supervisor(graph.name, children, graph.supervision, clock, logger_of(graph))

    @property
    def running(self) -> list[Running]:
        """Its stages as they run, sources first."""
        return list(reversed(self.stages.values()))

    @property
    def intakes(self) -> list[Intake]:
        return [intake for running in self.stages.values() for intake in running.intakes]

    @property
    def ledgers(self) -> list[Ledger]:
        return [ledger for running in self.stages.values() for ledger in running.ledgers]

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
        supervisor = Supervisor(name, children, policy, self.clock, logger_of(self.graph, name))
        return Child(name, supervisor.run, supervisor.stop, cut=supervisor.cut)
