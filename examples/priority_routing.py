"""Content-based routing: by priority, by tenant and by the kind of event, with templates in the destinations.

`python examples/priority_routing.py` runs on the embedded broker; RABBITMQ_URL and KAFKA_URL name real ones.
"""

from typing import Literal

import anyio
from pydantic import BaseModel
from showing import arrived, server

from headrace import Engine, Topology


class Event(BaseModel):
    id: int
    tenant: str
    kind: Literal["order", "refund", "visit"]
    priority: Literal["high", "low"] = "low"


rabbit, kafka = server("RABBITMQ_URL"), server("KAFKA_URL")
topology = Topology("routing")

urgent = topology.publisher(rabbit.queue("urgent.{tenant}"))
refunds = topology.publisher(kafka.topic("refunds"), key="tenant")
by_tenant = topology.publisher(kafka.topic("{tenant}.{kind}s"), key="id")


@topology.router(rabbit.queue("events"), to=[urgent, refunds, by_tenant], max_workers=4)
def by_content(event: Event) -> object:
    if event.kind == "visit":
        return None  # nobody asks for these: acknowledged, and that is all
    if event.priority == "high":
        return [urgent, by_tenant]
    return refunds if event.kind == "refund" else by_tenant


EVENTS = [
    Event(id=1, tenant="acme", kind="order"),
    Event(id=2, tenant="acme", kind="order", priority="high"),
    Event(id=3, tenant="blue", kind="refund"),
    Event(id=4, tenant="blue", kind="visit"),
    Event(id=5, tenant="blue", kind="order"),
]


async def main() -> None:
    async with rabbit:
        for event in EVENTS:
            await rabbit.queue("events").publish(event)
    await Engine(topology.graph()).run(burst=True)
    for endpoint in (
        rabbit.queue("urgent.acme"),
        kafka.topic("refunds"),
        kafka.topic("acme.orders"),
        kafka.topic("blue.orders"),
    ):
        print(endpoint.name, [Event.model_validate_json(each.raw or b"").id for each in await arrived(endpoint)])


if __name__ == "__main__":
    anyio.run(main)
