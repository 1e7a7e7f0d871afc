"""One run: messages through an engine while a fault is made, then recovery, drain, and the oracle's word."""

import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.at_kafka import AtKafka
from tests.faults.at_nats import AtNats
from tests.faults.at_rabbitmq import AtRabbitMQ
from tests.faults.at_redis import AtRedis
from tests.faults.engines import HEADRACE, Command, Engines
from tests.faults.faults import Fault
from tests.faults.oracle import Arrival, Plan, Verdict, judge, unmet
from tests.faults.places import Place
from tests.faults.scene import Scene
from tests.servers.proxy import Proxy
from tests.servers.site import Site

PLACES: Mapping[str, type[Place]] = {"redis": AtRedis, "nats": AtNats, "rabbitmq": AtRabbitMQ, "kafka": AtKafka}
AHEAD = 0.7
"""The part of a run's time that the producer takes: the engine is to have more before it than it can hold."""
RECOVER = 60.0
"""Seconds after the last fault and the last message within which everything has to be there."""
WORKERS = 32
LONGEST = 300.0
"""Seconds after which a run is given up, wherever it is."""


@dataclass(slots=True)
class Result:
    """What became of a run. Without `problems` it was passed."""

    broker: str
    fault: str
    seed: int
    messages: int
    seconds: float
    ordered: bool
    verdict: Verdict
    made: dict[str, int]
    stall: float
    recovery: float | None
    again: int
    problems: list[str] = field(default_factory=list)
    folder: str = ""
    """Where the logs of the engines are, if something was wrong."""
    peer: str = ""
    """Of another framework: its setting."""


@dataclass(slots=True)
class Progress:
    """How far a run is, for whoever shows it."""

    what: str = ""
    owed: int = 0
    arrived: int = 0
    messages: int = 1
    made: Mapping[str, int] = field(default_factory=dict)


async def run(
    site: Site,
    broker: str,
    fault: Fault,
    seed: int,
    messages: int,
    *,
    command: Command = HEADRACE,
    peer: str = "",
    show: Callable[[Progress], object] = lambda progress: None,
) -> Result:
    """Run it and judge it. Whatever happens, no engine and no connection of it is left."""
    kind = PLACES[broker]
    server: Any = await asyncio.to_thread(partial(site.get, kind.kind, **fault.server.get(broker, {})))
    plan = Plan(seed, messages, poison=fault.poison)
    folder = Path(tempfile.mkdtemp(prefix=f"headrace-faults-{broker}-{fault.name}-{seed}-"))
    async with AsyncExitStack() as stack:
        place = kind(server, f"f{seed}-{time.time_ns():x}")
        stack.push_async_callback(place.close)
        await place.prepare()
        proxy = await stack.enter_async_context(Proxy(server)) if fault.proxied else None
        engines = Engines(command, folder, _environment(proxy.url if proxy else server.url, place, plan, fault, peer))
        stack.callback(engines.close)
        scene = Scene(place, server, proxy, engines, plan)
        began = time.monotonic()
        problems: list[str] = []
        try:
            async with asyncio.timeout(LONGEST):
                judged = await _through(scene, fault, problems, show)
        except Exception as error:
            problems.append(f"given up after {time.monotonic() - began:.0f} s: {error!r}")
            judged = judge(plan, scene.claimed, scene.owed, (), ())
        finally:
            await _mended(scene)
    made = Counter(scene.made) + engines.made + _logged(engines)
    ordered = place.across or not fault.several
    ordered = ordered and not fault.refuses and not peer
    made["redelivered"] = max(made["redelivered"], judged.duplicates)
    # What is counted in the log of our engine cannot be asked of another.
    wanted = {what: least for what, least in fault.wanted.items() if not peer or what.endswith(("kills", "restarts"))}
    problems = judged.problems(ordered=ordered) + unmet(wanted, made) + problems
    return Result(
        broker,
        fault.name,
        seed,
        messages,
        time.monotonic() - began,
        ordered,
        judged,
        dict(made),
        scene.stall(),
        scene.recovery(),
        scene.again,
        problems,
        str(folder),
        peer,
    )


