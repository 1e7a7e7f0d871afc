"""How stages find one another: names, routers, the order of the stream."""

import inspect
from typing import Any

from pydantic import BaseModel

from actors import Actor, Message, Send
from tests.topologies.declared import Order, kafka, rabbit
from topologies import Graph, Topology


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


# -- names ------------------------------------------------------------------------------------------------------


def test_stacked_subscribers_are_stages_of_their_own_that_share_what_is_behind() -> None:
    topology = Topology("users")

    @topology.publisher(kafka.topic("out"))
    @topology.subscriber(kafka.topic("users"), max_workers=2)
    @topology.subscriber(rabbit.queue("users"), max_workers=3)
    async def take(order: Order) -> Order:
        return order

    @topology.subscriber(take)
    async def after(order: Order) -> None: ...

    graph = topology.graph()
    assert names(graph) == ["take", "take-2", "to:out", "after"]
    assert graph.stage("take").sources == (kafka.topic("users"),)
    assert graph.stage("take-2").settings.max_workers == 3
    assert graph.stage("to:out").upstream == graph.stage("after").upstream == ("take", "take-2")


def test_one_subscriber_may_take_from_several_endpoints_and_stages() -> None:
    topology = Topology("users")
    first = chain(topology)

    @topology.subscriber(kafka.topic("users"), first, rabbit.queue("users"))
    async def take(order: Order) -> None: ...

    stage = topology.graph().stage("take")
    assert stage.sources == (kafka.topic("users"), rabbit.queue("users"))
    assert stage.upstream == ("first",)


def test_publishers_to_one_destination_are_numbered() -> None:
    topology = Topology("orders")

    @topology.publisher(kafka.topic("out"))
    @topology.publisher(rabbit.queue("out"))
    @topology.publisher(kafka.topic("out"), name="third")
    @topology.subscriber(kafka.topic("in"))
    async def take(order: Order) -> Order:
        return order

    assert names(topology.graph()) == ["take", "to:out", "to:out-2", "third"]


def test_a_publisher_may_take_from_several_stages() -> None:
    topology = Topology("orders")
    out = topology.publisher(kafka.topic("out"))
    first = out(chain(topology))

    @out
    @topology.subscriber(first)
    async def second(order: Order) -> Order:
        return order

    assert edges(topology.graph()) == {("first", "to:out"), ("first", "second"), ("second", "to:out")}


def test_a_name_may_be_given() -> None:
    topology = Topology("orders")

    async def take(order: Order) -> None: ...

    topology.subscriber(kafka.topic("a"), name="one")(take)
    topology.subscriber(kafka.topic("b"), name="two")(take)
    assert names(topology.graph()) == ["one", "two"]


def test_one_decorator_may_decorate_several_functions() -> None:
    topology = Topology("orders")
    take = topology.subscriber(kafka.topic("in"))

    @take
    async def one(order: Order) -> None: ...

    @take
    async def two(order: Order) -> None: ...

    assert names(topology.graph()) == ["one", "two"]
    assert topology.graph().stage("two").sources == (kafka.topic("in"),)


def test_a_stage_knows_where_it_is_declared_and_what_it_is_for() -> None:
    topology = Topology("orders")

    @topology.subscriber(
        kafka.topic("in"),
        max_workers=2,
    )
    async def take(order: Order) -> None:
        """Takes orders.

        At length.
        """

    @topology.subscriber(take)
    class Silent(Actor):
        async def receive(self, nothing: Any) -> None: ...

    lines, start = inspect.getsourcelines(test_a_stage_knows_where_it_is_declared_and_what_it_is_for)
    declared = start + next(number for number, line in enumerate(lines) if "topology.subscriber(" in line)
    stage = topology.graph().stage("take")
    assert stage.place.endswith(f"tests/topologies/test_resolve.py:{declared}")
    assert stage.description == "Takes orders."
    assert topology.graph().stage("Silent").description == ""


# -- routers ----------------------------------------------------------------------------------------------------


def test_a_stage_without_sources_takes_what_routers_send_it() -> None:
    topology = Topology("orders")
    out = topology.publisher(kafka.topic("out"))

    @topology.subscriber()
    async def slow(order: Order) -> None: ...

    @topology.router(kafka.topic("in"), to=[slow, out])
    def route(order: Order):
        return slow

    graph = topology.graph()
    assert names(graph) == ["route", "to:out", "slow"]
    assert graph.stage("route").targets == {slow: "slow", out: "to:out"}
    assert graph.stage("slow").upstream == ("route",)
    assert [stage.name for stage in graph.downstream("route")] == ["to:out", "slow"]


def test_routers_may_send_to_routers_and_to_actors() -> None:
    topology = Topology("orders")

    @topology.subscriber()
    class Slow(Actor):
        async def receive(self, order: Order) -> None: ...

    @topology.router(to=[Slow])
    def second(order: Order):
        return Slow

    @topology.router(kafka.topic("in"), to=[second, Slow])
    def first(order: Order):
        return second

    assert edges(topology.graph()) == {("first", "second"), ("first", "Slow"), ("second", "Slow")}


