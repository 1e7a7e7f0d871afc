"""Handlers compiled: what they cost, what they are given, what goes on from them."""

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import wraps
from logging import getLogger
from typing import Annotated, Any

import pytest
from anyio import Event, create_task_group, get_cancelled_exc_class
from pydantic import Field

from actors import Actor, Message, Send
from tests.topologies.declared import Order
from tests.topologies.handling import Worker, compiled, handled
from topologies import Depends

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def here() -> bool:
    return threading.current_thread() is threading.main_thread()


# -- what a handler that asks for little costs ------------------------------------------------------------------


async def only_body(order: Order) -> Order:
    return order


def test_a_handler_that_asks_for_the_body_alone_is_called_with_the_body_and_nothing_else() -> None:
    invoke: Any = Worker(compiled(only_body)).bound.invoke
    code = invoke.__code__
    assert (code.co_names, code.co_freevars, code.co_varnames) == (("body",), ("function",), ("message",))
    assert invoke.__closure__[0].cell_contents is only_body


def test_an_actor_that_asks_for_the_body_alone_is_called_no_less_directly() -> None:
    class Plain(Actor):
        async def receive(self, order: Order) -> None: ...

    worker = Worker(compiled(Plain))
    invoke: Any = worker.bound.invoke
    assert invoke.__code__.co_names == ("body",)
    assert invoke.__closure__[0].cell_contents == worker.bound.actor.receive  # type: ignore[union-attr]


def test_bytes_that_nobody_decodes_are_not_touched() -> None:
    async def keep(message: Message) -> Message:
        return message

    handler = compiled(keep)
    raw = b"\xff anything"
    assert handler.decode(raw) is raw
    assert handler.adapter(Order) is None
    assert (handler.body, handler.codec) == (Any, None)


# -- actors -----------------------------------------------------------------------------------------------------


class Counter(Actor):
    def __init__(self) -> None:
        self.seen = 0

    async def on_start(self) -> None:
        self.step = self.context["step"]
        self.logger.debug("counting by %s", self.step)

    async def receive(self, order: int, message: Message) -> tuple[int, str | bytes | None]:
        self.seen += self.step
        return self.seen, message.key


async def test_each_worker_has_an_actor_of_its_own_with_context_and_logger() -> None:
    handler = compiled(Counter)
    logger = getLogger("tests.counter")
    one, two = Worker(handler, {"step": 2}, logger), Worker(handler, {"step": 5}, logger)
    for worker in (one, two):
        assert worker.bound.actor is not None
        assert worker.bound.actor.logger is logger
        await worker.bound.actor.on_start()
    assert await one.handle(Message(1, key="a")) == (2, "a")
    assert await one.handle(Message(1, key="b")) == (4, "b")
    assert await two.handle(Message(1, key="c")) == (5, "c")
    assert one.bound.actor is not two.bound.actor
    assert handler.stateful
    assert not compiled(only_body).stateful


async def test_what_an_actor_does_first_and_last_may_be_decorated() -> None:
    """A plain decorator gives a def that returns the coroutine, and one of coroutines may be put on a def."""

    def plain(function: Any) -> Any:
        return wraps(function)(lambda *args: function(*args))

    def awaiting(function: Any) -> Any:
        @wraps(function)
        async def around(*args: Any) -> None:
            function(*args)

        return around

    class Opening(Actor):
        @plain
        async def on_start(self) -> None:
            self.opened = True

        @awaiting
        def on_stop(self) -> None:
            self.opened = False

        async def receive(self, order: int) -> int:
            return order

    actor = Worker(compiled(Opening)).bound.actor
    assert isinstance(actor, Opening)
    await actor.on_start()
    assert actor.opened
    await actor.on_stop()
    assert not actor.opened


async def test_the_receive_of_an_actor_may_have_any_form() -> None:
    class Splitting(Actor):
        def receive(self, order: int) -> Iterator[int]:
            yield from range(order)

    class Static(Actor):
        @staticmethod
        async def receive(order: int) -> int:
            return order + 1

    class OfClass(Actor):
        @classmethod
        async def receive(cls, order: int) -> int:
            return order + 2

    worker = Worker(compiled(Splitting))
    await worker.handle(Message(2))
    assert worker.items == [0, 1]
    assert await handled(Static, Message(2)) == 3
    assert await handled(OfClass, Message(2)) == 4


async def test_what_an_actors_constructor_raises_is_raised_by_bind() -> None:
    class Broken(Actor):
        def __init__(self) -> None:
            raise ConnectionError("no database")

        async def receive(self, order: int) -> None: ...

    with pytest.raises(ConnectionError, match="no database"):
        Worker(compiled(Broken))


# -- batches ----------------------------------------------------------------------------------------------------


async def test_a_batch_gets_the_bodies_and_their_messages() -> None:
    async def handle(orders: list[Order], messages: list[Message]) -> Any:
        return len(orders), [message.key for message in messages]

    handler = compiled(handle, batch=True)
    assert handler.body is Order
    assert handler.decode(b'{"id":1,"customer":"a","total":1}') == Order(id=1, customer="a", total=1)
    run = [Message(key="a"), Message(key="b")]
    assert await Worker(handler).handle(Message([1, 2], record=run)) == (2, ["a", "b"])


