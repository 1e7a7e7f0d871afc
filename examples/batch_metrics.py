"""Batches: metrics come one by one, are taken up to 100 at a time, and their sums go out.

A metric that is no number fails alone and is dead; the others of its batch count.

`python examples/batch_metrics.py` runs on the embedded broker; KAFKA_URL names a real one.
"""

from collections import defaultdict
from collections.abc import AsyncIterator

import anyio
from pydantic import BaseModel
from showing import arrived, server

from headrace import Batch, BatchError, Engine, Topology


class Metric(BaseModel):
    name: str
    value: float | str


class Sum(BaseModel):
    name: str
    count: int
    total: float


kafka = server("KAFKA_URL")
topology = Topology("metrics")


@topology.publisher(kafka.topic("metrics.sums"), key="name")
@topology.subscriber(kafka.topic("metrics"), batch=Batch(size=100, wait=0.2))
async def sums(metrics: list[Metric]) -> AsyncIterator[Sum]:
    values: dict[str, list[float]] = defaultdict(list)
    wrong: dict[int, Exception] = {}
    for at, metric in enumerate(metrics):
        if isinstance(metric.value, str):
            wrong[at] = ValueError(f"{metric.name} is {metric.value!r}, which is no number")
        else:
            values[metric.name].append(metric.value)
    for name, found in values.items():
        yield Sum(name=name, count=len(found), total=sum(found))
    if wrong:
        raise BatchError(wrong)


async def main() -> None:
    async with kafka:
        for number in range(250):
            value = "unknown" if number == 77 else float(number)
            await kafka.topic("metrics").publish(Metric(name=f"sensor-{number % 2}", value=value))
    await Engine(topology.graph()).run(burst=True)
    counts: dict[str, list[int]] = defaultdict(list)
    for message in await arrived(kafka.topic("metrics.sums")):
        each = Sum.model_validate_json(message.raw or b"")
        counts[each.name].append(each.count)
    for name, found in sorted(counts.items()):
        print(name, "metrics", sum(found), "batches", len(found))
    for message in await arrived(kafka.topic("metrics.dead")):
        print("dead:", (message.headers or {})["headrace-reason"])


if __name__ == "__main__":
    anyio.run(main)
