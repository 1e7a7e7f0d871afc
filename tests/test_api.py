"""What users write, as they write it: every module that the documents show, run in the Harness.

The brokers are real ones, and no server runs: the Harness has every endpoint in memory.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import anyio
import pytest
from pydantic import BaseModel, Field

from headrace import (
    Actor,
    Batch,
    BatchError,
    Context,
    Crash,
    DecodeError,
    Depends,
    Drop,
    Engine,
    Harness,
    Header,
    IntensityExceeded,
    Kafka,
    Logger,
    Memory,
    Message,
    RabbitMQ,
    Redis,
    Reject,
    Retry,
    Send,
    Supervision,
    Topology,
    TopologyError,
    broker,
)

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int = Field(gt=0)
    customer: str
    priority: str = "low"
    total: float


class Answer(BaseModel):
    order: int
    text: str


def order(number: int = 1, customer: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": number, "customer": customer, "total": 2, **more}


rabbit = RabbitMQ("amqp://guest:guest@localhost/")
kafka = Kafka("localhost:9092")
redis = Redis("redis://localhost")


# -- the shortest topology ------------------------------------------------------------------------------------

shortest = Topology("shortest")


@shortest.publisher(kafka.topic("orders.enriched"))
@shortest.subscriber(rabbit.queue("orders"), max_workers=16)
async def enrich(order: Order) -> Order:
    return order


async def test_the_shortest_topology_takes_from_one_broker_and_publishes_to_another() -> None:
    async with Harness(shortest) as harness:
        await harness.publish(rabbit.queue("orders"), order())
        await harness.settle()
        assert harness.published(kafka.topic("orders.enriched")) == [Order(id=1, customer="a", total=2)]
        assert harness.dead_letters(rabbit.queue("orders")) == []


async def test_a_decorated_handler_is_still_the_plain_function() -> None:
    given = Order(id=1, customer="a", total=2)
    assert await enrich(given) is given


async def test_either_order_of_the_decorators_means_the_same() -> None:
    topology = Topology("shortest")

    @topology.subscriber(rabbit.queue("orders"), max_workers=16)
    @topology.publisher(kafka.topic("orders.enriched"))
    async def enrich(order: Order) -> Order:
        return order

    def shape(one: Topology) -> list[tuple[Any, ...]]:
        return [(stage.name, stage.sources, stage.upstream, stage.endpoint) for stage in one.graph().stages]

    assert shape(topology) == shape(shortest)


async def test_a_body_that_does_not_validate_is_a_dead_letter_and_the_next_one_passes() -> None:
    async with Harness(shortest) as harness:
        await harness.publish(rabbit.queue("orders"), order(0), key="k", headers={"trace": "t"})
        await harness.publish(rabbit.queue("orders"), b"no JSON")
        await harness.publish(rabbit.queue("orders"), order(2))
        await harness.settle()
        wrong, rubbish = harness.dead_letters(rabbit.queue("orders"))
        assert (wrong.body, wrong.key) == (order(0), "k")
        assert wrong.headers is not None
        assert wrong.headers["trace"] == "t"
        assert wrong.headers["headrace-reason"] == "id: Input should be greater than 0"
        assert wrong.headers["headrace-attempts"] == "1"
        assert rubbish.raw == b"no JSON"
        assert [each.id for each in harness.published(kafka.topic("orders.enriched"))] == [2]


# -- endpoints are values; a URL picks the broker ----------------------------------------------------------------


async def test_endpoints_are_values_and_a_broker_may_come_from_a_url() -> None:
    assert rabbit.queue("orders") == rabbit.queue("orders")
    assert rabbit.queue("orders") != rabbit.queue("others")
    assert kafka.topic("orders") == kafka.topic("orders")
    assert kafka.topic("orders") != Kafka("elsewhere:9092").topic("orders")
    assert broker("memory://api") is broker("memory://api")
    with pytest.raises(TopologyError, match="no broker is known by the scheme carrier-pigeon"):
        broker("carrier-pigeon://user:secret@loft")


async def test_one_topology_over_endpoints_of_every_kind() -> None:
    topology = Topology("gateway")
    everywhere = [
        topology.publisher(kafka.topic("orders.{customer}")),
        topology.publisher(rabbit.exchange("orders", type="topic", routing_key="orders.{customer}")),
        topology.publisher(redis.list("jobs")),
        topology.publisher(redis.channel("news")),
    ]
    done: list[int] = []

    @topology.router(rabbit.queue("orders"), redis.stream("orders", group="gateway"), to=everywhere)
    def to_all(order: Order) -> object:
        return everywhere

    @topology.subscriber(redis.list("jobs"))
    async def work(order: Order) -> None:
        done.append(order.id)

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("orders"), order(1))
        await harness.publish(redis.stream("orders"), order(2))
        await harness.settle()
        assert sorted(each.id for each in harness.published(kafka.topic("orders.a"))) == [1, 2]
        assert len(harness.published(redis.channel("news"))) == 2
    assert sorted(done) == [1, 2]


# -- stages -------------------------------------------------------------------------------------------------------

stages = Topology("stages")
urgent = stages.publisher(kafka.topic("critical.{customer}"), key="customer")
normal = stages.publisher(kafka.topic("orders"))
trouble: dict[int, list[Exception]] = {}
attempts: list[int] = []


@stages.subscriber(
    rabbit.queue("orders"),
    max_workers=16,
    mailbox=256,
    key="customer",
    retry=Retry(attempts=5, first=0.1, factor=2, cap=30),
    dead_letter=rabbit.queue("orders.graveyard"),
    timeout=10,
)
async def check(order: Order, message: Message, logger: Logger) -> Order:
    logger.info("checking %d", order.id)
    attempts.append(message.attempt)
    if order.priority == "slow" and message.attempt == 1:
        await anyio.sleep_forever()
    if left := trouble.get(order.id):
        raise left.pop(0)
    return order


@stages.router(check, to=[urgent, normal], max_workers=4)
def by_priority(order: Order) -> object:
    match order.priority:
        case "high":
            return urgent
        case "both":
            return [normal, urgent]
        case "none":
            return None
        case "undeclared":
            return answers
    return normal


answers = stages.publisher(kafka.topic("answers"))


@answers
@stages.subscriber(check, max_workers=5)
async def call_model(order: Order) -> Answer:
    return Answer(order=order.id, text=f"{order.customer} pays {order.total:g}")


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    attempts.clear()
    trouble.clear()
    async with Harness(stages) as started:
        yield started


async def publish(harness: Harness, *bodies: Any) -> None:
    for body in bodies:
        await harness.publish(rabbit.queue("orders"), body)
    await harness.settle()


async def test_a_router_sends_to_a_target_to_several_or_to_none(harness: Harness) -> None:
    priorities = ["low", "high", "both", "none"]
    await publish(harness, *[order(number, "ann", priority=each) for number, each in enumerate(priorities, 1)])
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [1, 3]
    critical = harness.messages(kafka.topic("critical.ann"))
    assert [(each.body.id, each.key) for each in critical] == [(2, "ann"), (3, "ann")]
    assert harness.dead_letters(rabbit.queue("orders")) == []


async def test_what_a_subscriber_returns_goes_to_every_stage_behind_it(harness: Harness) -> None:
    await publish(harness, order(7, "bob"))
    assert harness.published(kafka.topic("answers")) == [Answer(order=7, text="bob pays 2")]
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [7]


async def test_a_router_may_send_another_body_with_its_own_key_and_headers() -> None:
    topology = Topology("sending")
    out = topology.publisher(kafka.topic("out"))

    @topology.subscriber()
    async def stored(name: str, message: Message) -> None:
        kept.append((name, message.key, dict(message.headers or {})))

    @topology.router(rabbit.queue("orders"), to=[out, stored])
    def route(order: Order) -> list[Any]:
        return [out, out.send({"short": order.id}, key="k", headers={"by": "router"}), Send(stored, order.customer)]

    kept: list[tuple[Any, ...]] = []
    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("orders"), order(1, "ann"), key="old", headers={"from": "me"})
        await harness.settle()
        whole, short = harness.messages(kafka.topic("out"))
        assert (whole.body["customer"], whole.key, dict(whole.headers or {})) == ("ann", "old", {"from": "me"})
        assert (short.body, short.key, dict(short.headers or {})) == ({"short": 1}, "k", {"by": "router"})
        assert kept == [("ann", "old", {"from": "me"})]


async def test_a_target_not_declared_is_an_error_of_that_message(harness: Harness) -> None:
    await publish(harness, order(1, priority="undeclared"), order(2))
    (letter,) = harness.dead_letters(rabbit.queue("orders"))
    assert letter.headers is not None
    assert letter.headers["headrace-error-type"] == "RoutingError"
    assert letter.headers["headrace-stage"] == "by_priority"
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [2]


async def test_a_field_that_cannot_be_part_of_a_destination_is_an_error_of_that_message(harness: Harness) -> None:
    await publish(harness, order(1, "no/such*topic", priority="high"))
    (letter,) = harness.dead_letters(rabbit.queue("orders"))
    assert "customer" in str((letter.headers or {})["headrace-reason"])


async def test_a_failed_message_is_tried_again_after_the_time_its_policy_says(harness: Harness) -> None:
    trouble[1] = [ValueError("one"), ValueError("two")]
    await harness.publish(rabbit.queue("orders"), order(1))
    await harness.advance(0.04)
    assert attempts == [1]
    await harness.advance(0.06)
    assert attempts == [1, 2]
    await harness.advance(0.2)
    assert attempts == [1, 2, 3]
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [1]


async def test_after_its_last_attempt_it_lies_in_the_stage_s_dead_letter(harness: Harness) -> None:
    trouble[1] = [ValueError(f"attempt {number}") for number in range(1, 9)]
    await publish(harness, order(1))
    (letter,) = harness.dead_letters(rabbit.queue("orders"))
    assert harness.messages(rabbit.queue("orders.graveyard"))[0].raw == letter.raw
    headers = dict(letter.headers or {})
    assert headers["headrace-reason"] == "attempt 5"
    assert headers["headrace-attempts"] == "5"
    assert headers["headrace-stage"] == "check"
    assert headers["headrace-origin-destination"] == "orders"
    assert "ValueError: attempt 5" in str(headers["headrace-traceback"])


async def test_a_retry_holds_back_its_own_key_and_no_other(harness: Harness) -> None:
    trouble[1] = [ValueError("once")]
    for number, customer in enumerate("aab", 1):
        await harness.publish(rabbit.queue("orders"), order(number, customer))
    await harness.advance(0)
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [3]
    await harness.settle()
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [3, 1, 2]


async def test_a_handler_that_takes_longer_than_its_timeout_is_tried_again(harness: Harness) -> None:
    await harness.publish(rabbit.queue("orders"), order(1, priority="slow"))
    await harness.advance(9.9)
    assert attempts == [1]
    await harness.advance(0.3)
    assert attempts == [1, 2]
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [1]


async def test_reject_is_dead_at_once_drop_is_gone_and_retry_after_waits_that_long(harness: Harness) -> None:
    trouble[1] = [Reject("not one of ours")]
    trouble[2] = [Drop("a duplicate")]
    trouble[3] = [Retry.after(60)]
    for number in (1, 2, 3):
        await harness.publish(rabbit.queue("orders"), order(number, f"customer-{number}"))
    await harness.advance(59)
    (letter,) = harness.dead_letters(rabbit.queue("orders"))
    assert (letter.headers or {})["headrace-reason"] == "not one of ours"
    assert (letter.headers or {})["headrace-attempts"] == "1"
    assert harness.published(kafka.topic("orders")) == []
    await harness.advance(1)
    assert [each.id for each in harness.published(kafka.topic("orders"))] == [3]
    assert {each.stage: each.dropped for each in harness.engine.status()}["check"] == 1


async def test_a_logger_names_topology_stage_and_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="headrace"):
        async with Harness(stages) as harness:
            await harness.publish(rabbit.queue("orders"), order(1), id="m-1")
            await harness.settle()
    (record,) = [each for each in caplog.records if each.getMessage() == "checking 1"]
    assert vars(record)["topology"] == "stages"
    assert vars(record)["stage"] == "check"
    assert vars(record)["message_id"] == "m-1"


async def test_without_a_dead_letter_of_its_own_a_stage_s_dead_go_beside_the_source() -> None:
    topology = Topology("default")

    @topology.subscriber(rabbit.queue("orders"))
    async def fail(order: Order) -> None:
        raise RuntimeError("always")

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("orders"), order())
        await harness.settle()
        assert [each.body for each in harness.messages(rabbit.queue("orders.dead"))] == [order()]
        assert len(harness.dead_letters(rabbit.queue("orders"))) == 1


async def test_a_failure_downstream_makes_a_dead_letter_of_the_message_at_the_source() -> None:
    topology = Topology("downstream")

    @topology.subscriber(rabbit.queue("orders"))
    async def first(order: Order) -> Order:
        return order.model_copy(update={"total": 99.0})

    @topology.subscriber(first, retry=Retry(attempts=2), dead_letter=kafka.topic("failed"))
    async def second(order: Order) -> None:
        raise RuntimeError("always")

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("orders"), order())
        await harness.settle()
        (letter,) = harness.messages(kafka.topic("failed"))
        assert letter.body == order()
        assert (letter.headers or {})["headrace-stage"] == "second"
        assert (letter.headers or {})["headrace-attempts"] == "2"
        assert [each.raw for each in harness.dead_letters(rabbit.queue("orders"))] == [letter.raw]


async def test_several_sources_and_stacked_decorators_feed_one_function() -> None:
    topology = Topology("several")
    seen: list[tuple[str, str | None]] = []

    @topology.subscriber(rabbit.queue("users"), max_workers=2)
    @topology.subscriber(kafka.topic("users"), kafka.topic("admins"), retry=Retry(attempts=3))
    async def greet(name: str, message: Message) -> None:
        seen.append((name, message.source))

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("users"), "ann")
        await harness.publish(kafka.topic("users"), "bob")
        await harness.publish(kafka.topic("admins"), "cyd")
        await harness.settle()
    assert sorted(seen) == [("ann", "users"), ("bob", "users"), ("cyd", "admins")]
    assert sorted(stage.name for stage in topology.graph().stages) == ["greet", "greet-2"]


async def test_a_future_that_was_cancelled_by_somebody_else_is_a_failure_of_the_message_that_awaits_it() -> None:
    topology = Topology("cancelled")

    @topology.publisher(kafka.topic("out"))
    @topology.subscriber(rabbit.queue("in"))
    async def wait(number: int) -> int:
        if number == 1:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return number

    async with Harness(topology) as harness:
        for number in (1, 2):
            await harness.publish(rabbit.queue("in"), number)
        await harness.settle()
        assert harness.published(kafka.topic("out")) == [2]
        (letter,) = harness.dead_letters(rabbit.queue("in"))
        assert (letter.body, (letter.headers or {})["headrace-error-type"]) == (1, "CancelledError")


async def test_what_is_raised_in_a_task_group_of_the_handler_counts_as_if_raised_by_the_handler() -> None:
    topology = Topology("groups")

    @topology.subscriber(rabbit.queue("in"), retry=Retry(attempts=5))
    async def two_at_once(number: int) -> None:
        async def refuse() -> None:
            raise Reject("not this one")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refuse)

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("in"), 1)
        await harness.settle()
        (letter,) = harness.dead_letters(rabbit.queue("in"))
        assert (letter.headers or {})["headrace-reason"] == "not this one"
        assert (letter.headers or {})["headrace-attempts"] == "1"


# -- results ------------------------------------------------------------------------------------------------------


class Line(TypedDict):
    sku: str
    amount: int


@dataclass
class Shipment:
    sku: str


async def test_every_item_of_a_generator_goes_on_as_a_message_of_its_own() -> None:
    topology = Topology("generators")

    @topology.subscriber(rabbit.queue("baskets"))
    async def lines(basket: list[Line]) -> AsyncIterator[Line]:
        for line in basket:
            yield line

    @topology.publisher(kafka.topic("shipments"))
    @topology.subscriber(lines)
    def pieces(line: Line) -> Iterator[Shipment]:
        for _ in range(line["amount"]):
            yield Shipment(sku=line["sku"])

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("baskets"), [{"sku": "a", "amount": 2}, {"sku": "b", "amount": 1}])
        await harness.publish(rabbit.queue("baskets"), [])
        await harness.settle()
        assert harness.published(kafka.topic("shipments")) == [Shipment("a"), Shipment("a"), Shipment("b")]
        assert harness.dead_letters(rabbit.queue("baskets")) == []


async def test_a_returned_message_sets_key_and_headers_of_what_goes_on() -> None:
    topology = Topology("envelopes")

    @topology.publisher(kafka.topic("out"))
    @topology.subscriber(rabbit.queue("in"))
    async def envelope(body: str, message: Message) -> Message:
        if body == "as it is":
            return Message(body)
        return Message(body.upper(), key="new", headers={**(message.headers or {}), "to": "you"})

    async with Harness(topology) as harness:
        for body in ("as it is", "hello"):
            await harness.publish(rabbit.queue("in"), body, key="old", headers={"from": "me"})
        await harness.settle()
        kept, changed = harness.messages(kafka.topic("out"))
    assert (kept.raw, kept.key, dict(kept.headers or {})) == (b"as it is", "old", {"from": "me"})
    assert (changed.raw, changed.key, dict(changed.headers or {})) == (b"HELLO", "new", {"from": "me", "to": "you"})


# -- batches ------------------------------------------------------------------------------------------------------


class Metric(BaseModel):
    name: str
    value: float


async def test_a_batch_is_handed_over_when_it_is_full_or_when_its_time_is_up() -> None:
    topology = Topology("batches")
    sizes: list[int] = []

    @topology.publisher(kafka.topic("sums"))
    @topology.subscriber(kafka.topic("metrics"), batch=Batch(size=3, wait=0.2))
    async def total(metrics: list[Metric]) -> float:
        sizes.append(len(metrics))
        return sum(metric.value for metric in metrics)

    async with Harness(topology) as harness:
        for number in range(5):
            await harness.publish(kafka.topic("metrics"), Metric(name="cpu", value=number))
        await harness.advance(0.1)
        assert sizes == [3]
        await harness.advance(0.1)
        assert sizes == [3, 2]
        assert harness.published(kafka.topic("sums")) == [3, 7]


async def test_a_batch_comes_with_its_messages_and_only_those_named_in_the_error_fail() -> None:
    topology = Topology("batches")
    seen: list[list[tuple[Any, ...]]] = []

    @topology.publisher(kafka.topic("ok"))
    @topology.subscriber(kafka.topic("metrics"), batch=Batch(size=3), retry=Retry(attempts=2))
    async def store(metrics: list[Metric], messages: list[Message]) -> AsyncIterator[str]:
        seen.append([(m.key, (m.headers or {}).get("trace"), m.offset, m.attempt) for m in messages])
        wrong: dict[int, Exception] = {}
        for index, metric in enumerate(metrics):
            if metric.value < 0:
                wrong[index] = ValueError(f"{metric.name} is negative")
            else:
                yield metric.name
        if wrong:
            raise BatchError(wrong)

    async with Harness(topology) as harness:
        for number, value in enumerate([1.0, -1.0, 2.0]):
            body = Metric(name=f"m{number}", value=value)
            await harness.publish(kafka.topic("metrics"), body, key=f"k{number}", headers={"trace": f"t{number}"})
        await harness.settle()
        assert seen == [[("k0", "t0", 0, 1), ("k1", "t1", 1, 1), ("k2", "t2", 2, 1)], [("k1", "t1", 1, 2)]]
        assert harness.published(kafka.topic("ok")) == ["m0", "m2"]
        (letter,) = harness.dead_letters(kafka.topic("metrics"))
        assert (letter.key, (letter.headers or {})["headrace-reason"]) == ("k1", "m1 is negative")


async def test_a_large_batch_has_room_without_a_mailbox_being_asked_for() -> None:
    topology = Topology("batches")

    @topology.publisher(kafka.topic("sizes"))
    @topology.subscriber(kafka.topic("metrics"), batch=Batch(size=500, wait=0.2), max_workers=4)
    async def count(metrics: list[Metric]) -> int:
        return len(metrics)

    async with Harness(topology) as harness:
        for number in range(1100):
            await harness.publish(kafka.topic("metrics"), Metric(name="cpu", value=number))
        await harness.settle()
        assert sorted(harness.published(kafka.topic("sizes"))) == [100, 500, 500]


# -- actors with state ----------------------------------------------------------------------------------------------


async def test_an_actor_keeps_its_state_until_its_supervisor_makes_it_anew() -> None:
    topology = Topology("actors")
    life: list[str] = []

    @topology.publisher(kafka.topic("counts"))
    @topology.subscriber(rabbit.queue("words"), retry=Retry(attempts=2, first=0))
    class Count(Actor):
        def __init__(self) -> None:
            self.count = 0

        async def on_start(self) -> None:
            life.append("start")

        async def on_stop(self) -> None:
            life.append(f"stop at {self.count}")

        async def receive(self, word: str, message: Message) -> int:
            if word == "crash" and message.attempt == 1:
                raise Crash("my state is not to be trusted")
            self.count += 1
            return self.count

    async with Harness(topology) as harness:
        for word in ("one", "two", "crash", "three"):
            await harness.publish(rabbit.queue("words"), word)
        await harness.settle()
        assert harness.published(kafka.topic("counts")) == [1, 2, 1, 2]
        assert harness.engine.status()[0].restarts == 1
    assert life == ["start", "stop at 2", "start", "stop at 2"]


async def test_with_a_key_each_instance_sees_all_of_its_keys() -> None:
    topology = Topology("actors")

    @topology.publisher(kafka.topic("counts"))
    @topology.subscriber(rabbit.queue("orders"), key="customer", max_workers=4)
    class Sum(Actor):
        def __init__(self) -> None:
            self.sums: dict[str, float] = {}

        async def receive(self, order: Order) -> dict[str, float]:
            self.sums[order.customer] = self.sums.get(order.customer, 0) + order.total
            return {order.customer: self.sums[order.customer]}

    async with Harness(topology) as harness:
        for number in range(1, 31):
            await harness.publish(rabbit.queue("orders"), order(number, f"customer-{number % 3}"))
        await harness.settle()
        last: dict[str, float] = {}
        for each in harness.published(kafka.topic("counts")):
            last |= each
    assert last == {f"customer-{number}": 20 for number in range(3)}


async def test_too_many_crashes_and_the_supervisor_gives_up() -> None:
    topology = Topology("hopeless", supervision=Supervision(intensity=2, period=60, strategy="one_for_one", backoff=0))
    memory = Memory()

    @topology.subscriber(memory.topic("in"), retry=Retry(attempts=100, first=0))
    async def crash(body: str) -> None:
        raise Crash("again")

    async with memory:
        await memory.topic("in").publish("x")
        with pytest.raises(IntensityExceeded, match="gave up after more than 2 restarts in 60 s"):
            await Engine(topology.graph()).run(burst=True)
    assert memory.statistics().topics["in"].groups["hopeless.crash"].held == 0


# -- injection, middleware, lifespan ---------------------------------------------------------------------------------


async def test_what_a_handler_asks_for_by_annotation_is_filled_in() -> None:
    topology = Topology("injected")
    closed: list[str] = []

    @topology.lifespan
    async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
        context["prices"] = {"a": 3.0}
        yield
        closed.append("resources")

    async def session(prices: Annotated[dict[str, float], Context("prices")], message: Message) -> AsyncIterator[str]:
        yield f"session of {message.id} with {len(prices)} price"
        closed.append("session")

    @topology.publisher(kafka.topic("out"))
    @topology.subscriber(rabbit.queue("in"))
    async def price(
        sku: str,
        prices: Annotated[dict[str, float], Context()],
        request: Annotated[str, Header("x-request-id")],
        tries: Annotated[int, Header("x-tries")] = 0,
        session: Annotated[str, Depends(session)] = "",
    ) -> dict[str, Any]:
        assert closed == []
        return {"price": prices[sku], "request": request, "tries": tries + 1, "session": session}

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("in"), "a", headers={"x-request-id": "r", "x-tries": "4"}, id="1")
        await harness.settle()
        expected = {"price": 3.0, "request": "r", "tries": 5, "session": "session of 1 with 1 price"}
        assert harness.published(kafka.topic("out")) == [expected]
        assert closed == ["session"]
        await harness.publish(rabbit.queue("in"), "a")
        await harness.settle()
        (letter,) = harness.dead_letters(rabbit.queue("in"))
        assert (letter.headers or {})["headrace-reason"] == "header 'x-request-id' is missing"
    assert closed[-1] == "resources"


async def test_middleware_is_around_every_handler_call_the_first_outermost() -> None:
    topology = Topology("wrapped")
    calls: list[str] = []

    @topology.middleware
    async def timing(call_next: Any, message: Message) -> Any:
        calls.append(f"before {message.body}")
        try:
            return await call_next(message)
        finally:
            calls.append(f"after {message.body}")

    @topology.middleware
    async def refusing(call_next: Any, message: Message) -> Any:
        if message.body == "rude":
            raise Reject("be polite")
        return (await call_next(message)) + "!"

    @topology.publisher(kafka.topic("out"))
    @topology.subscriber(rabbit.queue("in"))
    def shout(word: str) -> str:
        calls.append("in the loop" if threading.current_thread() is threading.main_thread() else "in a thread")
        return word.upper()

    async with Harness(topology) as harness:
        for word in ("hello", "rude"):
            await harness.publish(rabbit.queue("in"), word)
        await harness.settle()
        assert harness.published(kafka.topic("out")) == ["HELLO!"]
        assert len(harness.dead_letters(rabbit.queue("in"))) == 1
    assert calls == ["before hello", "in a thread", "after hello", "before rude", "after rude"]


async def test_an_included_topology_has_its_stages_prefixed_and_its_destinations_as_they_are() -> None:
    other, topology = Topology("orders"), Topology("everything")

    @other.publisher(kafka.topic("orders.enriched"))
    @other.subscriber(kafka.topic("orders"))
    async def enrich(order: Order) -> Order:
        return order

    topology.include(other, prefix="eu.")
    topology.include(other, prefix="us.")
    names = {stage.name for stage in topology.graph().stages}
    assert names == {"eu.enrich", "eu.to:orders.enriched", "us.enrich", "us.to:orders.enriched"}
    async with Harness(topology) as harness:
        await harness.publish(kafka.topic("orders"), order())
        await harness.settle()
        assert len(harness.published(kafka.topic("orders.enriched"))) == 2, "each has a group of its own"


# -- pools ---------------------------------------------------------------------------------------------------------


async def test_a_pool_of_so_many_workers_has_as_many_handlers_at_once() -> None:
    topology, inside = Topology("five"), []
    release = anyio.Event()

    @topology.subscriber(rabbit.queue("in"), max_workers=5)
    async def call(number: int) -> None:
        inside.append(number)
        await release.wait()

    async with Harness(topology) as harness:
        for number in range(20):
            await harness.publish(rabbit.queue("in"), number)
        await harness.advance(0)
        assert sorted(inside) == [0, 1, 2, 3, 4]
        release.set()
        await harness.settle()
    assert sorted(inside) == list(range(20))


@pytest.mark.parametrize(("workers", "most"), [((1, 8), 8), ("auto", 64)])
async def test_a_pool_finds_its_size_between_its_bounds(workers: Any, most: int) -> None:
    topology, inside = Topology("elastic"), []
    release = anyio.Event()

    @topology.subscriber(rabbit.queue("in"), max_workers=workers)
    async def call(number: int) -> None:
        inside.append(number)
        await release.wait()

    async with Harness(topology) as harness:
        for number in range(200):
            await harness.publish(rabbit.queue("in"), number)
        await harness.advance(0)
        assert harness.engine.status()[0].workers == 1
        await harness.advance(30)
        assert harness.engine.status()[0].workers == most
        assert len(inside) == most
        release.set()
        await harness.settle()
    assert sorted(inside) == list(range(200))


async def test_a_def_handler_runs_in_a_thread_and_does_not_hold_up_the_others() -> None:
    topology = Topology("threads")
    barrier = threading.Barrier(3, timeout=10)

    @topology.publisher(kafka.topic("out"))
    @topology.subscriber(rabbit.queue("in"), max_workers=3)
    def block(number: int) -> int:
        barrier.wait()
        return number * 2

    async with Harness(topology) as harness:
        for number in range(6):
            await harness.publish(rabbit.queue("in"), number)
        await harness.settle()
        assert sorted(harness.published(kafka.topic("out"))) == [0, 2, 4, 6, 8, 10]


# -- from outside ---------------------------------------------------------------------------------------------------


async def test_publishing_and_asking_from_outside() -> None:
    memory, topology = Memory(), Topology("prices")

    @topology.publisher(memory.topic("asked"))
    @topology.subscriber(memory.topic("price"))
    async def price(order: Order) -> Answer:
        return Answer(order=order.id, text=f"{order.total * 2:g}")

    engine = Engine(topology.graph())
    async with memory, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await memory.topic("price").publish(order(1), key="a")
        reply = await memory.topic("price").request(Order(id=2, customer="b", total=4), timeout=3, returns=Answer)
        assert reply.body == Answer(order=2, text="8")
        with pytest.raises(TimeoutError, match="no reply from"):
            await memory.topic("price").request({"not": "an order"}, timeout=0.01)
        engine.drain()
    assert [each.key for each in memory.messages("asked")] == ["a", None]
    assert len(memory.messages("price.dead")) == 1


async def test_a_reply_is_what_its_bytes_are_unless_a_type_is_named() -> None:
    memory, topology = Memory(), Topology("replies")

    @topology.subscriber(memory.topic("echo"))
    def echo(body: bytes) -> bytes:
        return body

    engine = Engine(topology.graph())
    async with memory, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        for body, expected in ((b'{"a":1}', {"a": 1}), (b"text", "text"), (b"\xff", b"\xff")):
            reply = await memory.topic("echo").request(body, timeout=3)
            assert reply.body == expected
        with pytest.raises(DecodeError, match="the reply of"):
            await memory.topic("echo").request(b"text", timeout=3, returns=int)
        engine.drain()


# -- the Harness itself -----------------------------------------------------------------------------------------------


async def test_what_goes_wrong_in_a_test_or_in_its_topology_reaches_the_test_as_it_is() -> None:
    topology = Topology("broken")

    @topology.lifespan
    async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    @topology.subscriber(rabbit.queue("in"))
    async def take(body: str) -> None: ...

    with pytest.raises(OSError, match="no database"):
        async with Harness(topology) as harness:
            await harness.settle()
    with pytest.raises(ZeroDivisionError):
        async with Harness(shortest):
            raise ZeroDivisionError


async def test_a_test_that_leaves_while_a_retry_waits_does_not_wait_for_it_in_real_time() -> None:
    topology = Topology("leaving")
    tries: list[int] = []

    @topology.subscriber(rabbit.queue("in"), retry=Retry(attempts=2, first=3, jitter=0))
    async def fail(body: str) -> None:
        tries.append(1)
        raise ValueError(body)

    async with Harness(topology) as harness:
        await harness.publish(rabbit.queue("in"), "x")
        await harness.advance(1)
        assert len(tries) == 1
    assert len(tries) == 2


async def test_dead_letters_of_a_source_are_found_wherever_its_stages_put_them() -> None:
    topology = Topology("graves")

    @topology.subscriber(rabbit.queue("one"), rabbit.queue("two"), dead_letter=kafka.topic("grave"))
    async def fail(body: str) -> None:
        raise ValueError(body)

    async with Harness(topology) as harness:
        for name in ("one", "two"):
            await harness.publish(rabbit.queue(name), f"in {name}")
        await harness.settle()
        assert [letter.body for letter in harness.dead_letters(rabbit.queue("one"))] == ["in one"]
        assert sorted(harness.published(kafka.topic("grave"))) == ["in one", "in two"]
