"""Topologies as users declare them, and the graphs they compile to."""

import inspect
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from actors import Actor, Batch, DecodeError, Message, Retry, Supervision
from tests.topologies.declared import FakeBroker, Order, kafka, rabbit
from topologies import Context, Depends, Graph, Header, Logger, Settings, Stage, Topology


class Answer(BaseModel):
    order: int
    text: str


def names(graph: Graph) -> list[str]:
    return [stage.name for stage in graph.stages]


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(upstream, stage.name) for stage in graph.stages for upstream in stage.upstream}


def chain(topology: Topology) -> Any:
    @topology.subscriber(kafka.topic("in"))
    async def first(order: Order) -> Order:
        return order

    return first


# -- the modules of the documented API --------------------------------------------------------------------------


def test_the_shortest_topology_compiles_as_written() -> None:
    topology = Topology("orders")

    @topology.publisher(kafka.topic("orders.enriched"))
    @topology.subscriber(rabbit.queue("orders"), max_workers=16)
    async def enrich(order: Order) -> Order:
        return order

    graph = topology.graph()
    taking, publishing = graph.stages
    assert (taking.name, taking.kind, taking.settings.max_workers) == ("enrich", "subscriber", 16)
    assert taking.sources == (rabbit.queue("orders"),)
    assert (publishing.name, publishing.kind, publishing.upstream) == ("to:orders.enriched", "publisher", ("enrich",))
    assert publishing.endpoint == kafka.topic("orders.enriched")
    assert inspect.iscoroutinefunction(enrich)


def test_the_stages_of_the_documentation_compile_as_written() -> None:
    topology = Topology("orders", supervision=Supervision(intensity=3, period=5, strategy="one_for_one"))
    urgent = topology.publisher(kafka.topic("critical.{customer}"), key="customer")
    normal = topology.publisher(kafka.topic("orders"))

    @topology.subscriber(
        rabbit.queue("orders"),
        max_workers=16,
        mailbox=256,
        key="customer",
        retry=Retry(attempts=5, first=0.1, factor=2, cap=30),
        dead_letter=rabbit.queue("orders.dead"),
        timeout=10,
    )
    async def check(order: Order, message: Message, logger: Logger) -> Order:
        return order

    @topology.router(check, to=[urgent, normal], max_workers=4)
    def by_priority(order: Order):
        return urgent if order.priority == "high" else normal

    @topology.subscriber(check, max_workers=5)
    async def call_model(order: Order) -> Answer:
        return Answer(order=order.id, text="")

    graph = topology.graph()
    assert graph.supervision.period == 5
    assert edges(graph) == {
        ("check", "by_priority"),
        ("check", "call_model"),
        ("by_priority", "to:critical.{customer}"),
        ("by_priority", "to:orders"),
    }
    assert graph.stage("check").settings == Settings(
        max_workers=16,
        retry=Retry(attempts=5, first=0.1, factor=2, cap=30),
        dead_letter=rabbit.queue("orders.dead"),
        timeout=10,
    )
    assert graph.stage("by_priority").targets == {urgent: "to:critical.{customer}", normal: "to:orders"}
    assert [stage.name for stage in graph.downstream("check")] == ["by_priority", "call_model"]
    critical = graph.stage("to:critical.{customer}")
    assert critical.destination is not None
    assert critical.key is not None
    order = Order(id=1, customer="acme", total=1)
    assert critical.destination.fill(order) == "critical.acme"
    assert critical.key(Message(order)) == "acme"


async def enrich_by_hand(order: Order) -> Order:
    return order


def test_a_decorated_function_stays_the_plain_function() -> None:
    topology = Topology("orders")
    assert topology.subscriber(kafka.topic("in"))(enrich_by_hand) is enrich_by_hand
    assert topology.publisher(kafka.topic("out"))(enrich_by_hand) is enrich_by_hand

    @topology.subscriber(kafka.topic("in"))
    class Counting(Actor):
        async def receive(self, order: Order) -> None: ...

    assert issubclass(Counting, Actor)


def test_publisher_and_subscriber_mean_the_same_in_either_order() -> None:
    graphs = []
    for subscriber_first in (True, False):
        topology = Topology("orders")
        decorators = [topology.subscriber(kafka.topic("in")), topology.publisher(kafka.topic("out"))]

        async def handle(order: Order) -> Order:
            return order

        for decorate in decorators if subscriber_first else reversed(decorators):
            decorate(handle)  # type: ignore[operator]
        graphs.append(edges(topology.graph()))
    assert graphs[0] == graphs[1] == {("handle", "to:out")}


# -- middleware, lifespan, include ------------------------------------------------------------------------------


def regional() -> Topology:
    topology = Topology("region")

    @topology.middleware
    async def inner(call_next: Any, message: Message) -> Any:
        return await call_next(message)

    @topology.lifespan
    async def resources(context: dict[str, Any]):
        yield

    first = chain(topology)
    topology.publisher(kafka.topic("out"))(first)
    return topology


