"""RabbitMQ has something against a single message: that one is refused, and neither the others nor the sink are."""

from typing import Any

import anyio
import pytest
from aiormq import spec

from actors import Message
from engine.rabbitmq.broker import RabbitMQ
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.test_rabbitmq import fresh
from tests.servers.rabbitmq import RabbitMQ as Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def rabbit(rabbitmq_server: Server) -> RabbitMQ:
    return RabbitMQ(rabbitmq_server.url)


def run_of(name: str, *headers: Any) -> list[Message]:
    """Messages with those headers, numbered."""
    return [message(number, name, headers=each) for number, each in enumerate(headers)]


# -- headers that RabbitMQ takes for its own --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CC", "BCC"])
async def test_a_header_that_rabbitmq_would_route_by_is_carried_under_another_name(rabbit: RabbitMQ, name: str) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    given: dict[str, str | bytes] = {name: "boss@example.com", "a": "b"}
    async with opened(sink, source):
        with anyio.fail_after(10):
            await sink.publish(run_of(queue.name, None, given, None))
            await sink.publish([message(3, queue.name)])
            run = await fetched(source, 4)
    assert numbers(run) == [0, 1, 2, 3]
    assert [each.headers for each in run] == [{}, given, {}, {}]
    assert run[1].record.headers == {f"headrace-{name.lower()}": "boss@example.com", "a": "b"}
    assert given == {name: "boss@example.com", "a": "b"}


async def test_copies_that_another_has_sent_are_not_sent_again(rabbit: RabbitMQ) -> None:
    queue, copy, behind = (rabbit.queue(fresh(), kind="classic") for _ in range(3))
    first, other, last = queue.source("g"), copy.source("g"), behind.source("g")
    sink, copying = behind.sink(), copy.sink()
    async with opened(first, other, last, sink, copying):
        wire = await rabbit.reading().wire()
        async with wire.channel() as channel:
            properties = spec.Basic.Properties(headers={"CC": [copy.name]})
            await channel.basic_publish(b"1", routing_key=queue.name, properties=properties)
        with anyio.fail_after(10):
            (came,) = await first.fetch(1)
            assert numbers(await other.fetch(9)) == [1]
            assert came.headers == {"CC": f'["{copy.name}"]'}
            await sink.publish([message(2, behind.name, headers=came.headers)])
            (again,) = await last.fetch(9)
            assert again.headers == came.headers
            await copying.publish([message(3, copy.name)])
            assert numbers(await other.fetch(9)) == [3], "no copy of the second came before"