def test_of_a_function_that_is_several_stages_a_router_means_the_one_that_waits_for_it() -> None:
    topology = Topology("orders")

    @topology.subscriber(kafka.topic("direct"))
    @topology.subscriber()
    async def slow(order: Order) -> None: ...

    @topology.router(kafka.topic("in"), to=[slow])
    def route(order: Order):
        return slow

    assert topology.graph().stage("route").targets == {slow: "slow-2"}


def test_what_a_router_sends_of_its_own_is_made_what_the_stage_behind_takes() -> None:
    topology = Topology("orders")

    @topology.subscriber()
    async def take(order: Order) -> None: ...

    @topology.router(kafka.topic("in"), to=[take])
    def route(order: Order):
        return Send(take, {"id": 7, "customer": "a", "total": 1})

    graph = topology.graph()
    behind, router = graph.stage("take").handler, graph.stage("route").handler
    assert behind is not None
    assert router is not None
    adapt = behind.adapter(router.returns)
    assert adapt is not None
    assert adapt({"id": 7, "customer": "a", "total": 1}) == Order(id=7, customer="a", total=1)


class Service:
    async def price(self, order: Order) -> Order:
        return order

    async def audit(self, order: Order) -> None: ...

    def choose(self, order: Order) -> Any:
        return self.audit


def test_a_method_is_the_same_stage_however_often_it_is_named() -> None:
    topology, service, another = Topology("methods"), Service(), Service()
    topology.subscriber(kafka.topic("in"))(service.price)
    topology.subscriber(kafka.topic("other"), name="price-of-another")(another.price)
    topology.publisher(kafka.topic("priced"))(service.price)
    topology.router(service.price, to=[service.audit])(service.choose)
    topology.subscriber()(service.audit)
    graph = topology.graph()
    assert names(graph) == ["price", "price-of-another", "to:priced", "choose", "audit"]
    assert edges(graph) == {("price", "to:priced"), ("price", "choose"), ("choose", "audit")}
    assert graph.stage("choose").targets[service.audit] == "audit"


def test_targets_say_what_is_sent_to_them() -> None:
    topology = Topology("orders")
    out = topology.publisher(kafka.topic("out"))

    @topology.subscriber(kafka.topic("in"))
    async def take(order: Order) -> None: ...

    @topology.subscriber(kafka.topic("in"))
    class Taking(Actor):
        async def receive(self, order: Order) -> None: ...

    targets: list[Any] = [out, take, Taking]
    for target in targets:
        sent = target.send({"a": 1}, key="k", headers={"h": "v"})
        assert isinstance(sent, Send)
        assert (sent.target, sent.body, sent.key, sent.headers) == (target, {"a": 1}, "k", {"h": "v"})
    assert Taking().send(1).target is Taking  # type: ignore[attr-defined]


def test_what_has_a_send_of_its_own_keeps_it() -> None:
    topology = Topology("orders")

    @topology.subscriber(kafka.topic("in"))
    class Mailer(Actor):
        async def receive(self, order: Order) -> None: ...

        def send(self) -> str:
            return "mine"

    class Service:
        async def handle(self, order: Order) -> None: ...

    topology.subscriber(kafka.topic("in"))(Service().handle)
    assert Mailer().send() == "mine"
    assert names(topology.graph()) == ["Mailer", "handle"]


# -- order, caching, size ---------------------------------------------------------------------------------------


def test_stages_stand_in_the_order_of_the_stream_however_they_were_declared() -> None:
    topology = Topology("orders")
    out = topology.publisher(kafka.topic("out"))

    @topology.subscriber()
    async def last(order: Order) -> Order:
        return order

    out(last)

    @topology.subscriber(kafka.topic("in"))
    async def start(order: Order) -> Order:
        return order

    @topology.router(start, to=[last])
    def route(order: Order):
        return last

    assert names(topology.graph()) == ["start", "route", "last", "to:out"]


def test_the_graph_is_compiled_once_until_something_more_is_declared() -> None:
    topology, other = Topology("orders"), Topology("others")
    first = chain(topology)
    chain(other)
    graph = topology.graph()
    assert topology.graph() is graph

    out = topology.publisher(kafka.topic("out"))
    out(first)
    wider = topology.graph()
    assert names(wider) == ["first", "to:out"]
    topology.include(other, prefix="other.")
    assert names(topology.graph()) == ["first", "other.first", "to:out"]

    @other.subscriber(kafka.topic("more"))
    async def more(order: Order) -> None: ...

    assert "other.more" in names(topology.graph())

    @other.middleware
    async def pass_on(call_next: Any, message: Message) -> Any:
        return await call_next(message)

    handler = topology.graph().stage("other.more").handler
    assert handler is not None
    assert handler.middleware == (pass_on,)


def test_a_thousand_stages_compile() -> None:
    topology = Topology("long")
    previous: Any = kafka.topic("in")
    for number in range(1000):

        async def step(order: Order) -> Order:
            return order

        previous = topology.subscriber(previous, name=f"step{number}")(step)
    graph = topology.graph()
    assert names(graph) == [f"step{number}" for number in range(1000)]


def test_a_topology_says_what_it_holds_in_one_line() -> None:
    topology = Topology("orders")
    chain(topology)
    other = Topology("other")
    chain(other)
    topology.include(other, "b.")
    assert repr(topology) == "<Topology orders: 2 subscribers, 0 routers, 0 publishers>"
    assert repr(topology.publisher(kafka.topic("out"))) == "<publisher to out>"
