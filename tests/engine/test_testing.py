"""The Harness, asked for what the topologies in it do not have: a test that cannot fail is told so."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from headrace import Harness, Kafka, Memory, Message, Nats, RabbitMQ, Topology, TopologyError

pytestmark = pytest.mark.anyio

kafka, rabbit, nats, memory = Kafka(), RabbitMQ(), Nats(), Memory()
topology = Topology("shop")
by_customer = topology.publisher(kafka.topic("orders.{customer}"))


@topology.router(rabbit.queue("orders"), to=[by_customer], dead_letter=memory.topic("failed"))
def route(order: dict[str, Any]) -> Any:
    return by_customer


@topology.subscriber(kafka.topic(pattern=r"carts\..*"), nats.subject("carts.*"))
async def fill(cart: dict[str, Any], message: Message) -> dict[str, Any]:
    return cart


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with Harness(topology) as started:
        yield started


KNOWN = [
    kafka.topic("orders.ann"),
    kafka.topic(pattern=r"carts\..*"),
    kafka.topic("carts.dead"),
    nats.subject("carts.*"),
    rabbit.queue("orders"),
    memory.topic("failed"),
]
UNKNOWN = [
    kafka.topic("oders.ann"),
    kafka.topic("orders"),
    kafka.topic("orders.{customer}"),
    kafka.topic("carts.eu"),
    nats.subject("carts.eu"),
    rabbit.queue("orders.ann"),
    memory.topic("orders.dead"),
    Kafka().topic("orders.ann"),
]


@pytest.mark.parametrize("endpoint", KNOWN, ids=repr)
async def test_what_the_topology_publishes_to_takes_from_or_buries_in_can_be_asked_for(
    harness: Harness, endpoint: Any
) -> None:
    assert harness.messages(endpoint) == harness.published(endpoint) == []


@pytest.mark.parametrize("endpoint", UNKNOWN, ids=repr)
async def test_an_endpoint_that_no_stage_knows_is_an_error_of_the_test(harness: Harness, endpoint: Any) -> None:
    asked: list[Callable[[Any], Any]] = [harness.messages, harness.published, harness.dead_letters]
    for ask in asked:
        with pytest.raises(TopologyError, match="no stage") as error:
            ask(endpoint)
        assert repr(endpoint) in error.value.problem
        assert "known are: " in error.value.remedy
        assert repr(rabbit.queue("orders")) in error.value.remedy
    with pytest.raises(TopologyError, match="no stage takes from it"):
        await harness.publish(endpoint, {})


async def test_only_of_what_a_stage_takes_from_there_can_be_dead_letters_and_something_to_take(
    harness: Harness,
) -> None:
    for endpoint in (kafka.topic("orders.ann"), memory.topic("failed")):
        with pytest.raises(TopologyError, match="no stage takes from it"):
            harness.dead_letters(endpoint)
        with pytest.raises(TopologyError, match="no stage takes from it"):
            await harness.publish(endpoint, {})


async def test_a_slip_is_told_by_what_is_close_to_it(harness: Harness) -> None:
    with pytest.raises(TopologyError, match=r"did you mean .*queue.'orders'.*[?] known are: "):
        harness.dead_letters(rabbit.queue("ordres"))
    with pytest.raises(TopologyError, match="a broker made anew is another one"):
        harness.dead_letters(RabbitMQ().queue("orders"))
    with pytest.raises(TopologyError, match=r"published.'orders'.: expected an endpoint"):
        harness.published("orders")  # type: ignore[arg-type]
    with pytest.raises(
        TopologyError, match=r"a Harness knows a pattern by itself alone: name .*subject\('carts\.\*'\)"
    ):
        await harness.publish(nats.subject("carts.eu"), {})


async def test_where_a_reply_was_wanted_it_is_found_although_no_stage_declares_that_place(harness: Harness) -> None:
    await harness.publish(nats.subject("carts.*"), {"id": 1}, reply_to="answers")
    assert harness.messages(nats.subject("answers")) == []
    await harness.settle()
    (answer,) = harness.messages(nats.subject("answers"))
    assert answer.body == {"id": 1}


async def test_what_a_handler_itself_asked_for_is_found_where_it_was_answered() -> None:
    asking, answering = Topology("asking"), Memory()

    @asking.publisher(answering.topic("prices"))
    @asking.subscriber(answering.topic("carts"))
    async def ask(cart: dict[str, Any]) -> Message:
        return Message(cart, reply_to="answers")

    @asking.subscriber(answering.topic("prices"))
    async def price(cart: dict[str, Any]) -> dict[str, Any]:
        return cart | {"price": 5}

    async with Harness(asking) as harness:
        await harness.publish(answering.topic("carts"), {"id": 1})
        await harness.settle()
        assert harness.published(answering.topic("answers")) == [{"id": 1, "price": 5}]
        with pytest.raises(TopologyError, match="no stage publishes to it"):
            harness.published(answering.topic("anwsers"))
        with pytest.raises(TopologyError, match="no stage publishes to it"):
            harness.published(Memory().topic("answers"))


async def test_of_a_template_it_is_said_that_what_it_was_filled_in_to_can_be_asked_for(harness: Harness) -> None:
    with pytest.raises(TopologyError, match="it is a template: ask for what it was filled in to") as error:
        harness.published(kafka.topic("orders.{customer}"))
    assert "made anew" not in error.value.remedy
    with pytest.raises(TopologyError, match="a broker made anew is another one"):
        harness.published(Kafka().topic("orders.{customer}"))


async def test_messages_to_a_pattern_are_published_by_that_pattern(harness: Harness) -> None:
    await harness.publish(kafka.topic(pattern=r"carts\..*"), b"no cart")
    await harness.settle()
    (letter,) = harness.dead_letters(kafka.topic(pattern=r"carts\..*"))
    assert letter.raw == b"no cart"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_the_clock_goes_forward_by_a_time_alone(harness: Harness, seconds: float) -> None:
    with pytest.raises(ValueError, match="expected seconds, zero or more"):
        await harness.advance(seconds)
    assert harness.clock.now() == 0
