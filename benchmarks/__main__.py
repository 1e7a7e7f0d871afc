"""Headrace beside loops written by hand and beside FastStream: `python -m benchmarks --help`.

The contenders take turns, each in a process of its own, on sources of its own with the same contents. The ids of all
messages are counted at the target by an independent reader: who loses one is marked, and not ranked.
"""

import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import match, store, tables
from benchmarks.contenders import BEST, CONTENDERS, IN_PROCESS, Unknown, chosen
from benchmarks.figures import changes
from benchmarks.hands import BROKERS
from benchmarks.rounds import Server
from benchmarks.work import WORKS
from tests.servers.__main__ import KINDS
from tests.servers.process import ServerFailed
from tests.servers.programs import KAFKA_VERSION, Missing
from tests.servers.site import Site

SCHEMES = {"redis": "redis", "nats": "nats", "amqp": "rabbitmq", "kafka": "kafka"}
FULL = match.Plan(rounds=3, seconds=2.0, messages=100_000, latency=True)
QUICK = match.Plan(rounds=2, seconds=0.5, messages=20_000, latency=False)
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
        found = anyio.run(_all, plan, _brokers(broker, url or []), *_names(work, contender))
    except KeyboardInterrupt:
        errors.print("Interrupted: nothing was written, and nothing is left running.")
        raise SystemExit(130) from None
    except (Unknown, Refused) as error:
        errors.print(str(error), style="red", markup=False)
        raise SystemExit(2) from None
    except (Missing, ServerFailed, store.Unreadable) as error:
        errors.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    _show(found, stored, quick=quick, as_json=as_json)
    if save:
        _save(stored.merged(found))


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
    if server.url or server.broker == IN_PROCESS:
        yield server
        return
    with Site() as site:
        started = site.prepare(KINDS[server.broker])
        await started.async_start()
        yield Server(server.broker, started.url, started.pid)


async def _all(plan: match.Plan, servers: list[Server], works: list[str], contenders: list[str]) -> list[store.Table]:
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    found: list[store.Table] = []
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
                found += await match.play(plan, ready, works, contenders, command, versions, told)
    return found


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


def _save(stored: store.Stored) -> None:
    page = store.with_tables(store.PAGE.read_text(encoding="utf-8"), tables.markdown(stored))
    store.write(store.FIGURES, stored.model_dump_json(indent=1) + "\n")
    store.write(store.PAGE, page)


if __name__ == "__main__":
    typer.run(main)
