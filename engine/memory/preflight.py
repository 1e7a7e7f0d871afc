"""What the embedded broker makes of an edge: no server, no settings, and nothing that outlives the process."""

from collections.abc import Sequence

from engine.brokers.findings import Edge, Found, Verdict
from engine.memory.broker import Memory

OUTLIVES = "Kafka, RabbitMQ, Redis or Nats"


async def inspect(broker: Memory, edges: Sequence[Edge]) -> list[Verdict]:
    """What each edge has; nothing is asked, and nothing waited for."""
    return [judge(edge) for edge in edges]


def judge(edge: Edge) -> Verdict:
    """What an edge has, which is the same for all: messages are in this process, and gone with it."""
    found = Found("at least once, within this process")
    found.add("limit", "Memory()", "all messages go with the process", OUTLIVES)
    return found.verdict(edge)
