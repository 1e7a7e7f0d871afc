"""A topology with all that is hard to write down in an AsyncAPI document, on every broker."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, computed_field
from typing_extensions import TypedDict

from headrace import (
    Batch,
    Depends,
    Header,
    Kafka,
    Memory,
    Message,
    Nats,
    RabbitMQ,
    Redis,
    Topology,
)

SECRET = "s3cr3t"
SCRIPT = "<script>alert(1)</script>"
T = TypeVar("T")

kafka = Kafka("a:9092,b:9092", user="me", password=SECRET, sasl_mechanism="SCRAM-SHA-512", security_protocol="SASL_SSL")
plain_kafka = Kafka("c:9092")
rabbit = RabbitMQ(f"amqps://me:{SECRET}@[::1]:5671/%2Feu")
nats = Nats([f"tls://{SECRET}@one:4222", "tls://two:4222"])
redis = Redis(f"rediss://:{SECRET}@redis:6380/3")
memory, other = Memory(), Memory()


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Address(TypedDict):
    """Where somebody lives."""

    street: str
    city: str


class Customer(BaseModel):
    """Who orders. </script><img src=x onerror=alert(2)>"""

    id: int
    home: Address
    friends: "list[Customer]" = []


class Order(BaseModel):
    """What is ordered.

    With ~ / # % {braces} and "quotes".
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 1, "note": "</script><script>alert(3)</script>"}]})

    type: Literal["order"] = "order"
    id: int = Field(gt=0, description=f"Counted from 1. {SCRIPT}")
    customer: Customer
    color: Color = Field(Color.RED, deprecated=True)
    weight: float = float("inf")
    at: datetime | None = None
    pair: tuple[int, str] = (1, "a")
    more: tuple[int, ...] = ()
    price: Decimal = Decimal(1)
    then: Callable[[], None] | None = None
    of: dict[str, "Customer"] = {}

    @computed_field
    def cheap(self) -> bool:
        return self.price < 10


class Refund(BaseModel):
    type: Literal["refund"] = "refund"
    ref_id: int = Field(alias="ref ~ / %20")


class Page(BaseModel, Generic[T]):
    items: list[T]


def another() -> type[BaseModel]:
    """Another model of the same name."""

    class Order(BaseModel):
        number: int

    return Order


Other: Any = another()


@dataclass
class Point:
    x: int
    y: int = 0
    labels: list[str] = field(default_factory=list)


class Carton(TypedDict):
    to: Address
    origin: Address


def tenant(name: Annotated[str, Header("x-tenant")]) -> str:
    return name


topology = Topology("nasty")
twin = Topology("nasty-twin")

by_city = topology.publisher(kafka.topic("orders.{customer.home.city}.{color}"), key="customer.id")
to_all = topology.publisher(rabbit.exchange("all", type="x-consistent-hash"))
by_rule = topology.publisher(rabbit.exchange("a/b", routing_key="eu.{id}", persistent=False, expiration=2, priority=3))
literal = topology.publisher(memory.topic("a{{b}}"))
sent_anything = topology.publisher(redis.channel("anything"))


@topology.publisher(kafka.topic("pages", partitions=3, replication=2), key=lambda message: message.key)
@topology.subscriber(
    kafka.topic(pattern=r"orders\.[a-z]{2,3}", group="mine", start="latest"),
    rabbit.queue("ordérs / 1 # %20 ~"),
    name="Größe/{x}",
)
async def page(
    order: Annotated[Order | Refund, Field(discriminator="type")],
    tenant_name: Annotated[str, Depends(tenant)],
    message: Message,
    retries: Annotated[int, Header()] = 0,
    since: Annotated[datetime | None, Header("x-since")] = None,
) -> Page[Order]:
    """Make a page of one <b>order</b>, half a pair \ud800 and all.

    It is a **long** story: <script>alert(4)</script> and more.
    """
    raise NotImplementedError


@topology.router(nats.stream("ORDERS", subject="orders.*.new", durable="d"), to=[by_city, to_all, by_rule, literal])
def spread(order: Order) -> object:
    return by_city


@topology.router(redis.list("anything", plain=True), to=[sent_anything], dead_letter=redis.stream("grave", maxlen=5))
def loose(body: bytes) -> object:
    return sent_anything.send({"x": body})


@topology.publisher(memory.topic("points"))
@topology.subscriber(redis.stream("texts{tag}", group="g"), redis.channel("texts.*"), batch=Batch(size=5))
async def texts(lines: list[Literal["a", "b"]]) -> list[Point]:
    raise NotImplementedError


@topology.subscriber(memory.topic("points"))
async def same_channel(points: list[Point], who: Annotated[str, Header("x-who")]) -> str | bytes | dict[str, Any]:
    raise NotImplementedError


@topology.subscriber(nats.subject("carton", queue="q"), other.topic("points"))
async def carton(body: Carton | None) -> None: ...


@twin.subscriber(plain_kafka.topic("orders"), name="page")
async def other_order(order: Other) -> None: ...


@twin.subscriber(other.topic("<img src=x onerror=alert(5)>"))
async def whatever(message: Message) -> None: ...
