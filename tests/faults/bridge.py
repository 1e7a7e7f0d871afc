"""The engine under test: a bridge that keeps order by key, with workers that wait, fail, hang and crash.

    python -m headrace run tests.faults.bridge:topology

It is told by the environment (`FAULTS_...`) what to carry from where to where. SIGUSR1 makes the next message crash its
worker; SIGUSR2 the next five, with which the stage gives up; SIGHUP so many that the process does.
"""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace import Crash, Kafka, Message, Nats, RabbitMQ, Redis, Retry, Supervision, Topology
from tests.faults.oracle import Plan
from tests.faults.witness import Witness


class Settings(BaseSettings):
    """What it is told by the environment."""

    model_config = SettingsConfigDict(env_prefix="FAULTS_")

    url: str
    name: str
    """What all of its places begin with."""
    witness: Path
    """The file that it keeps count in."""
    slot: int = 0
    """Which of the engines it is; one that is started again has the same one."""
    seed: int = 0
    messages: int = 0
    poison: float = 0.0
    workers: int = 32
    pace: float = 0.0005
    """Seconds that a handler takes in the mean; where that is little, some take `LITTLE` and the others nothing."""
    jumps: bool = False
    """Whether the clock of this process jumps."""


class Item(BaseModel):
    """What is carried."""

    id: Annotated[int, Field(ge=0)]
    key: str
    sequence: int
    checksum: str


LITTLE = 0.01
settings = Settings()
plan = Plan(settings.seed, settings.messages, poison=settings.poison)
witness = Witness(settings.witness)
chance = random.Random(f"{settings.seed} {time.time_ns()}")
failed: set[int] = set()
crashes = 0


def _places() -> tuple[Any, Any]:
    """Source and destination, set up the way the documentation has it for where order matters."""
    url, name = settings.url, settings.name
    match url.partition(":")[0]:
        case "kafka":
            kafka = Kafka(
                url.removeprefix("kafka://"),
                group_instance_id=f"{name}-{settings.slot}",
                session_timeout=6,
                commit_interval=0.5,
                request_timeout=5,
                stall=5,
                publish_timeout=10,
            )
            return kafka.topic(name, group=name), kafka.topic(f"{name}.out")
        case "redis":
            redis = Redis(url, min_idle=3, timeout=3, connect_timeout=2, consumer=f"{name}-{settings.slot}")
            return redis.stream(name, group=name), redis.stream(f"{name}.out")
        case "nats":
            nats = Nats(url, ack_wait=3, timeout=2, connect_timeout=2, ping_interval=2)
            return nats.stream(name, subject=f"{name}.in"), nats.stream(f"{name}-out", subject=f"{name}.out")
        case _:
            rabbit = RabbitMQ(url, heartbeat=4, timeout=5, connect_timeout=3)
            return rabbit.queue(name, single_active_consumer=True), rabbit.queue(f"{name}.out")


source, destination = _places()
topology = Topology("bridge", supervision=Supervision(intensity=3, period=2, backoff=0.02, cap=0.5))


@topology.publisher(destination, key="key", retry=Retry(attempts=1000, first=0.05, cap=0.5))
@topology.subscriber(
    source,
    key="key",
    max_workers=settings.workers,
    timeout=0.7,
    retry=Retry(attempts=8, first=0.02, cap=0.2),
)
async def carry(item: Item, message: Message) -> Item:
    """Hand it on; on the way wait a little, or be what the message is poison for."""
    global crashes
    if message.attempt > 1 and item.id not in failed:
        witness.add("redelivered")
    if crashes > 0 and message.attempt == 1:  # once each: a crash is a try that failed, and so is a redelivery
        crashes -= 1
        failed.add(item.id)
        witness.add("crashes")
        raise Crash("told to")
    kind = plan.kind(item.id)
    if kind != "good":
        failed.add(item.id)
        witness.add("poisoned")
        if kind == "hangs":
            await anyio.sleep_forever()
        raise ValueError(f"{item.id} cannot be handled")
    if chance.random() < settings.pace / LITTLE:
        await anyio.sleep(chance.random() * 2 * max(settings.pace, LITTLE))
    witness.add("handled")
    return item


@topology.lifespan
async def watched(context: dict[str, Any]) -> AsyncIterator[None]:
    """Listen to signals, and note how many tasks there are."""

    def crash(count: int) -> None:
        global crashes
        crashes += count

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, crash, 1)
    loop.add_signal_handler(signal.SIGUSR2, crash, 5)
    loop.add_signal_handler(signal.SIGHUP, crash, 1_000_000)
    noting = asyncio.create_task(_note())
    yield
    noting.cancel()


async def _note() -> None:
    while True:
        witness.set("tasks", len(asyncio.all_tasks()))
        await asyncio.sleep(1)


def _jump() -> None:
    """Let the wall clock of this process be wrong by up to an hour, by something else every quarter of a second."""
    real = time.time

    def wrong() -> float:
        now = real()
        witness.set("jumps", int(now * 4) - began)
        return now + random.Random(int(now * 4)).uniform(-3600, 3600)

    began = int(real() * 4)
    time.time = wrong


if settings.jumps:
    _jump()
