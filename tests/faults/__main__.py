"""Runs the fault matrix, shows how far it is, and reports: `python -m tests.faults --broker kafka --fault mixed`."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.faults.engines import HEADRACE
from tests.faults.faults import FAULTS, Fault
from tests.faults.oracle import Verdict
from tests.faults.peer import FAULTS as PEER_FAULTS
from tests.faults.peer import MESSAGES as PEER_MESSAGES
from tests.faults.peer import SETTINGS, peers
from tests.faults.report import write
from tests.faults.run import PLACES, Progress, Result, run
from tests.servers.process import ServerFailed
from tests.servers.programs import Missing
from tests.servers.site import Site

console = Console(stderr=True)
RESULTS = TypeAdapter(list[Result])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 where something was lost or a fault did not happen, 130 after Ctrl-C."""
    options = _options(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # the clients' complaints about the faults that we make
    for number in (signal.SIGINT, signal.SIGTERM):  # the first may be ignored, as it is in a shell's background
        signal.signal(number, signal.default_int_handler)
    results: list[Result] = []
    try:
        if options.read:
            results = [result for path in options.read for result in RESULTS.validate_json(path.read_bytes())]
        else:
            with Site() as site:
                asyncio.run(_matrix(site, options, results))
    except KeyboardInterrupt:
        console.print("ended by a signal; no page is written", style="yellow")
        if options.json:
            print(json.dumps([asdict(result) for result in results], indent=1))
        return 130
    except (Missing, ServerFailed) as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    if options.write is not None:
        missing = sorted(_cells() - {(result.broker, result.fault) for result in results if not result.peer})
        if missing and not options.partial:
            console.print(f"nothing is written: {len(missing)} cells are missing, {missing[0]} the first", style="red")
            return 1
        write(options.write, results, len(missing))
        console.print(f"written: {options.write}")
    return 1 if any(result.problems for result in results if not result.peer) else 0


async def _matrix(site: Site, options: argparse.Namespace, results: list[Result]) -> None:
    for peer in options.peer:
        await _peer(site, options, peer, results)
    for broker in options.broker if options.write is not None or not options.peer else ():
        for name in options.fault:
            if broker not in FAULTS[name].brokers:
                continue
            mixed = options.write is not None and name == "mixed"
            messages, seeds = (100_000, 5) if mixed else (options.messages, options.seeds)
            for seed in range(options.seed, options.seed + seeds):
                result = await _one(site, broker, _fault(name, options.seconds), seed, messages)
                results.append(result)
                console.print(_line(result), highlight=False, soft_wrap=True)


async def _peer(site: Site, options: argparse.Namespace, peer: str, results: list[Result]) -> None:
    """The other framework, put to those of the faults that it is put to."""
    for broker in options.broker:
        for name in [name for name in options.fault if name in PEER_FAULTS]:
            messages = min(options.messages, PEER_MESSAGES)
            result = await _one(site, broker, _fault(name, options.seconds), options.seed, messages, peer)
            results.append(result)
            console.print(_line(result), highlight=False, soft_wrap=True)


def _cells() -> set[tuple[str, str]]:
    return {(broker, fault.name) for broker in PLACES for fault in FAULTS.values() if broker in fault.brokers}


def _fault(name: str, seconds: float | None) -> Fault:
    fault = FAULTS[name]
    return fault if seconds is None else replace(fault, seconds=min(seconds, fault.seconds))


async def _one(site: Site, broker: str, fault: Fault, seed: int, messages: int, peer: str = "") -> Result:
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show(progress: Progress) -> None:
            if console.is_terminal:
                live.update(_bar(f"{broker} × {fault.name}, seed {seed}", progress), refresh=True)

        command = peers()[peer] if peer else HEADRACE
        try:
            return await run(site, broker, fault, seed, messages, command=command, peer=peer, show=show)
        except Missing:
            raise
        except Exception as error:  # one run must not take the results of the others with it
            verdict = Verdict(owed=0, arrived=0, dead=0)
            problems = [f"no proof: {error!r}"]
            return Result(broker, fault.name, seed, messages, 0, True, verdict, {}, 0, None, 0, problems, peer=peer)


def _bar(what: str, progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    made = ", ".join(f"{count} {name}" for name, count in progress.made.items())
    share = f"{100 * progress.arrived / progress.messages:3.0f} %"
    table.add_row(what, share, f"{progress.owed:,} published, {progress.arrived:,} arrived", made)
    return table


def _line(result: Result) -> str:
    verdict = result.verdict
    mark = "[red]✗[/red]" if result.problems else "[green]✓[/green]"
    made = ", ".join(f"{count} {what}" for what, count in result.made.items() if count and what != "handled")
    who = f"FastStream, {result.peer}: " if result.peer else ""
    line = (
        f"{mark} {who}{result.broker} × {result.fault}, seed {result.seed}: "
        f"{result.messages:,} in {result.seconds:.0f} s, "
        f"{len(verdict.missing)} lost, {len(verdict.inversions)} out of order, {verdict.duplicated:.2f} % twice, "
        f"{verdict.dead} dead; longest stall {result.stall:.1f} s, "
        f"recovery {'–' if result.recovery is None else f'{result.recovery:.1f} s'}; {made}"
    )
    return "\n    ".join([line, *(f"[red]{problem}[/red]" for problem in result.problems), *_kept(result)])


def _kept(result: Result) -> list[str]:
    return [f"logs of the engines: {result.folder}"] if result.problems else []


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--broker", action="append", choices=PLACES, help="this broker; again for more; all")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="this fault; again for more; all")
    parser.add_argument("--seed", type=int, default=1, help="the first seed: what happens when is a function of it")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--messages", type=int, default=10_000, help="messages a run")
    parser.add_argument("--seconds", type=float, help="spread the messages over that time, if a fault asks for more")
    parser.add_argument(
        "--peer", action="append", choices=SETTINGS, default=[], help="FastStream in this setting, in place of ours"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--read", type=Path, nargs="+", metavar="JSON", help="run nothing: take what --json has printed"
    )
    parser.add_argument("--partial", action="store_true", help="write a page that lacks cells, and says so")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="run the whole matrix, `mixed` with 100,000 messages and 5 seeds, and write it down as a page",
    )
    options = parser.parse_args(arguments)
    if options.write is not None and (options.broker or options.fault) and not options.read:
        parser.error("--write is for the whole matrix: leave out --broker and --fault")
    if options.write is not None and not options.read:
        options.peer = list(SETTINGS)
    options.broker = options.broker or list(PLACES)
    options.fault = options.fault or list(FAULTS)
    return options


if __name__ == "__main__":
    sys.exit(main())
