"""What stands in an AsyncAPI document: servers, channels, operations, messages, parameters, replies."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, Field

from headrace import Header, Kafka, Memory, Message, Nats, RabbitMQ, Redis, Topology
from tests.topologies.asyncapi_checked import against_schema
from tests.topologies.declared import FakeBroker
from topologies import asyncapi


class Item(BaseModel):
    """One thing.

    And more about it.
    """

    id: int = Field(gt=0, description="Counted from 1.")
    customer: str = Field(description="Who pays.")


class Paid(BaseModel):
    item: Item


def document(*topologies: Topology, **more: Any) -> dict[str, Any]:
    made = asyncapi([topology.graph() for topology in topologies], **more)
    assert against_schema(made) == []
    plain: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    return plain


def orders() -> Topology:
    kafka, rabbit = Kafka("localhost:9092"), RabbitMQ("amqp://guest:guest@localhost/")
    topology = Topology("orders")

    @topology.publisher(kafka.topic("paid.{item.customer}"), key="item.id")
    @topology.subscriber(rabbit.queue("items"))
    async def pay(item: Item, who: Annotated[str, Header("x-who")], tries: Annotated[int, Header()] = 0) -> Paid:
        """Pay for an item.

        It takes a while.
        """
        return Paid(item=item)

    return topology


def test_a_subscriber_receives_and_is_told_of_by_its_docstring() -> None:
    made = document(orders())["operations"]["orders.pay"]
    assert (made["action"], made["title"]) == ("receive", "pay")
    assert (made["summary"], made["description"]) == ("Pay for an item.", "It takes a while.")
    assert made["channel"] == {"$ref": "#/channels/rabbitmq.items"}
    assert made["tags"] == [{"name": "orders"}]
    assert made["bindings"]["amqp"] == {"ack": True, "bindingVersion": "0.3.0"}


def test_a_publisher_sends_what_is_returned_with_its_key() -> None:
    made = document(orders())
    sent = made["operations"]["orders.to_paid.item.customer"]
    assert (sent["action"], sent["summary"]) == ("send", "Publishes what pay returns.")
    message = made["channels"]["kafka.paid.item.customer"]["messages"]["Paid"]
    assert message["payload"] == {"$ref": "#/components/schemas/Paid"}
    assert message["contentType"] == "application/json"
    assert message["bindings"]["kafka"]["key"] == {
        "description": "Counted from 1.",
        "exclusiveMinimum": 0,
        "title": "Id",
        "type": "integer",
    }


def test_the_fields_of_a_template_are_the_channels_parameters() -> None:
    channel = document(orders())["channels"]["kafka.paid.item.customer"]
    assert channel["address"] == "paid.{item_customer}"
    assert channel["parameters"] == {
        "item_customer": {"description": "Who pays.", "location": "$message.payload#/item/customer"}
    }


def test_headers_that_a_handler_asks_for_are_those_of_the_message() -> None:
    headers = document(orders())["channels"]["rabbitmq.items"]["messages"]["Item"]["headers"]
    assert headers["required"] == ["x-who"]
    assert headers["properties"]["x-who"] == {"type": "string"}
    assert headers["properties"]["tries"] == {"type": "integer", "default": 0}


def test_descriptions_of_models_and_fields_stand_in_their_schemas() -> None:
    made = document(orders())
    assert made["components"]["schemas"]["Item"]["description"] == "One thing.\n\nAnd more about it."
    assert made["components"]["schemas"]["Item"]["properties"]["id"]["description"] == "Counted from 1."
    assert made["channels"]["rabbitmq.items"]["messages"]["Item"]["summary"] == "One thing."


def test_dead_letters_have_a_channel_and_say_what_their_headers_mean() -> None:
    made = document(orders())
    assert made["operations"]["orders.pay.dead"]["channel"] == {"$ref": "#/channels/rabbitmq.items.dead"}
    message = made["components"]["messages"]["DeadLetter"]
    assert "headrace-reason" in message["headers"]["required"]
    assert made["channels"]["rabbitmq.items.dead"]["address"] == "items.dead"


def test_who_asks_for_an_answer_gets_what_the_handler_returns() -> None:
    made = document(orders())
    reply = made["operations"]["orders.pay"]["reply"]
    assert reply["address"]["location"] == "$message.header#/reply_to"
    assert reply["channel"] == {"$ref": "#/channels/rabbitmq.replies"}
    assert reply["messages"] == [{"$ref": "#/channels/rabbitmq.replies/messages/Paid"}]
    asked = made["channels"]["rabbitmq.items"]["messages"]["Item"]
    assert asked["correlationId"] == {"location": "$message.header#/correlation_id"}


def test_a_handler_that_returns_nothing_answers_nothing() -> None:
    topology = Topology("t")

    @topology.subscriber(Memory().topic("in"))
    async def take(item: Item) -> None: ...

    made = document(topology)
    assert "reply" not in made["operations"]["t.take"]
    assert "headers" not in made["channels"]["memory.in"]["messages"]["Item"]


def test_a_router_that_says_only_where_passes_on_what_it_takes_and_another_anything() -> None:
    memory, topology = Memory(), Topology("t")
    one, two = topology.publisher(memory.topic("one")), topology.publisher(memory.topic("two"))

    @topology.router(memory.topic("in"), to=[one])
    def forward(item: Item) -> object:
        return one

    @topology.router(memory.topic("in"), to=[two])
    def change(item: Item) -> object:
        return two.send(b"x")

    channels = document(topology)["channels"]
    assert list(channels["memory.one"]["messages"]) == ["Item"]
    assert channels["memory.two"]["messages"]["Body"]["payload"] == {}
    operations = document(topology)["operations"]
    assert operations["t.to_one"]["summary"] == "Publishes what forward sends here."


def test_members_of_a_union_are_messages_of_their_own() -> None:
    topology = Topology("t")

    @topology.subscriber(Memory().topic("in"))
    async def take(body: Item | Paid | str | bytes | None) -> None: ...

    messages = document(topology)["channels"]["memory.in"]["messages"]
    types = {name: message["contentType"] for name, message in messages.items()}
    assert types == {
        "Item": "application/json",
        "Paid": "application/json",
        "str": "text/plain",
        "bytes": "application/octet-stream",
    }


def test_two_topologies_that_share_a_place_share_its_channel_and_message() -> None:
    kafka = Kafka("localhost:9092")
    first, second = Topology("first"), Topology("second")

    @first.publisher(kafka.topic("items"), key="id")
    @first.subscriber(Memory().topic("in"))
    async def make(item: Item) -> Item:
        return item

    @second.subscriber(kafka.topic("items"))
    async def take(item: Item, who: Annotated[str, Header("x-who")]) -> None: ...

    made = document(first, second)
    assert made["info"]["tags"] == [{"name": "first"}, {"name": "second"}]
    messages = made["channels"]["kafka.items"]["messages"]
    assert list(messages) == ["Item"]
    assert messages["Item"]["headers"]["required"] == ["x-who"]
    assert messages["Item"]["bindings"]["kafka"]["key"]["type"] == "integer"
    assert made["operations"]["second.take"]["bindings"]["kafka"]["groupId"]["enum"] == ["second.take"]


def test_two_models_of_one_name_are_told_apart() -> None:
    def inner() -> Any:
        class Item(BaseModel):
            other: str

        return Item

    memory, topology, another = Memory(), Topology("t"), inner()

    @topology.subscriber(memory.topic("one"))
    async def one(item: Item) -> None: ...

    @topology.subscriber(memory.topic("two"))
    async def two(item: another) -> None: ...  # type: ignore[valid-type]

    made = document(topology)
    payloads = [each["messages"]["Item"]["payload"]["$ref"] for each in list(made["channels"].values())[::2]]
    assert len(set(payloads)) == 2
    assert len(made["components"]["schemas"]) == 2


def test_the_same_topology_gives_the_same_document_and_an_added_one_renames_nothing() -> None:
    one, again = document(orders()), document(orders())
    assert json.dumps(one) == json.dumps(again)
    more = Topology("more")

    @more.subscriber(Redis("redis://localhost").stream("items"))
    async def take(item: Item) -> None: ...

    both = document(orders(), more)
    for part in ("servers", "channels", "operations"):
        assert one[part].items() <= both[part].items()


def test_title_and_version_are_taken_and_else_made_of_the_topologies() -> None:
    info = document(orders(), title="Shop", version="2.1")["info"]
    assert (info["title"], info["version"]) == ("Shop", "2.1")
    assert document(orders())["info"]["title"] == "orders"
    assert document()["info"]["title"] == "nothing"


def test_an_endpoint_that_says_nothing_of_itself_is_shown_by_its_name() -> None:
    broker, topology = FakeBroker("carrier-pigeon"), Topology("t")

    @topology.subscriber(broker.topic("in"))
    async def take(item: Item) -> None: ...

    made = document(topology)
    assert made["servers"] == {"carrier-pigeon": {"host": "carrier-pigeon", "protocol": "carrier-pigeon"}}
    assert made["channels"]["carrier-pigeon.in"]["address"] == "in"


def test_a_message_whose_body_nobody_asks_for_may_be_anything() -> None:
    topology = Topology("t")

    @topology.subscriber(Nats().subject("in.*"))
    async def take(message: Message) -> None: ...

    made = document(topology)
    assert made["channels"]["nats.in.any"]["address"] == "in.*"
    assert made["channels"]["nats.in.any"]["messages"]["Body"]["payload"] == {}
