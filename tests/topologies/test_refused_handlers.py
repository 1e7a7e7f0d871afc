"""Handlers that cannot work: refused in two lines that name file, line, stage and remedy."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

from actors import Actor, Batch, Message
from tests.topologies.declared import Order, kafka
from tests.topologies.refusing import Cases, Declare, check
from topologies import Depends, Header, Topology

refused = Cases()


async def plain(order: Order) -> Order:
    return order


# -- handlers ---------------------------------------------------------------------------------------------------


@refused("handle: its body `order` has no annotation", "write `order: YourModel`")
def body_without_annotation(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order): ...


@refused("handle: takes no parameter", "take the body first, annotated: `order: Order`")
def no_parameter(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle() -> None: ...


@refused("handle: takes no parameter", "take the body first")
def only_variable_parameters(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(*args: Any, **more: Any) -> None: ...


@refused("handle: nothing fills parameter `more: int` of the handler", "fill it by type (Message, Logger,")
def a_parameter_that_nothing_fills(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, more: int) -> None: ...


@refused("handle: nothing fills parameter `order: Order` of the handler", "or give it a default")
def a_body_that_is_not_first(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(message: Message, order: Order) -> None: ...


@refused("handle: nothing fills parameter `more` of the handler", "fill it by type")
def a_parameter_without_annotation(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, more) -> None: ...


@refused("handle: nothing fills parameter `number: int` of dependency wanted", "fill it by type")
def a_dependencys_parameter_that_nothing_fills(topology: Topology) -> None:
    async def wanted(number: int) -> int:
        return number

    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, number: Annotated[int, Depends(wanted)]) -> None: ...


@refused("handle: its dependencies depend on each other: one -> two -> one", "break the circle")
def dependencies_in_a_circle(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, number: Annotated[int, Depends(one)]) -> None: ...


async def one(number: "Annotated[int, Depends(two)]") -> int:
    return number


async def two(number: Annotated[int, Depends(one)]) -> int:
    return number


@refused("handle: Depends(5) names nothing that can be called", "name a function, without calling it")
def a_dependency_that_is_no_function(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, number: Annotated[int, Depends(5)]) -> None: ...


@refused("handle: `request` of the handler has Header(...) as its default", "request: Annotated[T, Header(...)]")
def a_marker_as_a_default(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, request: str = Header("x-request-id")) -> None: ...  # type: ignore[assignment]


class Opaque:
    """Nothing that pydantic knows."""


@refused("handle: header 'x-thing' cannot be made a Opaque", "annotate `thing` with a type that text can be")
def a_header_of_a_type_that_no_text_becomes(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: Order, thing: Annotated[Opaque, Header("x-thing")]) -> None: ...


@refused("handle: no body can be decoded to Opaque", "annotate the body with a pydantic model")
def a_body_that_nothing_decodes_to(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(thing: Opaque) -> None: ...


@refused("handle: the annotation 'Ordr' of handle is not defined", "define 'Ordr' at the top of the module")
def an_annotation_that_is_not_defined(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: "Ordr") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@refused("handle: the annotations of handle cannot be resolved", "Annotated")
def an_annotation_that_is_no_type(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(order: "5 +") -> None: ...  # type: ignore[valid-type]  # noqa: F722


@refused("is not a handler", "decorate a function or a subclass of Actor")
def a_handler_that_is_not_callable(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(5)  # type: ignore[type-var]  # refused


@refused("Thing: class Thing is not a handler", "write `class Thing(Actor)`")
def a_class_that_is_no_actor(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    class Thing:
        async def receive(self, order: Order) -> None: ...


@refused("Idle: actor Idle has no `receive`", "add `async def receive(self, body: YourModel)`")
def an_actor_without_receive(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    class Idle(Actor):
        pass


@refused("Needy: actor Needy cannot be made without arguments: missing a required argument: 'size'", "on_start")
def an_actor_that_needs_arguments(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    class Needy(Actor):
        def __init__(self, size: int) -> None:
            self.size = size

        async def receive(self, order: Order) -> None: ...


@refused("Hasty: on_start of actor Hasty is of the form `def`, and it is awaited", "write `async def on_start(self)`")
def an_actor_whose_on_start_is_not_async(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    class Hasty(Actor):
        def on_start(self) -> None: ...  # type: ignore[override]

        async def receive(self, order: Order) -> None: ...


@refused("on_stop of actor Late is of the form `async generator`, and it is awaited", "write `async def on_stop(self)`")
def an_actor_whose_on_stop_yields(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    class Late(Actor):
        async def on_stop(self) -> AsyncIterator[None]:  # type: ignore[override]
            yield

        async def receive(self, order: Order) -> None: ...


@refused("Bare: its body `order` has no annotation", "write `order: YourModel`")
def a_receive_without_annotation(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    class Bare(Actor):
        async def receive(self, order): ...


@refused("max: the parameters of max cannot be read", "wrap it in a function of your own")
def a_function_without_a_signature(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(max)  # refused


# -- batches ----------------------------------------------------------------------------------------------------


@refused("handle: has batch=, and its body `order: Order` is no list", "write `order: list[Order]`")
def a_batch_for_a_single_body(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"), batch=Batch(10))  # refused
    async def handle(order: Order) -> None: ...


@refused("handle: `messages: list[Message]` without batch=", "add batch=Batch(size=...)")
def messages_without_a_batch(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"))  # refused
    async def handle(orders: list[Order], messages: list[Message]) -> None: ...


@refused("handle: has batch=, and `message` asks for the message of one message", "take `messages: list[Message]`")
def a_single_message_in_a_batch(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"), batch=Batch(10))  # refused
    async def handle(orders: list[Order], message: Message) -> None: ...


@refused("handle: has batch=, and `tenant` asks for the header of one message", "take `messages: list[Message]`")
def a_single_header_in_a_batch(topology: Topology) -> None:
    async def wanted(tenant: Annotated[str, Header("tenant")]) -> str:
        return tenant

    @topology.subscriber(kafka.topic("in"), batch=Batch(10))  # refused
    async def handle(orders: list[Order], tenant: Annotated[str, Depends(wanted)]) -> None: ...


@refused("handle: mailbox=8 is smaller than a batch of 9", "write mailbox=9 or more")
def a_mailbox_smaller_than_a_batch(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"), batch=Batch(9), mailbox=8)  # refused
    async def handle(orders: list[Order]) -> None: ...


@pytest.mark.parametrize(("declare", "problem", "remedy"), refused.all)
def test_a_declaration_that_cannot_work_is_refused(declare: Declare, problem: str, remedy: str) -> None:
    check(declare, problem, remedy)
