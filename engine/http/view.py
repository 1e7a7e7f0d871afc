"""What is shown of a running engine: its status, its graphs, one stage in detail."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from os import getcwd, path
from time import monotonic, time
from typing import Any

from anyio import Lock, to_thread
from anyio.lowlevel import checkpoint
from pydantic import TypeAdapter

from actors import Link, redact
from engine.assembly.running import Running
from engine.control import find
from engine.engine import Engine
from engine.health.status import status_of
from engine.http.models import (
    EngineView,
    ErrorView,
    Graphs,
    LinkView,
    StageDetail,
    StageView,
    Status,
    SupervisorView,
    WorkerView,
    stage_view,
)
from engine.http.picture import picture
from topologies import Graph, Stage, outline

FRESH = 0.1
"""Seconds for which a status is shown again instead of being made anew: asking fast must not slow the messages."""
KINDS = 20
"""The most kinds of error that are shown of a stage."""
SLICE = 0.005
"""Seconds for which the making of a status may keep the event loop from the messages."""
STATUS = TypeAdapter(Status)


class View:
    """Looks at an engine, for all who ask."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.since = time()
        self._version = version("headrace")
        self._making = Lock()
        self._made: tuple[float, Status] | None = None
        self._drawing = Lock()
        self._graphs: Graphs | None = None

    async def status(self) -> Status:
        """How the engine and each of its stages are, at most `FRESH` seconds ago."""
        async with self._making:
            if self._made is None or monotonic() - self._made[0] > FRESH:
                status = await self._status()
                self._made = monotonic(), status
            return self._made[1]

    def changed(self) -> None:
        """Forget what was made: something has been changed."""
        self._made = None

    async def snapshot(self) -> bytes:
        """The status as JSON on one line, without the time, so that one in which nothing happened is like the last."""
        return STATUS.dump_json(await self.status(), exclude={"time"})

    async def _status(self) -> Status:
        health = self.engine.health()
        judged = {(each.topology, each.stage): each for each in health.stages}
        stages: list[StageView] = []
        began = monotonic()
        for assembly in self.engine.assemblies:
            name = assembly.graph.name
            for running in assembly.running:
                stages.append(stage_view(status_of(name, running), judged.get((name, running.stage.name))))
                if monotonic() - began > SLICE:
                    await checkpoint()
                    began = monotonic()
        engine = EngineView(
            self._version,
            health.started,
            health.ready,
            health.alive,
            health.draining,
            tuple(redact(reason) for reason in health.reasons),
            self.since,
        )
        return Status(time(), engine, tuple(graph.name for graph in self.engine.graphs), tuple(stages))

    async def graphs(self) -> Graphs:
        """Each topology as data, with the places that a picture of it has. Made once, in a thread: it takes a while."""
        async with self._drawing:
            if self._graphs is None:
                self._graphs = Graphs(tuple(await to_thread.run_sync(_pictures, self.engine.graphs)))
            return self._graphs

    def stage(self, topology: str, name: str, whole: bool) -> StageDetail:
        """One stage; with the words of its errors only if `whole`. Raises `UnknownStage`."""
        running = find(self.engine.assemblies, topology, name)
        graph = next(graph for graph in self.engine.graphs if graph.name == topology)
        health = {(each.topology, each.stage): each for each in self.engine.health().stages}
        stage = running.stage
        return StageDetail(
            status=stage_view(status_of(topology, running), health.get((topology, name))),
            place=stage.place,
            description=stage.description,
            settings=_settings(stage),
            sources=tuple(source.name for source in stage.sources),
            upstream=stage.upstream,
            downstream=tuple(behind.name for behind in graph.downstream(name)),
            destination=None if stage.endpoint is None else stage.endpoint.name,
            links=tuple(_link(link) for link in running.links),
            supervisor=_supervisor(running),
            errors=_errors(running, whole),
        )


def _pictures(graphs: Sequence[Graph]) -> list[dict[str, Any]]:
    return [picture(outline(graph)) for graph in graphs]


def _supervisor(running: Running) -> SupervisorView:
    supervisor = running.pool.supervisor
    policy = supervisor.policy
    lives = [child.life for child in supervisor.children]
    workers = tuple(WorkerView(life.name, life.state, life.restarts) for life in lives)
    return SupervisorView(policy.strategy, policy.intensity, policy.period, supervisor.restarts, workers)


def _errors(running: Running, whole: bool) -> tuple[ErrorView, ...]:
    here = path.join(getcwd(), "")
    counts = [running.counts, *(ledger.counts for ledger in running.ledgers)]
    seen_lately = sorted((seen for each in counts for seen in each.faults.latest()), key=lambda seen: -seen.last)
    return tuple(
        ErrorView(
            seen.type,
            seen.place.removeprefix(here),
            seen.count,
            seen.first,
            seen.last,
            redact(seen.text) if whole else None,
            redact(seen.traceback) if whole else None,
        )
        for seen in seen_lately[:KINDS]
    )


def _settings(stage: Stage) -> dict[str, Any]:
    declared = stage.settings
    return {
        "max_workers": declared.max_workers,
        "mailbox": declared.mailbox,
        "retry": None if declared.retry is None else asdict(declared.retry),
        "dead_letter": None if declared.dead_letter is None else declared.dead_letter.name,
        "timeout": declared.timeout,
        "batch": None if declared.batch is None else asdict(declared.batch),
        "max_body": declared.max_body,
        "ordered": stage.lane is not None,
    }


def _link(link: Link) -> LinkView:
    error = None if link.error is None else redact(str(link.error))
    return LinkView(link.what, link.connected, link.failures, error)
