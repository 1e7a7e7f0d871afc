"""Headrace beside loops written by hand and beside FastStream: `python -m benchmarks --help`.

The contenders take turns, each in a process of its own, on sources of its own with the same contents. The ids of all
messages are counted at the target by an independent reader: who loses one is marked, and not ranked.
"""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from actors import redact
from benchmarks import match, page, store, tables
from benchmarks.contenders import BEST, CONTENDERS, IN_PROCESS, Unknown, chosen
from benchmarks.figures import changes
from benchmarks.goals import held
from benchmarks.hands import BROKERS, places
from benchmarks.rounds import Server
from benchmarks.work import WORKS
from tests.servers.__main__ import KINDS
from tests.servers.process import ServerFailed
from tests.servers.programs import KAFKA_VERSION, Missing
from tests.servers.site import Site

SCHEMES = {"redis": "redis", "nats": "nats", "amqp": "rabbitmq", "kafka": "kafka"}
FULL = match.Plan(rounds=5, seconds=1.0, messages=30_000, latency=True)
QUICK = match.Plan(rounds=2, seconds=0.5, messages=20_000, latency=False)
PATIENCE = 15.0
"""Seconds within which a server that is given has to answer."""
errors = Console(stderr=True)


class Refused(Exception):
    """What was asked for cannot be done. Says why."""


