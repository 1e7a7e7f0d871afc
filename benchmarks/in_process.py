"""The topologies of `benchmarks.engine` on the embedded broker, and what carries messages through one of them."""

import gc
from collections.abc import Callable
from time import perf_counter
from typing import Any

import anyio
from pydantic import BaseModel, Field

from actors import Message
from headrace import Engine, Memory, Topology


class Order(BaseModel):
    """The message of the benchmark."""

    id: int = Field(gt=0)
    customer: str
    priority: str = "low"
    total: float
    note: str


BODY = Order(id=1, customer="customer-000042", priority="high", total=129.95, note="x" * 105).model_dump_json().encode()


def plain(memory: Memory, workers: int = 1) -> Topology:
    """One subscriber, one publisher."""
    topology = Topology("plain")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), max_workers=workers)
    async def handle(order: Order) -> Order:
        return order

    return topology


def keyed(memory: Memory) -> Topology:
    """The same, in order by key. Every message has the same body, so a counter stands for the key."""
    topology = Topology("keyed")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), key=lambda message: (message.offset or 0) % 1000)
    async def handle(order: Order) -> Order:
        return order

    return topology


def routed(memory: Memory) -> Topology:
    """The same with a router between."""
    topology = Topology("routed")
    out = topology.publisher(memory.topic("out"))

    @topology.subscriber(memory.topic("in"))
    async def handle(order: Order) -> Order:
        return order

    @topology.router(handle, to=[out])
    async def route(order: Order) -> object:
        return out

    return topology


def deduplicated(memory: Memory) -> Topology:
    """The same, each message looked up by its id, and written down."""
    topology = Topology("deduplicated")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), deduplicate=True)
    async def handle(order: Order) -> Order:
        return order

    return topology


def run_engine(
    make: Callable[[Memory], Topology],
    count: int,
    ids: bool = False,
    traced_by: Any = None,
    measured_by: Any = None,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Seconds a message through a topology, from a full topic to the last one acknowledged.

    `traced_by` and `measured_by` are providers of OpenTelemetry's.
    """
    memory = Memory(capacity=count)
    topology = make(memory)

    async def main() -> float:
        async with memory:
            await fill(memory, count, ids)
            gc.collect()
            began = clock()
            await Engine(topology.graph(), tracer_provider=traced_by, meter_provider=measured_by).run(burst=True)
            return clock() - began

    seconds = anyio.run(main)
    arrived = memory.statistics().topics["out"].published
    if arrived != count:
        raise SystemExit(f"{topology!r}: {count} messages went in, {arrived} came out")
    return seconds / count


async def fill(memory: Memory, count: int, ids: bool = False) -> None:
    """Put that many messages into the topic, as fast as a sink can."""
    sink = memory.topic("in").sink()
    await sink.open()
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        run = [Message(raw=BODY, id=str(number)) if ids else Message(raw=BODY) for number in numbers]
        for message in run:
            message.destination = "in"
        await sink.publish(run)
