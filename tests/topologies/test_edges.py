"""What a stage may take from, publish to and bury in: on every broker, refused when the topology is compiled."""

from typing import Any

import pytest

from headrace import Kafka, Memory, Nats, RabbitMQ, Redis, Topology
from tests.topologies.refusing import refusal

memory, kafka, rabbit, redis, nats = Memory(), Kafka(), RabbitMQ(), Redis(), Nats()

TEMPLATES = [
    memory.topic("orders.{customer}"),
    kafka.topic("orders.{customer}"),
    rabbit.queue("orders.{customer}"),
    rabbit.exchange("orders", routing_key="{customer}"),
    nats.subject("orders.{customer}"),
    nats.stream("ORDERS", subject="orders.{customer}"),
]
PATTERNS = [
    kafka.topic(pattern=r"orders\.[a-z]{2}"),
    rabbit.exchange("orders", routing_key="eu.*"),
    rabbit.exchange("orders", routing_key="#"),
    redis.channel("orders.*"),
    redis.channel("orders.[ab]"),
    nats.subject("orders.*"),
    nats.stream("ORDERS", subject="orders.>"),
]
HASH_TAGS = [redis.stream("orders{eu}"), redis.list("orders{eu}"), redis.channel("orders{eu}")]
"""Where braces are a part of the name that is read: in a cluster they say where it lies."""
PLAIN = [
    memory.topic("orders"),
    kafka.topic("orders"),
    rabbit.exchange("orders", type="direct", routing_key="eu.*"),
    rabbit.exchange("orders", routing_key="a*b"),
    redis.stream("orders.*"),
    nats.subject("orders.new"),
]


async def handle(order: dict[str, Any]) -> dict[str, Any]:
    return order


def taking_from(endpoint: Any) -> Topology:
    topology = Topology("edges")
    topology.subscriber(endpoint)(handle)
    return topology


def publishing_to(endpoint: Any) -> Topology:
    topology = Topology("edges")
    topology.publisher(endpoint)(topology.subscriber(memory.topic("in"))(handle))
    return topology


def burying_in(endpoint: Any) -> Topology:
    topology = Topology("edges")
    topology.subscriber(memory.topic("in"), dead_letter=endpoint)(handle)
    return topology


@pytest.mark.parametrize("endpoint", TEMPLATES, ids=repr)
def test_a_template_is_published_to_and_neither_read_nor_a_grave(endpoint: Any) -> None:
    assert publishing_to(endpoint).graph()
    read, buried = refusal(taking_from(endpoint).graph), refusal(burying_in(endpoint).graph)
    assert f"handle: takes from {endpoint.name!r}, a template: it can be published to, and not read" in read.problem
    assert f"handle: its dead letters go to {endpoint.name!r}, a template" in buried.problem
    assert "name one place" in read.remedy
    assert "leave dead_letter= out" in buried.remedy


@pytest.mark.parametrize("endpoint", PATTERNS, ids=repr)
def test_a_pattern_is_read_and_neither_published_to_nor_a_grave(endpoint: Any) -> None:
    assert taking_from(endpoint).graph()
    published, buried = refusal(publishing_to(endpoint).graph), refusal(burying_in(endpoint).graph)
    assert f"publishes to {endpoint.name!r}, a pattern: it can be read, and not published to" in published.problem
    assert f"handle: its dead letters go to {endpoint.name!r}, a pattern" in buried.problem
    assert "name one place" in published.remedy


@pytest.mark.parametrize("endpoint", HASH_TAGS, ids=repr)
def test_a_hash_tag_of_redis_is_a_part_of_the_name(endpoint: Any) -> None:
    assert taking_from(endpoint).graph()
    assert burying_in(endpoint).graph()


@pytest.mark.parametrize("endpoint", PLAIN, ids=repr)
def test_any_one_place_is_read_published_to_and_a_grave(endpoint: Any) -> None:
    for topology in (taking_from(endpoint), publishing_to(endpoint), burying_in(endpoint)):
        assert topology.graph()