def main(
    broker: Annotated[str, typer.Option(help=f"{', '.join(BROKERS)}, or '{IN_PROCESS}'; with commas.")] = "all",
    work: Annotated[str, typer.Option(help=f"{', '.join(WORKS)}; io is all of io-*.")] = "all",
    contender: Annotated[str, typer.Option(help=f"{', '.join(CONTENDERS)}; the best loop is always there.")] = "all",
    rounds: Annotated[int | None, typer.Option(help="Rounds; each figure is a median over them.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="About how long each takes in a round.", min=0.1)] = None,
    messages: Annotated[int | None, typer.Option(help="Messages of each in a round, at most.")] = None,
    latency: Annotated[bool | None, typer.Option(help="Measure latency on the bridge too.")] = None,
    url: Annotated[list[str] | None, typer.Option(help="Use this server, rather than start one.")] = None,
    quick: Annotated[bool, typer.Option(help="A selection, in a few minutes, beside the stored figures.")] = False,
    save: Annotated[bool, typer.Option(help="Keep the figures, and write the tables of docs/performance.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure Headrace beside loops written by hand and beside FastStream, in turn, on real servers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = QUICK if quick else FULL
    kept = Kept(None)
    given = {"rounds": rounds, "seconds": seconds, "messages": messages, "latency": latency}
    try:
        plan = plan.but(**{name: value for name, value in given.items() if value is not None})
        if plan.messages < 1:
            raise Refused(
                f"--messages {plan.messages}: there would be nothing to measure. Give 1 or more, or leave it out."
            )
        if quick:
            work, contender = ("bridge,in-process" if work == "all" else work), _quick(contender)
        stored = store.load()
        if save:
            store.with_tables(store.PAGE.read_text(encoding="utf-8"), "")  # said now, and not after an hour
        kept = Kept(stored if save else None)
        anyio.run(until_told, partial(_all, plan, _brokers(broker, url or []), *_names(work, contender), kept))
    except KeyboardInterrupt:
        errors.print(f"Interrupted: {kept.words}, and nothing is left running.")
        raise SystemExit(130) from None
    except (Unknown, Refused) as error:
        errors.print(str(error), style="red", markup=False)
        raise SystemExit(2) from None
    except (Missing, ServerFailed, store.Unreadable) as error:
        errors.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    _show(kept.tables, stored, quick=quick, as_json=as_json)


def _quick(contender: str) -> str:
    return "best,headrace" if contender == "all" else contender


def _names(work: str, contender: str) -> tuple[list[str], list[str]]:
    works = chosen("work", work, list(WORKS))
    contenders = chosen("contender", contender, list(CONTENDERS))
    return works, [name for name in CONTENDERS if name == BEST or name in contenders]


def _brokers(broker: str, urls: list[str]) -> list[Server]:
    """The brokers to measure; one with a URL runs already."""
    given = {}
    for each in urls:
        scheme = each.partition("://")[0]
        if scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise Refused(f"--url {each}: expected one that begins with {known}")
        given[SCHEMES[scheme]] = each
    if given and broker == "all":
        return [Server(name, address) for name, address in given.items()]
    return [Server(name, given.get(name, "")) for name in chosen("broker", broker, [*BROKERS, IN_PROCESS])]


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """A server that runs meanwhile, alone on the machine as far as we are concerned."""
    if server.broker == IN_PROCESS:
        yield server
        return
    if server.url:
        await _look_at(server)
        yield server
        return
    with Site() as site:
        started = site.prepare(KINDS[server.broker])
        await anyio.to_thread.run_sync(started.launch)
        await anyio.to_thread.run_sync(started.wait_until_it_answers, abandon_on_cancel=True)  # ends when it is killed
        yield Server(server.broker, started.url, started.pid)


async def _look_at(server: Server) -> None:
    """Say what stands in the way on a server that is not ours."""
    try:
        with anyio.fail_after(PATIENCE):
            async with places(server.broker, server.url) as there:
                left = await there.left()
    except Exception as error:  # whatever its client raises
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refused(
            f"--url {redact(server.url)}: {server.broker} does not answer there: {redact(said)}. "
            "Start it, or leave --url out to have one started."
        ) from None
    if left:
        shown = ", ".join(left[:3]) + (", …" if left[3:] else "")
        errors.print(f"{server.broker}: left by a run that was killed, may be removed: {shown}", markup=False)


async def until_told(work: Callable[[], Awaitable[None]]) -> None:
    """Do it; end it and raise `KeyboardInterrupt` at SIGINT and SIGTERM.

    Left to asyncio, a signal cancels once, and a client that swallows that goes on as if nothing had been said. A scope
    of anyio's cancels again, until all is over.
    """
    told = False
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, anyio.CancelScope() as scope:

        async def listen() -> None:
            nonlocal told
            async for _ in signals:
                if told:
                    os._exit(130)  # whoever says it twice waits for nothing more; the reaper ends what was started
                told = True
                scope.cancel()

        listening = asyncio.create_task(listen())
        try:
            await work()
        except Exception:
            if not told:  # else it comes of being ended
                raise
        finally:
            listening.cancel()
    if told:
        raise KeyboardInterrupt


async def _all(plan: match.Plan, servers: list[Server], works: list[str], contenders: list[str], kept: "Kept") -> None:
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    minutes = sum(match.minutes(plan, server.broker, works, contenders) for server in servers)
    errors.print(f"This takes about {max(1, round(minutes))} min. Whatever else keeps the machine busy falsifies it.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        total = sum(match.steps(plan, server.broker, works, contenders) for server in servers)
        bar = progress.add_task("starting", total=total)

        def told(text: str) -> None:
            progress.update(bar, description=text) if text else progress.advance(bar)

        for server in servers:
            told(f"{server.broker}: starting")
            async with running(server) as ready:
                versions = {"Kafka": KAFKA_VERSION} if ready.broker == "kafka" and ready.process else {}
                async for table in match.play(plan, ready, works, contenders, command, versions, told):
                    kept.add(table)


class Kept:
    """The tables that are complete; written as they come, where they are to be, beside those of before."""

    def __init__(self, stored: store.Stored | None) -> None:
        self._stored = stored
        self.tables: list[store.Table] = []

    def add(self, table: store.Table) -> None:
        """One more is complete."""
        self.tables.append(table)
        if self._stored is not None:
            self._stored = self._stored.merged([table])
            _save(self._stored)

    @property
    def words(self) -> str:
        """What has become of them."""
        if self._stored is None or not self.tables:
            return "nothing was written"
        last = self.tables[-1]
        return f"what was complete is written, {len(self.tables)} table(s) up to {last.broker} {last.work}"


def _show(found: list[store.Table], stored: store.Stored, *, quick: bool, as_json: bool) -> None:
    if as_json:
        print(store.Stored(tables=found).model_dump_json(indent=2))
        return
    console = Console() if sys.stdout.isatty() else Console(width=120)
    for table in found:
        console.print(tables.drawn(table))
        console.print(tables.left_out(table), style="dim", markup=False, highlight=False)
        for each in table.figures:
            if each.failure:
                errors.print(f"{each.broker} {each.work}, {each.contender}: {each.failure}", markup=False)
    if quick:
        now = [figure for table in found for figure in table.figures]
        console.print(tables.compared(changes(now, stored.figures)))
    if reached := held(figure for table in found for figure in table.figures):
        console.print(tables.goals(reached))


def _save(stored: store.Stored) -> None:
    """Write the figures and the page that shows them: both, whoever interrupts."""
    text = store.with_tables(store.PAGE.read_text(encoding="utf-8"), page.markdown(stored))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        store.write(store.FIGURES, stored.model_dump_json(indent=1) + "\n")
        store.write(store.PAGE, text)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    typer.run(main)
