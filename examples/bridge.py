"""A bridge: what comes by RabbitMQ is validated, enriched, and goes on by Kafka, acknowledged once Kafka has it.

`python examples/bridge.py` runs on the embedded broker; RABBITMQ_URL and KAFKA_URL name real ones.
"""

import anyio
from pydantic import BaseModel, Field
from showing import arrived, server

from headrace import Engine, Topology


class Order(BaseModel):
    id: int = Field(gt=0)
    customer: str
    total: float


class Enriched(Order):
    vat: float


rabbit = server("RABBITMQ_URL")
kafka = server("KAFKA_URL")
topology = Topology("bridge")


@topology.publisher(kafka.topic("orders.enriched"), key="customer")
@topology.subscriber(rabbit.queue("orders"), max_workers=16)
async def enrich(order: Order) -> Enriched:
    return Enriched(**order.model_dump(), vat=round(order.total * 0.21, 2))


async def main() -> None:
    async with rabbit:
        for number in range(1, 6):
            order = Order(id=number, customer=f"customer-{number % 2}", total=10.0 * number)
            await rabbit.queue("orders").publish(order)
    await Engine(topology.graph()).run(burst=True)
    for message in await arrived(kafka.topic("orders.enriched")):
        print(message.key, (message.raw or b"").decode())


if __name__ == "__main__":
    anyio.run(main)
