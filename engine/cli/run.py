"""`headrace run`: run topologies until they are told to stop, or until nothing is left."""

import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from actors import BrokerError, SupervisionError
from engine.cli.exits import Code, code_of
from engine.cli.load import load_graphs
from engine.cli.options import AppDir, Config, Format, Level, Targets
from engine.cli.reload import supervise
from engine.cli.signals import on_signals
from engine.cli.statusline import in_foreground, show_status
from engine.collector import set_for_streams
from engine.engine import Engine
from engine.settings import read
from engine.telemetry import logs

logger = logging.getLogger("headrace")


def run(
    targets: Targets,
    burst: Annotated[
        bool | None,
        typer.Option(
            "--burst/--no-burst", envvar="HEADRACE_BURST", help="End, drained, when no source has anything left."
        ),
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(envvar="HEADRACE_DRAIN", min=0, help="Seconds that a drain may take; 25 unless told otherwise."),
    ] = None,
    app_dir: AppDir = Path(),
    config: Config = None,
    reload: Annotated[
        bool | None,
        typer.Option(
            "--reload/--no-reload", envvar="HEADRACE_RELOAD", help="Start again when a Python file there changes."
        ),
    ] = None,
    log_format: Format = None,
    log_level: Level = None,
) -> int:
    """Run topologies; SIGTERM or SIGINT drains them, a second one ends at once.

    Exits with 0 when drained, 1 when the drain was not done in time, 70 when a supervisor gave up, 78 when a topology
    cannot work.
    """
    given = {"burst": burst, "drain": drain, "reload": reload, "log_format": log_format, "log_level": log_level}
    settings = read(app_dir, config, **given)
    logs.configure(settings.log_format, settings.log_level)
    if settings.reload:
        return supervise(targets, app_dir, config, settings)
    graphs = load_graphs(targets, app_dir)
    set_for_streams()
    return anyio.run(_until_drained, Engine(*graphs, drain=settings.drain), settings.burst)


async def _until_drained(engine: Engine, burst: bool) -> int:
    """Run the engine to its end; what goes wrong once it runs is logged, and told by the exit code."""
    for graph in engine.graphs:
        sources = sum(len(stage.sources) for stage in graph.stages)
        logger.info("starting", extra={"topology": graph.name, "stages": len(graph.stages), "sources": sources})
    code = Code.DONE
    with on_signals(partial(_drain, engine)):
        async with anyio.create_task_group() as tasks:
            if in_foreground():
                tasks.start_soon(show_status, engine)
            try:
                await engine.run(burst=burst)
            except (BrokerError, SupervisionError) as error:
                logger.critical("%s", error)
                code = code_of(error) or Code.FAILED
            tasks.cancel_scope.cancel()
    _log_outcome(engine)
    return code


def _drain(engine: Engine, signal: str) -> None:
    logger.info("%s: once more, and it ends at once", signal)
    engine.drain()


def _log_outcome(engine: Engine) -> None:
    stages = engine.status()
    for graph in engine.graphs:
        of_graph = [stage for stage in stages if stage.topology == graph.name]
        counts = {
            name: sum(getattr(stage, name) for stage in of_graph)
            for name in ("received", "settled", "dead", "returned", "restarts")
        }
        logger.info("ended", extra={"topology": graph.name, **counts})
