"""A gateway: one entrance, and each event goes on by the broker of its receivers, in the envelope that they expect.

Events come in an envelope of their own, with the kind and the sender beside the payload. Those by Kafka get the
payload alone, with the rest in headers; those by RabbitMQ a CloudEvent; those by NATS and Redis the envelope as it is.

`python examples/gateway.py` runs on the embedded broker; KAFKA_URL, RABBITMQ_URL, NATS_URL and REDIS_URL name real
ones.
"""

from datetime import UTC, datetime
from typing import Any

import anyio
from pydantic import BaseModel, Field
from showing import arrived, server

from headrace import Engine, Message, Topology


class Event(BaseModel):
    id: str
    kind: str
    sender: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    payload: dict[str, Any]


class CloudEvent(BaseModel):
    specversion: str = "1.0"
    id: str
    type: str
    source: str
    time: datetime
    data: dict[str, Any]


kafka, rabbit = server("KAFKA_URL"), server("RABBITMQ_URL")
nats, redis = server("NATS_URL"), server("REDIS_URL")
topology = Topology("gateway")

billing = topology.publisher(kafka.topic("billing.events"))
shipping = topology.publisher(rabbit.queue("shipping.events"))
alerts = topology.publisher(nats.stream("ALERTS", subject="alerts.events"))
audit = topology.publisher(redis.stream("audit.events"))


@topology.subscriber(redis.stream("gateway"), max_workers=4)
async def entrance(event: Event) -> Event:
    return event


@topology.router(entrance, to=[billing, shipping, alerts, audit])
def by_kind(event: Event) -> object:
    """Every event is audited; what else becomes of it depends on its kind."""
    everyone = [audit]
    match event.kind.partition(".")[0]:
        case "invoice":
            return [*everyone, billing.send(event.payload, key=event.id, headers=envelope(event))]
        case "parcel":
            return [*everyone, shipping.send(as_cloud_event(event))]
        case "alarm":
            return [*everyone, alerts]
    return everyone


def envelope(event: Event) -> dict[str, str | bytes]:
    return {"event-kind": event.kind, "event-sender": event.sender, "event-time": event.at.isoformat()}


def as_cloud_event(event: Event) -> Message:
    body = CloudEvent(id=event.id, type=event.kind, source=event.sender, time=event.at, data=event.payload)
    return Message(body, headers={"content-type": "application/cloudevents+json"})


async def main() -> None:
    kinds = ["invoice.paid", "parcel.sent", "alarm.fire", "visit", "invoice.sent"]
    async with redis:
        for number, kind in enumerate(kinds):
            event = Event(id=f"e{number}", kind=kind, sender="shop", payload={"number": number})
            await redis.stream("gateway").publish(event)
    await Engine(topology.graph()).run(burst=True)
    for endpoint in (
        kafka.topic("billing.events"),
        rabbit.queue("shipping.events"),
        nats.stream("ALERTS", subject="alerts.events"),
        redis.stream("audit.events"),
    ):
        for message in await arrived(endpoint):
            kind = (message.headers or {}).get("event-kind", "")
            print(endpoint.name, kind, (message.raw or b"").decode())


if __name__ == "__main__":
    anyio.run(main)