async def _through(scene: Scene, fault: Fault, problems: list[str], show: Callable[[Progress], object]) -> Verdict:
    """Publish, make the fault, wait until everything is there, and stop the engine."""
    scene.engines.keep()
    watching = asyncio.create_task(scene.watch())
    showing = asyncio.create_task(_shown(scene, show))
    producing = asyncio.create_task(scene.produce(fault.seconds * AHEAD, lambda: scene.over))
    try:
        try:
            await fault.make(scene)
        except Exception as error:
            problems.append(f"the fault could not be made: {error!r}")
        finally:
            await _mended(scene)
        await asyncio.wait([producing])  # not itself: it would get, and its client may swallow, what ends this run
        producing.result()
        verdict = await _drained(scene, problems)
        code = await _ended(scene)
        if code != 0:
            problems.append(f"the engine did not drain: exit code {code}")
        return verdict
    finally:
        scene.over = True
        for task in (watching, showing, producing):
            task.cancel()
        await asyncio.gather(watching, showing, producing, return_exceptions=True)


async def _drained(scene: Scene, problems: list[str]) -> Verdict:
    """Wait for all that is owed, then for one message more, at most `RECOVER` seconds each."""
    arrived: list[Arrival] = []
    dead: list[Arrival] = []
    verdict = await _awaited(scene, arrived, dead, problems)
    began = scene.through = time.monotonic()
    if not verdict.missing:
        fresh = range(scene.plan.messages, scene.plan.messages + 1)
        await scene.insist(fresh)
        verdict = await _awaited(scene, arrived, dead, problems)
        if verdict.missing:
            problems.append(f"a fresh message did not pass within {time.monotonic() - began:.0f} s")
    return verdict


async def _awaited(scene: Scene, arrived: list[Arrival], dead: list[Arrival], problems: list[str]) -> Verdict:
    until = time.monotonic() + RECOVER
    verdict = Verdict(len(scene.owed), 0, 0, missing=sorted(scene.owed))
    while True:
        late = time.monotonic() > until
        trouble: Exception | None = None
        try:
            async with asyncio.timeout(150):
                arrived += await scene.place.arrived()
                dead += await scene.place.dead()
        except Exception as error:
            trouble = error
        if late or len(arrived) + len(dead) >= len(scene.owed):
            # Of 100,000 messages it takes seconds: in a thread, for the proxy lives in this event loop.
            verdict = await asyncio.to_thread(judge, scene.plan, scene.claimed, scene.owed, arrived, dead)
        if late and trouble is not None:
            problems.append(f"the destination could not be read: {trouble!r}")
        if late or not verdict.missing:
            return verdict
        await asyncio.sleep(0.3)


async def _ended(scene: Scene) -> int | None:
    scene.engines.release()
    codes = [await scene.engines.stop(slot) for slot in (2, 1, 0)]
    return codes[-1]


async def _mended(scene: Scene) -> None:
    if scene._proxy is not None:
        scene._proxy.mend()
    await asyncio.to_thread(scene.server.ensure)


async def _shown(scene: Scene, show: Callable[[Progress], object]) -> None:
    while not scene.over:
        show(Progress("", len(scene.owed), scene.count, scene.plan.messages, dict(scene.made + scene.engines.made)))
        await asyncio.sleep(0.1)


def _environment(url: str, place: Place, plan: Plan, fault: Fault, peer: str) -> dict[str, str]:
    # Where messages are handled one at a time, each is to take less, so that a run takes no longer.
    at_once = 1 if peer else WORKERS
    return {
        "FAULTS_URL": url,
        "FAULTS_NAME": place.source.removesuffix(".in"),
        "FAULTS_SEED": str(plan.seed),
        "FAULTS_MESSAGES": str(plan.messages),
        "FAULTS_POISON": str(plan.poison),
        "FAULTS_WORKERS": str(WORKERS),
        "FAULTS_PACE": str(fault.seconds * at_once / plan.messages / (2 if peer else 1)),
        "FAULTS_JUMPS": "1" if fault.jumps else "0",
    }


def _logged(engines: Engines) -> Counter[str]:
    """What the engines say has happened to them."""
    log = engines.logged()
    told = engines.told()
    told.pop("tasks", None)
    told["handled by others"] = engines.told("[1-9]")["handled"]
    said = ("next try in", "connected anew", "Unable connect to")  # the last is aiokafka's word
    told["reconnects"] = sum(map(log.count, said))
    told["crashed workers"] = len(re.findall(r"carry/\d+ crashed, restarted", log))
    told["crashed stages"] = log.count("carry crashed, restarted")
    return told
