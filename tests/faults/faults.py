"""The faults: each says how it is made, where it applies, and what has to have happened for a run to prove anything."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.scene import Scene

ALL = ("redis", "nats", "rabbitmq", "kafka")


Make = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of trouble. `make` returns when it is over."""

    name: str
    says: str
    make: Callable[[Scene], Awaitable[None]]
    wanted: Mapping[str, int]
    """The least number of what has to be counted."""
    brokers: tuple[str, ...] = ALL
    seconds: float = 8.0
    """The messages are spread over that time, so that it meets some."""
    proxied: bool = False
    several: bool = False
    """Whether several engines share the work: order by key is promised only where the broker partitions."""
    refuses: bool = False
    """Whether the broker refuses messages: a publisher then keeps no order."""
    poison: float = 0.0
    jumps: bool = False
    server: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of the server, by broker."""


FAULTS: dict[str, Fault] = {}
"""All of them, by name."""


def fault(says: str, *, wanted: Mapping[str, int], **options: Any) -> Callable[[Make], Make]:
    """Add what is decorated to `FAULTS`; its name is that of the fault."""

    def add(make: Make) -> Make:
        name = make.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, says, make, wanted, **options)
        return make

    return add


def moments(scene: Scene, count: int) -> list[float]:
    """That many shares of the messages, spread over the run and never the same with another seed."""
    step = 0.8 / count
    return [0.08 + step * (number + scene.chance.random() * 0.8) for number in range(count)]


# -- the engine ------------------------------------------------------------------------------------------------------


@fault("nothing goes wrong", wanted={}, seconds=3)
async def none(scene: Scene) -> None:
    """Nothing."""


@fault("kill -9 of the engine, three times", wanted={"kills": 3, "restarts": 3, "redelivered": 1})
async def kill(scene: Scene) -> None:
    """It is started again at once."""
    for share in moments(scene, 3):
        await scene.until(share)
        await killed(scene)


async def killed(scene: Scene) -> None:
    """Kill the engine once, and wait until it is back at work."""
    scene.engines.kill()
    await scene.well()
    await scene.growing()


@fault("crash of a worker, eight times", wanted={"crashes": 8, "crashed workers": 8})
async def worker_crash(scene: Scene) -> None:
    """Seldom enough for its supervisor not to give up."""
    for share in moments(scene, 8):
        await scene.until(share)
        await crashed(scene, signal.SIGUSR1)
        await asyncio.sleep(0.7)


@fault("crash of a stage, twice", wanted={"crashes": 8, "crashed stages": 2})
async def stage_crash(scene: Scene) -> None:
    """So many crashes of workers that their pool gives up."""
    for share in moments(scene, 2):
        await scene.until(share)
        await crashed(scene, signal.SIGUSR2)
        await scene.growing()


@fault("crash of a supervisor and its process, twice", wanted={"crashes": 8, "ended with 70": 2, "restarts": 2})
async def supervisor_crash(scene: Scene) -> None:
    """So many crashes of stages that the topology gives up, and the process ends."""
    for share in moments(scene, 2):
        await scene.until(share)
        gone = scene.engines.made["ended with 70"]
        await crashed(scene, signal.SIGHUP)
        await scene.happened(lambda gone=gone: scene.engines.made["ended with 70"] > gone)  # type: ignore[misc]
        await scene.well()
        await scene.growing()


async def crashed(scene: Scene, number: signal.Signals) -> None:
    """Tell the engine to crash, and wait until the first of its workers has."""
    before = scene.engines.told()["crashes"]
    scene.engines.signal(number)
    await scene.happened(lambda: scene.engines.told()["crashes"] > before)
    await scene.well()


@fault("SIGTERM with full mailboxes, three times", wanted={"drains": 3, "restarts": 3})
async def sigterm(scene: Scene) -> None:
    """It drains, and is started again."""
    for share in moments(scene, 3):
        await scene.until(share)
        await drained(scene)


async def drained(scene: Scene) -> None:
    """Have the engine drain once, and wait until the next one is at work."""
    if await scene.engines.stop() == 0:
        scene.made["drains"] += 1
    await scene.well()
    await scene.growing()


@fault("SIGTERM, and again at once, three times", wanted={"cut short": 3, "restarts": 3})
async def two_signals(scene: Scene) -> None:
    """The second signal ends it without a drain."""
    for share in moments(scene, 3):
        await scene.until(share)
        scene.engines.signal(signal.SIGTERM)
        await asyncio.sleep(0.01)
        if await scene.engines.stop() == 128 + signal.SIGTERM:
            scene.made["cut short"] += 1
        await scene.well()
        await scene.growing()


@fault(
    "two more engines join and leave all the time, by SIGTERM and by kill -9, and twice the first leaves them alone",
    wanted={"joins": 6, "leaves": 6, "restarts": 2, "handled by others": 1},
    seconds=40,
    several=True,
)
async def rebalances(scene: Scene) -> None:
    """Every other time the one that leaves is killed."""
    for number, share in enumerate(moments(scene, 6)):
        await scene.until(share)
        await joined_and_left(scene, 1 + number % 2, killed=number % 4 > 1, alone=number in (1, 4))
    await scene.well()
    await scene.growing()


async def joined_and_left(scene: Scene, slot: int, *, killed: bool, alone: bool = False) -> None:
    """One more engine, for a second or two; meanwhile the first may be drained and started again."""
    log = scene.engines.log_path(slot)
    before = log.stat().st_size if log.exists() else 0
    scene.engines.start(slot)
    await scene.happened(lambda: log.stat().st_size > before)
    scene.made["joins"] += 1
    await asyncio.sleep(scene.chance.uniform(1, 2))
    if alone:
        await scene.engines.stop()
        await asyncio.sleep(1)
    if killed:
        scene.engines.kill(slot)
    else:
        await scene.engines.stop(slot)
    scene.made["leaves"] += 1


@fault("poison, 1 %: undecodable, invalid, always failing, hanging", wanted={"poisoned": 10}, poison=0.01)
async def poison(scene: Scene) -> None:
    """It is in the messages."""


@fault("the clock of the process jumps by up to an hour, four times a second", wanted={"jumps": 8}, jumps=True)
async def clock(scene: Scene) -> None:
    """It is in the process: `time.time` is patched."""


# -- the server ------------------------------------------------------------------------------------------------------


@fault("kill -9 of the server, twice", wanted={"server restarts": 2, "reconnects": 1})
async def server_kill(scene: Scene) -> None:
    """It is started again with its data."""
    for share in moments(scene, 2):
        await scene.until(share)
        await server_killed(scene)


async def server_killed(scene: Scene) -> None:
    """Kill the server once, start it, and wait until the engine is at work again."""
    await scene.server.async_restart(kill=True)
    scene.made["server restarts"] += 1
    await scene.well()
    await scene.growing()


@fault("SIGSTOP of the server for 15 s", wanted={"stops": 1})
async def server_stop(scene: Scene) -> None:
    """Connections stay, and nothing answers."""
    await scene.until(0.3)
    await stopped(scene, 15)


async def stopped(scene: Scene, seconds: float) -> None:
    """Freeze the server for so long."""
    scene.server.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        scene.server.resume()
    scene.made["stops"] += 1
    await scene.well()
    await scene.growing()


# -- the network -----------------------------------------------------------------------------------------------------


@fault("every connection reset, five times", wanted={"resets": 5, "reconnects": 1}, proxied=True)
async def reset(scene: Scene) -> None:
    """New ones are taken at once."""
    for share in moments(scene, 5):
        await scene.until(share)
        await broken(scene, scene.proxy.reset)


async def broken(scene: Scene, breaking: Callable[[], None]) -> None:
    """Break all connections; some have to be there, and new ones have to come."""
    before, accepted = scene.proxy.resets, scene.proxy.accepted
    breaking()
    scene.proxy.mend()
    scene.made["resets"] += scene.proxy.resets > before
    await scene.well()
    await scene.happened(lambda: scene.proxy.accepted > accepted)
    scene.made["reconnects"] += 1
    await scene.growing()


@fault("cut off for 3 s, twice", wanted={"cuts": 2, "reconnects": 1}, proxied=True)
async def cut(scene: Scene) -> None:
    """Connections are reset, and new ones too."""
    for share in moments(scene, 2):
        await scene.until(share)
        accepted = scene.proxy.accepted
        scene.proxy.cut()
        await asyncio.sleep(3)
        scene.proxy.mend()
        scene.made["cuts"] += 1
        await scene.well()
        await scene.growing()
        scene.made["reconnects"] += scene.proxy.accepted > accepted


@fault("stalled for 7 s, twice", wanted={"stalls": 2}, proxied=True)
async def stall(scene: Scene) -> None:
    """Connections stay, and nothing is carried."""
    for share in moments(scene, 2):
        await scene.until(share)
        await stalled(scene, 7)


async def stalled(scene: Scene, seconds: float, *directions: Any) -> None:
    """Carry nothing for so long, both ways or one."""
    scene.proxy.stall(*directions)
    await asyncio.sleep(seconds)
    scene.proxy.mend()
    scene.made["stalls"] += 1
    await scene.well()
    await scene.growing()


@fault("one direction stalled for 5 s, each", wanted={"stalls": 2}, proxied=True)
async def one_way(scene: Scene) -> None:
    """First the answers, then the requests."""
    for share, direction in zip(moments(scene, 2), ("answers", "requests"), strict=True):
        await scene.until(share)
        await stalled(scene, 5, direction)


@fault("slowed down to 20 kB/s for 6 s", wanted={"slow spells": 1}, proxied=True)
async def slow(scene: Scene) -> None:
    """Source and destination alike."""
    await scene.until(0.3)
    scene.proxy.slow(20_000)
    await asyncio.sleep(6)
    scene.proxy.mend()
    scene.made["slow spells"] += 1
    await scene.well()
    await scene.growing()


@fault(
    "answers lost after the server took the messages, four times",
    wanted={"lost answers": 4, "reconnects": 1},
    proxied=True,
)
async def confirm_lost(scene: Scene) -> None:
    """Among them confirms of what was published."""
    for share in moments(scene, 4):
        await scene.until(share)
        await answers_lost(scene)


async def answers_lost(scene: Scene) -> None:
    """Hold the answers back until the server has given some, and then break the connections."""
    lost = scene.proxy.lost["answers"]
    scene.proxy.stall("answers")
    await asyncio.sleep(0.3)
    await broken(scene, scene.proxy.reset)
    scene.made["lost answers"] += scene.proxy.lost["answers"] > lost


# -- refusals --------------------------------------------------------------------------------------------------------


@fault("the destination refuses what is published, for 4 s", wanted={"refusals": 1}, refuses=True)
async def refused(scene: Scene) -> None:
    """Each broker in its way: `refuse` and `accept` of its places."""
    await scene.until(0.3)
    try:
        await scene.place.refuse()
        await asyncio.sleep(1)
        before = scene.count
        await asyncio.sleep(3)
        scene.made["refusals"] += scene.count == before
    finally:
        await scene.place.accept()
    await scene.well()
    await scene.growing()


# -- all of it -------------------------------------------------------------------------------------------------------


@fault(
    "all of these in turn, in another order with every seed, with 1 % poison",
    wanted={"kills": 3, "server restarts": 1, "resets": 2, "stalls": 1, "stops": 1, "drains": 1, "crashes": 2},
    seconds=40,
    proxied=True,
    poison=0.01,
    jumps=True,
)
async def mixed(scene: Scene) -> None:
    """Those that need no other promise: one engine at a time where the broker does not partition by key."""
    acts: list[Callable[[], Awaitable[None]]] = [
        *(lambda: killed(scene) for _ in range(3)),
        lambda: server_killed(scene),
        lambda: stopped(scene, 5),
        *(lambda: broken(scene, scene.proxy.reset) for _ in range(2)),
        lambda: stalled(scene, 3),
        lambda: stalled(scene, 2, "answers"),
        lambda: answers_lost(scene),
        lambda: drained(scene),
        lambda: crashed(scene, signal.SIGUSR1),
        lambda: crashed(scene, signal.SIGUSR2),
    ]
    if scene.place.across:
        acts += [lambda: joined_and_left(scene, 1, killed=False), lambda: joined_and_left(scene, 2, killed=True)]
    scene.chance.shuffle(acts)
    for share, act in zip(moments(scene, len(acts)), acts, strict=True):
        await scene.until(share)
        await act()