@pytest.mark.parametrize(
    ("hint", "item"),
    [(list, Any), (list[int], int), (Sequence[int], int), (Annotated[list[int], Field(max_length=9)], int)],
)
async def test_the_items_of_a_batch_are_decoded_as_the_lists_annotation_says(hint: Any, item: Any) -> None:
    async def handle(numbers: Any) -> int:
        return sum(numbers)

    handle.__annotations__["numbers"] = hint
    handler = compiled(handle, batch=True)
    assert handler.body is item
    assert handler.decode(b"5") == 5
    assert await Worker(handler).handle(Message([1, 2])) == 3


async def test_a_batch_of_messages_alone_is_not_decoded() -> None:
    async def handle(messages: list[Message]) -> list[bytes | None]:
        return [message.raw for message in messages]

    handler = compiled(handle, batch=True)
    assert handler.decode(b"\xff") == b"\xff"
    assert await Worker(handler).handle(Message([], record=[Message(raw=b"a")])) == [b"a"]


# -- middleware -------------------------------------------------------------------------------------------------


async def test_middleware_wraps_the_call_the_first_outermost() -> None:
    calls = []

    def middleware(name: str) -> Any:
        async def wrap(call_next: Any, message: Message) -> Any:
            calls.append(f"{name} before {message.body}")
            result = await call_next(message)
            calls.append(f"{name} after {result}")
            return f"{name}({result})"

        return wrap

    async def handle(order: int) -> int:
        calls.append("handle")
        return order + 1

    result = await handled(handle, Message(1), middleware=[middleware("outer"), middleware("inner")])
    assert result == "outer(inner(2))"
    assert calls == ["outer before 1", "inner before 1", "handle", "inner after 2", "outer after inner(2)"]


async def test_middleware_is_outside_of_dependencies_and_sees_what_the_handler_raises() -> None:
    seen = []

    async def dependency() -> AsyncIterator[int]:
        yield 1
        seen.append("cleaned up")

    async def handle(order: int, one: Annotated[int, Depends(dependency)]) -> int:
        raise LookupError("lost")

    async def guard(call_next: Any, message: Message) -> Any:
        try:
            return await call_next(message)
        except LookupError as error:
            seen.append(str(error))
            return "instead"

    assert await handled(handle, Message(1), middleware=[guard]) == "instead"
    assert seen == ["lost"]


# -- what goes on -----------------------------------------------------------------------------------------------


async def to_one(order: Order) -> Order: ...  # type: ignore[empty-body]
async def to_some(order: Order) -> Order | None: ...
async def to_message(order: Order) -> Message: ...  # type: ignore[empty-body]
async def to_either(order: Order) -> Order | Message: ...  # type: ignore[empty-body]
async def to_none(order: Order) -> None: ...
async def to_any(order: Order): ...
async def to_list(order: Order) -> list[int]: ...  # type: ignore[empty-body]
async def items_async(order: Order) -> AsyncIterator[int | None]:
    yield 1


def items(order: Order) -> Iterator[Order]:
    yield order


def items_unknown(order: Order):
    yield order


@pytest.mark.parametrize(
    ("function", "returns"),
    [
        (to_one, Order),
        (to_some, Order),
        (to_message, Any),
        (to_either, Any),
        (to_none, type(None)),
        (to_any, Any),
        (to_list, list[int]),
        (items_async, int),
        (items, Order),
        (items_unknown, Any),
    ],
)
def test_what_a_handler_passes_on_is_known_from_its_annotation(function: Any, returns: Any) -> None:
    handler = compiled(function)
    assert handler.returns == handler.passes == returns


def forwarding(order: Order): ...
def forwarding_as_annotated(order: Order) -> str: ...  # type: ignore[empty-body]
def answering(order: Order):
    return forwarding.send({"a": 1})  # type: ignore[attr-defined]


def answering_by_hand(order: Order):
    return Send(forwarding, 1)


def maybe_answering(order: Order) -> list[Send] | None: ...
def anything(order: Order) -> Any: ...


@pytest.mark.parametrize("function", [forwarding, forwarding_as_annotated])
def test_a_router_that_sends_nothing_of_its_own_passes_its_body_on(function: Any) -> None:
    handler = compiled(function, router=True)
    assert (handler.passes, handler.returns) == (Order, Any)


@pytest.mark.parametrize("function", [answering, answering_by_hand, maybe_answering, anything])
def test_of_a_router_that_may_send_other_bodies_nothing_is_known(function: Any) -> None:
    assert compiled(function, router=True).passes is Any


def test_a_handler_says_what_it_is_in_one_line() -> None:
    assert repr(compiled(only_body)) == "<handler stage: async def, takes Order, returns Order>"


async def test_cancelling_reaches_an_awaiting_handler() -> None:
    began, cancelled = Event(), []

    async def wait(order: int) -> None:
        began.set()
        try:
            await Event().wait()
        except get_cancelled_exc_class():
            cancelled.append(order)
            raise

    async with create_task_group() as group:
        group.start_soon(handled, wait, Message(1))
        await began.wait()
        group.cancel_scope.cancel()
    assert cancelled == [1]