def test_an_included_topology_brings_stages_middleware_and_lifespans() -> None:
    topology, region = Topology("world"), regional()

    @topology.middleware
    async def outer(call_next: Any, message: Message) -> Any:
        return await call_next(message)

    @topology.lifespan
    async def own(context: dict[str, Any]):
        yield

    topology.include(region, prefix="eu.")
    topology.include(region, prefix="us.")
    graph = topology.graph()
    assert names(graph) == ["eu.first", "us.first", "eu.to:out", "us.to:out"]
    assert edges(graph) == {("eu.first", "eu.to:out"), ("us.first", "us.to:out")}
    assert graph.stage("us.to:out").endpoint == kafka.topic("out")
    assert [lifespan.__name__ for lifespan in graph.lifespans] == ["own", "resources"]
    handler = graph.stage("eu.first").handler
    assert handler is not None
    assert [each.__name__ for each in handler.middleware] == ["outer", "inner"]
    assert names(region.graph()) == ["first", "to:out"]


def test_stages_may_take_from_the_stages_of_included_topologies() -> None:
    topology, inner, innermost = Topology("outer"), Topology("inner"), Topology("innermost")
    first = chain(innermost)
    inner.include(innermost, "b.")
    topology.include(inner, "a.")

    @topology.subscriber(first)
    async def after(order: Order) -> None: ...

    @inner.subscriber(after)
    async def back_inside(order: Any) -> None: ...

    assert edges(topology.graph()) == {("a.b.first", "after"), ("after", "a.back_inside")}


# -- keys -------------------------------------------------------------------------------------------------------


def stage_with(**options: Any) -> Stage:
    topology = Topology("orders")

    @topology.publisher(kafka.topic("out"), key=options.pop("published", None))
    @topology.subscriber(kafka.topic("in"), **options)
    async def take(body: dict[str, Any]) -> dict[str, Any]:
        return body

    graph = topology.graph()
    return graph.stage("to:out") if not options else graph.stage("take")


def test_order_is_kept_by_a_field_or_by_what_a_function_says() -> None:
    message = Message({"a": {"b": [1], "c": None}, "key": "k"}, key=b"own")
    for key, expected in (
        ("key", "k"),
        ("a.c", None),
        ("a.b", [1]),
        (lambda message: message.key, b"own"),
    ):
        lane = stage_with(key=key).lane
        assert lane is not None
        assert lane(message) == expected
    lane = stage_with(key="missing").lane
    assert lane is not None
    with pytest.raises(DecodeError, match="a body of type dict has no field 'missing'"):
        lane(message)


def test_messages_are_published_with_a_field_or_what_a_function_says_as_key() -> None:
    message = Message({"text": "k", "number": 5, "none": None, "bytes": b"b", "many": [1], "yes": True})
    for key, expected in (
        ("text", "k"),
        ("number", "5"),
        ("none", None),
        ("bytes", b"b"),
        ("yes", "true"),
        (lambda message: message.body["number"], "5"),
    ):
        published = stage_with(published=key).key
        assert published is not None
        assert published(message) == expected
    published = stage_with(published="many").key
    assert published is not None
    with pytest.raises(DecodeError, match="field 'many' is of type list: a message's key is text or bytes"):
        published(message)
    assert stage_with(published=None).key is None


# -- what may stand in a handler --------------------------------------------------------------------------------


def test_types_that_are_local_to_a_function_may_be_named_in_quotes() -> None:
    topology = Topology("orders")

    class Local(BaseModel):
        id: int

    async def wanted() -> "Local":
        return Local(id=1)

    @topology.publisher(kafka.topic("out.{id}"), key="id")
    @topology.subscriber(kafka.topic("in"), key="id")
    async def take(order: "Local", other: "Annotated[Local, Depends(wanted)]") -> "Local":
        return order

    handler = topology.graph().stage("take").handler
    assert handler is not None
    assert (handler.body, handler.returns) == (Local, Local)


def test_everything_at_once_compiles() -> None:
    topology = Topology("orders")

    def tenant(name: Annotated[str, Header("tenant")], known: Annotated[dict[str, str], Context("tenants")]) -> str:
        return known[name]

    @topology.subscriber(kafka.topic("in"), batch=Batch(size=10), key="customer", max_workers=(1, 8), max_body=1024)
    def take(orders: list[Order], messages: list[Message], log: Logger) -> Iterator[Order]:
        yield from orders

    @topology.subscriber(take, max_workers="auto")
    async def after(order: Order, name: Annotated[str, Depends(tenant)]) -> None: ...

    graph = topology.graph()
    handler = graph.stage("after").handler
    assert handler is not None
    assert handler.needs == {"tenants"}
    assert handler.adapter(Order) is None


def test_objects_that_no_broker_could_bring_may_pass_between_stages() -> None:
    class Tensor:
        """Nothing that pydantic knows."""

    topology = Topology("orders")

    @topology.subscriber(kafka.topic("in"))
    async def make(order: Order) -> Tensor:
        return Tensor()

    @topology.subscriber(make)
    async def use(tensor: Tensor) -> None: ...

    handler = topology.graph().stage("use").handler
    assert handler is not None
    assert handler.adapter(Tensor) is None


def test_brokers_of_one_kind_are_told_apart() -> None:
    assert FakeBroker("kafka").topic("a") != kafka.topic("a") == kafka.topic("a")
