"""`deduplicate=` by the id that each real broker carries: published twice, done once; without an id always done."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from pydantic import BaseModel

from headrace import Deduplicate, Engine, Kafka, Nats, RabbitMQ, Redis, Topology

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int


def _nats(server: Any, name: str) -> Any:
    return Nats(server.url).stream(name, subject=name)


ENDPOINTS: dict[str, Callable[[Any, str], Any]] = {
    "redis": lambda server, name: Redis(server.url).stream(name),
    "nats": _nats,
    "rabbitmq": lambda server, name: RabbitMQ(server.url).queue(name),
    "kafka": lambda server, name: Kafka(server.bootstrap).topic(name),
}


@pytest.mark.parametrize("system", ENDPOINTS)
async def test_by_id_what_is_published_twice_is_done_once(system: str, request: pytest.FixtureRequest) -> None:
    name = f"d-{uuid4().hex}"
    endpoint = ENDPOINTS[system](request.getfixturevalue(f"{system}_server"), name)
    handled: list[int] = []
    topology = Topology(name)

    @topology.subscriber(endpoint, deduplicate=Deduplicate(window=60))
    async def handle(order: Order) -> None:
        handled.append(order.id)

    engine = Engine(topology.graph())
    async with endpoint.broker:
        for number, id in [(1, "a"), (2, "b"), (1, "a"), (3, "a"), (1, "a")]:
            await endpoint.publish(Order(id=number), id=id)
    with anyio.fail_after(40):
        await engine.run(burst=True)
    assert sorted(handled) == [1, 2, 3]
    assert (engine.status()[0].duplicates, engine.status()[0].settled) == (2, 5)


@pytest.mark.parametrize("system", ["redis", "nats", "kafka"])
async def test_a_position_is_no_id(system: str, request: pytest.FixtureRequest) -> None:
    """Published by others, who give none: handled however equal they are."""
    name = f"d-{uuid4().hex}"
    endpoint = ENDPOINTS[system](request.getfixturevalue(f"{system}_server"), name)
    identified: list[Any] = []
    topology = Topology(name)

    @topology.subscriber(endpoint, deduplicate=True)
    async def handle(order: Order) -> None:
        identified.append(order.id)

    async with endpoint.broker:
        for _ in range(3):
            await endpoint.publish(Order(id=1))
    engine = Engine(topology.graph())
    with anyio.fail_after(40):
        await engine.run(burst=True)
    assert identified == [1, 1, 1]
