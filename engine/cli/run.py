"""`headrace run`: run topologies until they are told to stop, or until nothing is left."""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from actors import BrokerError, SupervisionError
from engine.cli import eventloop
from engine.cli.exits import Code, code_of, tell_of_interrupts
from engine.cli.load import load_graphs
from engine.cli.options import AppDir, Config, Format, Level, Targets
from engine.cli.reload import supervise
from engine.cli.signals import on_signals
from engine.cli.statusline import in_foreground, show_status
from engine.collector import set_for_streams
from engine.engine import Engine
from engine.settings import read
from engine.telemetry import logs
from engine.telemetry.meters import metering
from engine.telemetry.setup import telemetry

logger = logging.getLogger("headrace")
LAST = 20.0
"""Seconds after a drain's time for stopping what is left, and for closing sources and sinks."""


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
    require_healthy: Annotated[
        float | None,
        typer.Option(
            envvar="HEADRACE_REQUIRE_HEALTHY",
            metavar="SECONDS",
            help="Exit with 69 when not all brokers are connected by then; without it they are waited for without end.",
        ),
    ] = None,
    stalled_after: Annotated[
        float | None,
        typer.Option(
            envvar="HEADRACE_STALLED_AFTER",
            metavar="SECONDS",
            help="Report a stage that has work and makes no progress for so long; 60 unless told otherwise.",
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            envvar="HEADRACE_HTTP",
            metavar="HOST:PORT",
            help="Serve probes, API and page there, for instance at 127.0.0.1:8080.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="What has to be sent to change something over HTTP; better set as HEADRACE_TOKEN."),
    ] = None,
    uvloop: Annotated[
        bool | None,
        typer.Option(
            "--uvloop/--no-uvloop",
            envvar="HEADRACE_UVLOOP",
            help="Run on uvloop, or never do; unless told otherwise, where it is installed.",
        ),
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
    given = {"burst": burst, "drain": drain, "reload": reload, "require_healthy": require_healthy}
    given |= {"stalled_after": stalled_after, "uvloop": uvloop}
    settings = read(app_dir, config, log_format=log_format, log_level=log_level, http=http, token=token, **given)
    logs.configure(settings.log_format, settings.log_level)
    if settings.reload:
        return supervise(targets, app_dir, config, settings)
    if token is not None:
        logger.warning("--token can be read in the list of processes; set HEADRACE_TOKEN instead")
    loop = eventloop.options(settings.uvloop)
    graphs = load_graphs(targets, app_dir)
    service = "+".join(graph.name for graph in graphs)
    scraped = settings.http is not None and settings.http_metrics
    with telemetry(service), metering(service, scraped) as meters:
        provider = meters.provider
        engine = Engine(*graphs, drain=settings.drain, stalled_after=settings.stalled_after, meter_provider=provider)
        site: AbstractAsyncContextManager[None] = nullcontext()
        if settings.http is not None:
            from engine.http.site import site_of  # with it comes the server: only for those who want it

            site = site_of(engine, settings, meters.scrape)
        set_for_streams()
        running = partial(_until_drained, engine, site, settings.burst, settings.require_healthy, eventloop.name(loop))
        return anyio.run(running, backend_options=loop)


async def _until_drained(
    engine: Engine, site: AbstractAsyncContextManager[None], burst: bool, require_healthy: float | None, loop: str
) -> int:
    """Run the engine to its end; what goes wrong once it runs is logged, and told by the exit code."""
    for graph in engine.graphs:
        sources = sum(len(stage.sources) for stage in graph.stages)
        found = {"topology": graph.name, "stages": len(graph.stages), "sources": sources, "loop": loop}
        logger.info("starting", extra=found)
    code = Code.DONE
    tell_of_interrupts(asyncio.get_running_loop())
    with on_signals(partial(_drain, engine), engine.patience + LAST, partial(_left, engine)):
        async with site, anyio.create_task_group() as tasks:
            if in_foreground():
                tasks.start_soon(show_status, engine)
            try:
                await _run(engine, burst, require_healthy)
            except (BrokerError, SupervisionError) as error:
                logger.critical("%s", error)
                code = code_of(error) or Code.FAILED
            tasks.cancel_scope.cancel()
    _log_outcome(engine)
    return code


async def _run(engine: Engine, burst: bool, require_healthy: float | None) -> None:
    failures: list[Exception] = []

    async def watch(within: float) -> None:
        try:
            await engine.healthy(within)
        except BrokerError as error:
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        if require_healthy is not None:
            tasks.start_soon(watch, require_healthy)
        try:
            await engine.run(burst=burst)
        except Exception as error:
            failures.append(error)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]


def _drain(engine: Engine, signal: str) -> None:
    logger.info("%s: once more, and it ends at once", signal)
    engine.drain()


def _left(engine: Engine) -> str:
    """What an engine that ends at once leaves unfinished: nothing of it was acknowledged."""
    left = engine.left or engine.unfinished()
    return f"unfinished, and not acknowledged: {'; '.join(map(str, left))}" if left else ""


def _log_outcome(engine: Engine) -> None:
    stages = engine.status()
    for graph in engine.graphs:
        of_graph = [stage for stage in stages if stage.topology == graph.name]
        counts = {
            name: sum(getattr(stage, name) for stage in of_graph)
            for name in ("received", "settled", "dead", "returned", "restarts")
        }
        logger.info("ended", extra={"topology": graph.name, **counts})
