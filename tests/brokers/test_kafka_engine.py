"""An engine on Kafka: patterns, templates, order by key, dead letters, replies, and the end of a burst."""

import json
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from actors import DEAD_LETTER_PREFIX, Message, Retry
from engine import Engine
from tests.brokers.contract import message, opened
from tests.brokers.kafkas import committed, fresh, near, there
from tests.servers.kafka import Kafka as KafkaServer
from topologies import Topology

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int
    tenant: str


async def publish(topic: Any, *bodies: Any, key: str = "tenant") -> None:
    """Publish JSON with one of its fields as the key."""
    sink = topic.sink()
    async with opened(sink):
        await sink.publish([message(json.dumps(body), topic.name, key=body.get(key)) for body in bodies])


async def test_what_matches_a_pattern_goes_where_a_template_says_or_to_the_dead_letters(
    kafka_server: KafkaServer,
) -> None:
    stem = fresh()
    kafka = near(kafka_server)
    topology = Topology(stem)
    source = kafka.topic(pattern=f"{stem}\\.in\\..*")

    @topology.publisher(kafka.topic(f"{stem}.out.{{tenant}}"), key="tenant")
    @topology.subscriber(source, retry=Retry(attempts=2, first=0.01), max_workers=4)
    async def pass_on(order: Order) -> Order:
        if order.id == 13:
            raise ValueError("unlucky")
        return order

    await publish(kafka.topic(f"{stem}.in.a"), *({"id": number, "tenant": "x"} for number in range(10)))
    await publish(
        kafka.topic(f"{stem}.in.b"), *({"id": number, "tenant": "y"} for number in range(10, 20)), {"id": "?"}
    )
    with anyio.fail_after(40):
        await Engine(topology.graph()).run(burst=True)

    for tenant, numbers in (("x", set(range(10))), ("y", set(range(10, 20)) - {13})):
        records = await there(kafka_server, f"{stem}.out.{tenant}")
        assert {json.loads(record.value)["id"] for record in records} == numbers
        assert {record.key for record in records} == {tenant.encode()}
    letters = await there(kafka_server, source.dead_letter().name)
    assert sorted(json.loads(letter.value)["id"] for letter in letters if b"13" in letter.value) == [13]
    headers = [{name: value.decode() for name, value in letter.headers} for letter in letters]
    assert sorted(each[f"{DEAD_LETTER_PREFIX}error-type"] for each in headers) == ["DecodeError", "ValueError"]
    assert {each[f"{DEAD_LETTER_PREFIX}origin-broker"] for each in headers} == {"kafka"}
    group = f"{stem}.pass_on"
    assert (await committed(kafka_server, group, f"{stem}.in.a")).offset == 10
    assert (await committed(kafka_server, group, f"{stem}.in.b")).offset == 11


async def test_messages_of_one_key_stay_in_order_among_sixteen_workers(kafka_server: KafkaServer) -> None:
    name, handled = fresh(), []
    kafka = near(kafka_server)
    topology = Topology(name)

    @topology.publisher(kafka.topic(f"{name}.out"), key="tenant")
    @topology.subscriber(kafka.topic(name), key="tenant", max_workers=16)
    async def pass_on(order: Order, got: Message) -> Order:
        await anyio.sleep((order.id * 7919 % 13) / 4000)
        handled.append((order.tenant, order.id))
        return order

    orders = [{"id": number, "tenant": f"t{number % 10}"} for number in range(600)]
    await publish(kafka.topic(name, partitions=3), *orders)
    with anyio.fail_after(40):
        await Engine(topology.graph()).run(burst=True)

    assert len(handled) == 600
    assert [each for _, each in handled] != sorted(each for _, each in handled)
    for tenant in {tenant for tenant, _ in handled}:
        assert [each for of, each in handled if of == tenant] == list(range(int(tenant[1:]), 600, 10))


async def test_a_question_is_answered(kafka_server: KafkaServer) -> None:
    kafka = near(kafka_server)
    topology, topic = Topology(fresh()), kafka.topic(fresh())

    @topology.subscriber(topic)
    async def double(order: Order) -> Order:
        return Order(id=order.id * 2, tenant=order.tenant)

    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks, kafka:
        tasks.start_soon(engine.run)
        for number in (1, 2):
            reply = await topic.request(Order(id=number, tenant="t"), timeout=30, returns=Order)
            assert reply.body == Order(id=number * 2, tenant="t")
        engine.drain()
