"""Options, keys and destinations that cannot be: refused in two lines that name file, line, stage and remedy."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, wraps
from operator import attrgetter
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from actors import Actor, Deduplicate, Message
from tests.topologies.declared import Order, kafka, rabbit
from tests.topologies.refusing import Cases, Declare, check, refusal
from topologies import Depends, Topology

refused = Cases()


async def plain(order: Order) -> Order:
    return order


# -- fields of the body -----------------------------------------------------------------------------------------


@refused(
    "to:tenant.{custmer}: destination 'tenant.{custmer}': Order has no field 'custmer', which plain passes on",
    "did you mean 'customer'?",
)
def a_template_field_that_the_model_lacks(topology: Topology) -> None:
    topology.publisher(kafka.topic("tenant.{custmer}"))(plain)  # refused
    topology.subscriber(kafka.topic("in"))(plain)


@refused("Order has no field 'region'", "its fields are: id, customer, priority, total; if route sends other bodies")
def a_template_field_that_a_routers_body_lacks(topology: Topology) -> None:
    out = topology.publisher(kafka.topic("{region}"))  # refused

    @topology.router(kafka.topic("in"), to=[out])
    def route(order: Order):
        return out


@dataclass
class Address:
    city: str
    lines: list[str]


class Parcel(TypedDict):
    address: Address


async def parcel(order: Order) -> Parcel | None: ...


@refused("Address has no field 'town'", "its fields are: city, lines")
def a_nested_field_that_is_lacking(topology: Topology) -> None:
    topology.publisher(kafka.topic("{address.town}"))(parcel)  # refused
    topology.subscriber(kafka.topic("in"))(parcel)


@refused("field 'lines' of Address is a list[str], not a single value", "name a field that holds text or a number")
def a_template_field_that_holds_many(topology: Topology) -> None:
    topology.publisher(kafka.topic("{address.lines}"))(parcel)  # refused
    topology.subscriber(kafka.topic("in"))(parcel)


@refused("field 'address' of Parcel is a Address, not a single value", "name a field that holds text or a number")
def a_published_key_that_is_a_model(topology: Topology) -> None:
    topology.publisher(kafka.topic("out"), key="address")(parcel)  # refused
    topology.subscriber(kafka.topic("in"))(parcel)


@refused("to:out: key='custmer': Order has no field 'custmer', which plain passes on", "did you mean 'customer'?")
def a_published_key_that_the_model_lacks(topology: Topology) -> None:
    topology.publisher(kafka.topic("out"), key="custmer")(plain)  # refused
    topology.subscriber(kafka.topic("in"))(plain)


@refused("plain: key='custmer': Order has no field 'custmer'", "did you mean 'customer'?")
def a_key_that_the_model_lacks(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"), key="custmer")(plain)  # refused


@refused("handle: key='id': str has no field 'id'", "bodies of type str have no fields")
def a_key_of_a_body_without_fields(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"), key="id")  # refused
    async def handle(text: str) -> None: ...


@refused("handle: key='id' names a field, and the handler takes no body to read it from", "annotate the body as the")
def a_key_without_a_body(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"), key="id")  # refused
    async def handle(message: Message) -> None: ...


@refused("to:a{: its destination cannot be read: Single '{' encountered in format string", "or {{ and }} for braces")
def a_template_that_cannot_be_read(topology: Topology) -> None:
    topology.publisher(kafka.topic("a{"))(plain)  # refused
    topology.subscriber(kafka.topic("in"))(plain)


@refused("{0} in 'a{0}' is not the name of a field", "write {field}")
def a_template_field_that_is_no_name(topology: Topology) -> None:
    topology.publisher(kafka.topic("a{0}"))(plain)  # refused
    topology.subscriber(kafka.topic("in"))(plain)


# -- options ----------------------------------------------------------------------------------------------------


OPTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"mailbox": 0}, "mailbox=0: expected a whole number, at least 1", "write mailbox=1 or more"),
    ({"mailbox": -1}, "mailbox=-1: expected", "write mailbox=1"),
    ({"mailbox": True}, "mailbox=True: expected", "write mailbox=1"),
    ({"mailbox": "many"}, "mailbox='many': expected", "write mailbox=1"),
    ({"max_body": 0}, "max_body=0: expected a whole number", "write max_body=1"),
    ({"max_workers": 0}, 'max_workers=0: expected a whole number, at least 1, a range or "auto"', "max_workers=16"),
    ({"max_workers": (0, 5)}, "max_workers=(0, 5): expected", "max_workers=(1, 64)"),
    ({"max_workers": (5, 2)}, "max_workers=(5, 2): expected", "max_workers=(1, 64)"),
    ({"max_workers": (1, 2, 3)}, "max_workers=(1, 2, 3): expected", "max_workers=(1, 64)"),
    ({"max_workers": "many"}, "max_workers='many': expected", 'max_workers="auto"'),
    ({"max_workers": 2.5}, "max_workers=2.5: expected", "max_workers=16"),
    (
        {"max_workers": 100_000_000},
        "max_workers=100000000: a pool has 1024 workers at most",
        "max_workers=1024 or less",
    ),
    ({"max_workers": (1, 1025)}, "max_workers=(1, 1025): a pool has 1024 workers at most", "start more processes"),
    ({"timeout": 0}, "timeout=0: expected seconds, more than 0", "write timeout=10, or leave it out"),
    ({"timeout": -1.5}, "timeout=-1.5: expected", "write timeout=10"),
    ({"timeout": float("nan")}, "timeout=nan: expected", "write timeout=10"),
    ({"timeout": "10s"}, "timeout='10s': expected", "write timeout=10"),
    ({"retry": 5}, "retry=5: expected a Retry", "write retry=Retry(attempts=5)"),
    ({"batch": 500}, "batch=500: expected a Batch", "write batch=Batch(size=500)"),
    ({"dead_letter": "dead"}, "dead_letter='dead': expected an Endpoint", "broker.topic("),
    ({"dead_letter": rabbit}, "dead_letter=FakeBroker(system='rabbitmq'): expected an Endpoint", "broker.topic("),
    ({"key": 5}, "key=5: expected the name of a field, or a function of the message", 'write key="customer"'),
    ({"key": "a b"}, "key='a b': expected", 'write key="customer"'),
    ({"max_worker": 5}, "unknown option max_worker= of a subscriber", "did you mean max_workers=? known are: name, "),
    ({"to": []}, "unknown option to= of a subscriber", "known are: name, max_workers, mailbox, key, retry, "),
    ({"xyz": 5}, "unknown option xyz= of a subscriber", "known are: name, "),
]


async def by_customer(message: Message) -> str:
    return "ann"


class ByCustomer:
    async def __call__(self, message: Message) -> str:
        return "ann"


def every_customer(message: Message) -> Iterator[str]:
    yield "ann"


class Customer:
    def __init__(self, message: Message) -> None:
        self.name = message.key


@dataclass(frozen=True)
class Tenant:
    message: Message


NO_KEYS: list[tuple[Any, str]] = [
    (by_customer, "by_customer: is of the form `async def`"),
    (ByCustomer(), "ByCustomer: is of the form `async def`"),
    (partial(by_customer), "by_customer: is of the form `async def`"),
    (every_customer, "every_customer: is of the form `generator`"),
    (Address, "Address: is a class whose instances cannot be hashed"),
    (Customer, "Customer: is a class whose instances are each a key of their own"),
    (list, "list: is a class whose instances cannot be hashed"),
    (lambda: "ann", "<lambda>: cannot be called with the message alone"),
    (lambda message, order: "ann", "<lambda>: cannot be called with the message alone"),
]


@pytest.mark.parametrize(("given", "problem"), NO_KEYS)
def test_a_key_that_is_no_plain_function_of_the_message_is_refused(given: Any, problem: str) -> None:
    stage, publisher, duplicates = Topology("stage"), Topology("publisher"), Topology("duplicates")
    stage.subscriber(kafka.topic("in"), key=given)(plain)
    publisher.publisher(kafka.topic("out"), key=given)(publisher.subscriber(kafka.topic("in"))(plain))
    duplicates.subscriber(kafka.topic("in"), deduplicate=Deduplicate(by=given))(plain)
    for topology, option in ((stage, "key="), (publisher, "key="), (duplicates, "Deduplicate: by=")):
        error = refusal(topology.graph)
        assert f": {option}{problem}" in error.problem
        assert "expected the name of a field, or a function of the message" in error.problem
        assert "lambda message: message.key" in error.remedy


@pytest.mark.parametrize("given", [attrgetter("key"), lambda message, default=1: default, Tenant, str])
def test_whatever_can_be_called_with_the_message_alone_is_a_key(given: Any) -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"), key=given, deduplicate=Deduplicate(by=given))(plain)
    assert topology.graph().stages[0].lane is given


@pytest.mark.parametrize(("options", "problem", "remedy"), OPTIONS)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], problem: str, remedy: str) -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"), **options)(plain)
    error = refusal(topology.graph)
    assert f": plain: {problem}" in str(error)
    assert remedy in error.remedy


def test_a_timeout_that_nothing_could_keep_is_refused() -> None:
    topology = Topology("cases")

    @topology.subscriber(kafka.topic("in"), timeout=5)
    def blocking(order: Order) -> None: ...

    error = refusal(topology.graph)
    assert "blocking: timeout=5 of a def: it runs in a thread, which nothing can interrupt" in str(error)
    assert "write async def" in error.remedy


def traced(function: Any) -> Any:
    """A plain decorator, as most are: a def that returns the coroutine."""

    @wraps(function)
    def around(*args: Any, **named: Any) -> Any:
        return function(*args, **named)

    return around


def test_a_timeout_of_an_async_def_under_a_plain_decorator_can_be_kept() -> None:
    topology = Topology("cases")
    out = topology.publisher(kafka.topic("out"))

    @topology.router(kafka.topic("in"), to=[out], timeout=5)
    @traced
    async def route(order: Order) -> Any:
        return out

    @topology.subscriber(kafka.topic("in"), timeout=5)
    @traced
    async def handle(order: Order) -> None: ...

    @topology.subscriber(kafka.topic("in"), timeout=5)
    class Handling(Actor):
        @traced
        async def receive(self, order: Order) -> None: ...

    topology.subscriber(kafka.topic("in"), timeout=5, name="bound")(partial(handle))
    assert topology.graph()


def test_a_timeout_of_a_def_under_a_plain_decorator_is_refused() -> None:
    topology = Topology("cases")

    @topology.subscriber(kafka.topic("in"), timeout=5)
    @traced
    def blocking(order: Order) -> None: ...

    assert "blocking: timeout=5 of a def: it runs in a thread" in str(refusal(topology.graph))


def test_a_timeout_of_a_router_that_nothing_could_interrupt_is_refused() -> None:
    topology = Topology("cases")
    out = topology.publisher(kafka.topic("out"))

    @topology.router(kafka.topic("in"), to=[out], timeout=5)
    def route(order: Order) -> Any:
        return out

    error = refusal(topology.graph)
    assert "route: timeout=5 of a def router: it is called in the event loop, and nothing can interrupt it" in str(
        error
    )
    assert "write async def" in error.remedy


def test_a_timeout_of_a_router_that_waits_for_what_it_depends_on_can_be_kept() -> None:
    topology = Topology("cases")
    out = topology.publisher(kafka.topic("out"))

    async def tenant() -> str:
        return "acme"

    @topology.router(kafka.topic("in"), to=[out], timeout=5)
    def route(order: Order, name: Annotated[str, Depends(tenant)]) -> Any:
        return out

    assert topology.graph()


@pytest.mark.parametrize("workers", [1024, (1, 1024), "auto"])
def test_a_pool_may_have_as_many_workers_as_it_can_be_told_to_have(workers: Any) -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"), max_workers=workers)(plain)
    assert topology.graph().stages[0].settings.max_workers == workers


@pytest.mark.parametrize("name", ["", "two words", "line\n", 5])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"), name=name)(plain)
    assert "cannot name a stage" in refusal(topology.graph).problem


def test_a_lambda_needs_a_name() -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"))(lambda order: order)
    error = refusal(topology.graph)
    assert error.problem == "<lambda>: a lambda has no name for a stage"
    assert 'name="' in error.remedy


def test_a_publisher_has_options_of_its_own() -> None:
    topology = Topology("cases")
    topology.publisher(kafka.topic("out"), timeout=5)(plain)  # type: ignore[call-arg]
    topology.subscriber(kafka.topic("in"))(plain)
    error = refusal(topology.graph)
    assert error.problem == "to:out: unknown option timeout= of a publisher"
    assert error.remedy == "known are: name, key, mailbox, max_workers, retry"


@pytest.mark.parametrize(("declare", "problem", "remedy"), refused.all)
def test_a_declaration_that_cannot_work_is_refused(declare: Declare, problem: str, remedy: str) -> None:
    check(declare, problem, remedy)


@pytest.mark.parametrize("name", ["", "two words", 5, None, "line\n"])
def test_a_topology_needs_a_name(name: Any) -> None:
    error = refusal(lambda: Topology(name))
    assert "expected a name without blanks" in error.problem


def test_a_topologys_supervision_must_be_one() -> None:
    error = refusal(lambda: Topology("cases", supervision="one_for_one"))  # type: ignore[arg-type]
    assert error.problem == "Topology('cases', supervision='one_for_one'): expected a Supervision"


class Extra(BaseModel, extra="allow"):
    id: int

    @property
    def region(self) -> str:
        return "eu"


class WithProperty(BaseModel):
    id: int

    @property
    def region(self) -> str:
        return "eu"


class Opaque:
    """Nothing that pydantic knows."""


class Maybe(TypedDict, total=False):
    region: str | None


@pytest.mark.parametrize("body", [Extra, WithProperty, Maybe, dict, dict[str, str], Any, Opaque])
def test_a_field_that_may_be_there_is_not_refused(body: Any) -> None:
    topology = Topology("cases")

    async def handle(order: Order) -> Any: ...

    handle.__annotations__["return"] = body
    topology.publisher(kafka.topic("in.{region}"), key="region")(handle)
    topology.subscriber(kafka.topic("in"))(handle)
    assert topology.graph().stage("to:in.{region}").destination is not None
