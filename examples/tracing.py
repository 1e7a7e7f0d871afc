"""A message's way as one trace: through a topology, and on from broker to broker. Spans are printed as a tree.

`python examples/tracing.py` runs on the embedded broker; KAFKA_URL and RABBITMQ_URL name real ones. A service that is
run by `headrace run` needs none of the first lines: OTEL_TRACES_EXPORTER=console shows its spans.
"""

import anyio
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel
from showing import arrived, server

from headrace import Engine, Topology

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = trace.get_tracer("shop")


class Order(BaseModel):
    id: int
    priority: str = "low"
    tenant: str = ""


rabbit, kafka = server("RABBITMQ_URL"), server("KAFKA_URL")
topology = Topology("orders")
urgent = topology.publisher(kafka.topic("orders.urgent"))
normal = topology.publisher(kafka.topic("orders.normal"))


@topology.subscriber(rabbit.queue("orders"))
async def enrich(order: Order) -> Order:
    with tracer.start_as_current_span("look up the customer"):  # nests under the span of this message
        order.tenant = str(baggage.get_baggage("tenant"))  # came with the message, from whoever sent it
    return order


@topology.router(enrich, to=[urgent, normal])
def by_priority(order: Order) -> object:
    return urgent if order.priority == "high" else normal


async def main() -> None:
    trace.set_tracer_provider(provider)
    async with rabbit, kafka:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        with tracer.start_as_current_span("checkout"):
            await rabbit.queue("orders").publish(Order(id=1, priority="high"))
        context.detach(token)
        await Engine(topology.graph()).run(burst=True)
        for message in await arrived(kafka.topic("orders.urgent")):
            print("arrived:", (message.raw or b"").decode())
    show(exporter.get_finished_spans())


def show(spans: tuple[ReadableSpan, ...], below: int | None = None, depth: int = 0) -> None:
    """Print the spans below another as a tree, without those that begin a trace of their own at a broker."""
    for span in spans:
        parent = span.parent.span_id if span.parent is not None else None
        if parent == below and not span.name.startswith("receive"):
            print("  " * depth + span.name)
            show(spans, span.get_span_context().span_id, depth + 1)  # type: ignore[union-attr] # it has ended


if __name__ == "__main__":
    anyio.run(main)
