"""Stages that cannot hang together: refused in two lines that name file, line, stage and remedy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from actors import Message
from tests.topologies.declared import Order, kafka
from tests.topologies.refusing import Cases, Declare, check
from topologies import Topology

refused = Cases()


async def plain(order: Order) -> Order:
    return order


# -- what stages take from --------------------------------------------------------------------------------------


@refused("plain: 'orders' is no endpoint", 'broker.topic("orders")')
def a_source_that_is_text(topology: Topology) -> None:
    topology.subscriber("orders")(plain)  # type: ignore[arg-type]  # refused


@refused("plain: FakeBroker(system='kafka') is a broker, not an endpoint", 'broker.topic("orders")')
def a_source_that_is_a_broker(topology: Topology) -> None:
    topology.subscriber(kafka)(plain)  # type: ignore[arg-type]  # refused


@refused("handle: takes from plain, which is no stage of this topology", "put @topology.subscriber(...) on plain")
def a_function_that_is_no_stage(topology: Topology) -> None:
    @topology.subscriber(plain)  # refused
    async def handle(order: Order) -> None: ...


@refused("handle: takes from <publisher to out>", "take from the endpoint that it publishes to")
def a_source_that_is_a_publisher(topology: Topology) -> None:
    out = topology.publisher(kafka.topic("out"))

    @topology.subscriber(out)  # refused
    async def handle(order: Order) -> None: ...


@refused("after: takes from route, which is a router", "name it in the to=[...] of route")
def a_source_that_is_a_router(topology: Topology) -> None:
    out = topology.publisher(kafka.topic("out"))

    @topology.router(kafka.topic("in"), to=[out])
    def route(order: Order):
        return out

    @topology.subscriber(route)  # refused
    async def after(order: Order) -> None: ...


@refused("plain: takes from nothing", "name an endpoint or a stage to take from")
def a_subscriber_of_nothing(topology: Topology) -> None:
    topology.subscriber()(plain)  # refused


@refused("this subscriber decorates nothing", "write `@topology.subscriber(...)` right above a function")
def a_decorator_without_its_brackets(topology: Topology) -> None:
    @topology.subscriber  # refused
    async def handle(order: Order) -> None: ...


@refused("topology cases declares no stage", "put @topology.subscriber(endpoint) above a function")
def an_empty_topology(topology: Topology) -> None: ...


@refused("a cycle: check -> by_size -> check", "publish to an endpoint and subscribe to that")
def a_cycle(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def check(order: Order) -> Order:
        return order

    @topology.router(check, to=[check])
    def by_size(order: Order):
        return check


@refused("a cycle: first -> second -> third -> first", "leave one of these edges out")
def a_cycle_by_stacked_decorators(topology: Topology) -> None:
    async def third(order: Order) -> Order:
        return order

    subscribe = topology.subscriber(kafka.topic("in"), third)  # refused

    @subscribe
    async def first(order: Order) -> Order:
        return order

    @topology.subscriber(first)
    async def second(order: Order) -> Order:
        return order

    topology.subscriber(second)(third)


@refused("plain: there is another stage of this name, declared at ", 'give one of them a name of its own: name="..."')
def two_stages_of_one_name(topology: Topology) -> None:
    async def other(order: Order) -> None: ...

    topology.subscriber(kafka.topic("a"))(plain)
    topology.subscriber(kafka.topic("b"), name="plain")(other)  # refused


@refused("plain: there is another stage of this name", "name=")
def two_stages_of_one_name_by_include(topology: Topology) -> None:
    other = Topology("other")
    other.subscriber(kafka.topic("a"))(plain)  # refused
    topology.subscriber(kafka.topic("b"))(plain)
    topology.include(other)


# -- routers and publishers -------------------------------------------------------------------------------------


@refused("route: is a router without targets", "name the publishers and stages that it may return: to=[urgent, normal]")
def a_router_without_targets(topology: Topology) -> None:
    @topology.router(kafka.topic("in"), to=[])  # refused
    def route(order: Order) -> None: ...


@refused("route: to=<publisher to out> is no list", "to=[urgent, normal]")
def targets_that_are_no_list(topology: Topology) -> None:
    @topology.router(kafka.topic("in"), to=topology.publisher(kafka.topic("out")))  # type: ignore[arg-type]  # refused
    def route(order: Order) -> None: ...


@refused("route: names plain in its to=, which is no publisher or stage of this topology", "declare it first")
def a_target_that_is_no_stage(topology: Topology) -> None:
    @topology.router(kafka.topic("in"), to=[plain])  # refused
    def route(order: Order) -> None: ...


@refused("route: names 'out' in its to=, which is no publisher or stage", "urgent = topology.publisher(endpoint)")
def a_target_that_is_text(topology: Topology) -> None:
    @topology.router(kafka.topic("in"), to=["out"])  # type: ignore[list-item]  # refused
    def route(order: Order) -> None: ...


@refused("route: names Adding in its to=, which cannot be hashed", "give its class a __hash__, or eq=False")
def a_target_that_cannot_be_looked_up(topology: Topology) -> None:
    @dataclass
    class Adding:
        by: int = 1

        async def __call__(self, order: Order) -> None: ...

    adding = Adding()
    topology.subscriber()(adding)

    @topology.router(kafka.topic("in"), to=[adding])  # refused
    def route(order: Order) -> None: ...


@refused("route: names <publisher to out> in its to=, which is no publisher or stage", "declare it first")
def a_target_of_another_topology(topology: Topology) -> None:
    @topology.router(kafka.topic("in"), to=[Topology("other").publisher(kafka.topic("out"))])  # refused
    def route(order: Order) -> None: ...


@refused("to:out: decorates route, which is a router", "name the publisher in the router's to=[...]")
def a_publisher_of_a_router(topology: Topology) -> None:
    target = topology.publisher(kafka.topic("target"))

    @topology.publisher(kafka.topic("out"))  # refused
    @topology.router(kafka.topic("in"), to=[target])
    def route(order: Order) -> None: ...


@refused("to:out: decorates plain, which is no stage: nothing would be published", "put @topology.subscriber(...) on")
def a_function_that_is_only_published(topology: Topology) -> None:
    topology.publisher(kafka.topic("out"))(plain)  # refused


@refused("to:out: nothing reaches this publisher", "put it above a subscriber as a decorator, or into a router's to=")
def a_publisher_of_nothing(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(plain)
    topology.publisher(kafka.topic("out"))  # refused


@refused("to:?: 'out' is no endpoint", 'broker.topic("orders")')
def a_publisher_to_text(topology: Topology) -> None:
    topology.publisher("out")(plain)  # type: ignore[arg-type]  # refused
    topology.subscriber(kafka.topic("in"))(plain)


# -- middleware, lifespan, include ------------------------------------------------------------------------------


@refused("timing: is no middleware", "write `async def ...(call_next, message): return await call_next(message)`")
def middleware_that_is_no_coroutine(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(plain)

    def timing(call_next: Any, message: Message) -> Any: ...

    topology.middleware(timing)  # refused


@refused("timing: is no middleware", "write `async def")
def middleware_of_the_wrong_parameters(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(plain)

    @topology.middleware  # refused
    async def timing(message: Message) -> Any: ...


@refused("resources: is no lifespan", "with one `yield`, and without @asynccontextmanager")
def a_lifespan_that_is_a_context_manager(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(plain)

    @topology.lifespan  # refused
    @asynccontextmanager
    async def resources(context: dict[str, Any]) -> AsyncIterator[None]:
        yield


@refused("resources: is no lifespan", "write `async def ...(context):`")
def a_lifespan_without_context(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(plain)

    @topology.lifespan  # refused
    async def resources() -> AsyncIterator[None]:
        yield


@refused("plain: its dead letters go to in, which it takes from", "leave dead_letter= out, which makes it in.dead")
def dead_letters_that_come_round(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"), dead_letter=kafka.topic("in"))(plain)  # refused


@refused("cases includes what is no topology", 'write topology.include(other, prefix="eu.")')
def an_include_of_something_else(topology: Topology) -> None:
    topology.include(plain)  # type: ignore[arg-type]  # refused


@refused("cases includes inner, which includes cases", "leave one of the two out")
def an_include_that_comes_round(topology: Topology) -> None:
    inner = Topology("inner")
    inner.include(topology)
    topology.include(inner)  # refused


@refused("cases includes cases, which includes cases", "leave one of the two out")
def an_include_of_itself(topology: Topology) -> None:
    topology.include(topology)  # refused


@pytest.mark.parametrize(("declare", "problem", "remedy"), refused.all)
def test_a_declaration_that_cannot_work_is_refused(declare: Declare, problem: str, remedy: str) -> None:
    check(declare, problem, remedy)
