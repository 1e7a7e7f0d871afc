"""What `headrace check` notes of a topology: what its declaration tells, without a server."""

from typing import Any

import pytest

from engine.cli.notes import notes
from headrace import Kafka, Memory, Nats, RabbitMQ, Redis, Topology

memory, kafka, rabbit, redis, nats = Memory(), Kafka(), RabbitMQ(), Redis(), Nats()


async def take(order: dict[str, Any]) -> dict[str, Any]:
    return order


async def other(order: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("endpoint", [redis.channel("news"), nats.subject("news")], ids=repr)
def test_where_nobody_listens_is_noted_of_whatever_is_published_or_buried_there(endpoint: Any) -> None:
    topology = Topology("noted")
    topology.publisher(endpoint)(topology.subscriber(rabbit.queue("orders"), dead_letter=endpoint)(take))
    missed = "whoever does not listen at that moment never gets it"
    assert notes(topology.graph()) == [
        f"take: its dead letters go to news, which delivers at most once: {missed}",
        f"to:news: news delivers at most once: {missed}",
    ]


def test_what_is_delivered_again_is_not_noted() -> None:
    topology = Topology("quiet")
    topology.publisher(kafka.topic("out"))(topology.subscriber(redis.channel("in"))(take))
    assert notes(topology.graph()) == ["take: in delivers at most once: what a crash interrupts is lost"]


def test_braces_that_look_like_a_field_are_noted_and_those_of_a_pattern_are_not() -> None:
    topology = Topology("noted")
    topology.subscriber(redis.stream("orders{eu}"), kafka.topic(pattern="[a-z]{2}"), dead_letter=redis.list("x{eu}"))(
        take
    )
    told = "is taken as it is: its braces are a part of the name, and no field"
    assert notes(topology.graph()) == [f"take: orders{{eu}} {told}", f"take: x{{eu}} {told}"]


@pytest.mark.parametrize("name", ["orders", "{kind}"])
def test_a_publisher_that_feeds_itself_is_noted(name: str) -> None:
    topology = Topology("noted")

    @topology.subscriber(take)
    async def last(order: dict[str, Any]) -> dict[str, Any]:
        return order

    topology.subscriber(memory.topic("orders"))(take)
    topology.publisher(memory.topic(name))(last)
    (note,) = notes(topology.graph())
    assert note == f"to:{name}: publishes to orders, which it is fed from: what is published comes round again"


def test_a_queue_and_a_topic_of_one_name_and_two_brokers_are_no_circle() -> None:
    topology = Topology("quiet")
    topology.subscriber(memory.topic("orders"), rabbit.queue("events"))(take)
    topology.publisher(Memory().topic("orders"))(take)
    topology.publisher(rabbit.exchange("events"))(take)
    assert notes(topology.graph()) == []


SHARED = [
    rabbit.queue("orders"),
    redis.list("orders"),
    memory.topic("orders", group="g"),
    kafka.topic("orders", group="g"),
    nats.stream("ORDERS", durable="d"),
    nats.subject("orders", queue="q"),
]
APART = [
    memory.topic("orders"),
    kafka.topic("orders"),
    redis.stream("orders"),
    redis.channel("orders"),
    nats.stream("ORDERS"),
    rabbit.exchange("orders"),
]


@pytest.mark.parametrize("endpoint", SHARED, ids=repr)
def test_two_handlers_that_share_what_comes_are_noted(endpoint: Any) -> None:
    topology = Topology("noted")
    topology.subscriber(endpoint)(take)
    topology.subscriber(endpoint)(other)
    shared = [note for note in notes(topology.graph()) if " both " in note]
    name = endpoint.name
    assert shared == [f"take, other: both take from {name} as one group: each message goes to one of them alone"]


@pytest.mark.parametrize("endpoint", APART, ids=repr)
def test_handlers_that_have_a_group_each_are_not_noted(endpoint: Any) -> None:
    topology = Topology("quiet")
    topology.subscriber(endpoint)(take)
    topology.subscriber(endpoint)(other)
    assert not [note for note in notes(topology.graph()) if " both " in note]


def test_one_handler_that_is_two_stages_shares_with_itself() -> None:
    topology = Topology("quiet")
    for name in ("first", "second"):
        topology.subscriber(rabbit.queue("orders"), name=name)(take)
    assert notes(topology.graph()) == []
