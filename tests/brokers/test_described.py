"""What each broker's endpoints say of themselves for documents: enough to connect, and never a secret."""

from pathlib import Path
from typing import Any

import pytest

from actors import Described
from headrace import Kafka, Memory, Nats, RabbitMQ, Redis

SECRET = "s3cr3t"
ENDPOINTS: list[Any] = [
    Memory().topic("a"),
    Kafka("h").topic("a"),
    Kafka("h").topic(pattern="a.*"),
    RabbitMQ().queue("a"),
    RabbitMQ().exchange("a"),
    Nats().stream("A"),
    Nats().subject("a"),
    Redis().stream("a"),
    Redis().list("a"),
    Redis().channel("a"),
]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=repr)
def test_every_endpoint_describes_itself_to_readers_and_publishers(endpoint: Any) -> None:
    assert isinstance(endpoint, Described)
    for group in ("g", None):
        said = endpoint.describe(group)
        assert said.server.host
        assert said.server.protocol
        assert said.kind


@pytest.mark.parametrize(
    ("endpoint", "host", "protocol", "path", "security"),
    [
        (Kafka("a:1,b:2").topic("t"), "a:1,b:2", "kafka", "", ()),
        (
            Kafka("a:1", user="me", password=SECRET, sasl_mechanism="SCRAM-SHA-256", cafile=Path("ca")).topic("t"),
            "a:1",
            "kafka-secure",
            "",
            ("scramSha256",),
        ),
        (Kafka("a:1", certfile=Path("c")).topic("t"), "a:1", "kafka-secure", "", ("X509",)),
        (Kafka(f"me:{SECRET}@a:1").topic("t"), "a:1", "kafka", "", ()),
        (RabbitMQ(f"amqp://me:{SECRET}@h/v").queue("q"), "h:5672", "amqp", "/v", ("userPassword",)),
        (RabbitMQ("amqps://[::1]/", auth="external").queue("q"), "[::1]:5671", "amqps", "", ("X509",)),
        (Nats(f"nats://me:{SECRET}@h").subject("s"), "h:4222", "nats", "", ("userPassword",)),
        (Nats(f"tls://{SECRET}@h").stream("S"), "h:4222", "nats-secure", "", ("token",)),
        (Nats("nats://h", nkey=Path("seed")).stream("S"), "h:4222", "nats", "", ("nkey",)),
        (Redis("redis://h").stream("s"), "h:6379", "redis", "", ()),
        (Redis(f"rediss://me:{SECRET}@h/3").list("s"), "h:6379", "rediss", "/3", ("userPassword",)),
        (
            Redis(f"redis+sentinel://:{SECRET}@one:1,two:2/main").list("s"),
            "one:1,two:2",
            "redis",
            "/main",
            ("userPassword",),
        ),
    ],
    ids=str,
)
def test_servers_are_named_with_the_kind_of_login_and_without_the_login(
    endpoint: Any, host: str, protocol: str, path: str, security: tuple[str, ...]
) -> None:
    server = endpoint.describe("g").server
    assert (server.host, server.protocol, server.path, server.security) == (host, protocol, path, security)
    assert SECRET not in repr(endpoint.describe("g"))


def test_kafka_tells_group_client_partitions_and_replicas() -> None:
    topic = Kafka("h", client_id="shop").topic("t", partitions=3, replication=2)
    said = topic.describe("orders.pay")
    assert said.channel == {"topic": "t", "partitions": 3, "replicas": 2, "bindingVersion": "0.5.0"}
    assert said.operation["groupId"] == {"type": "string", "enum": ["orders.pay"]}
    assert said.operation["clientId"] == {"type": "string", "enum": ["shop"]}
    assert "groupId" not in topic.describe(None).operation
    assert Kafka("h").topic("t", group="own").describe("g").operation["groupId"]["enum"] == ["own"]


def test_rabbitmq_tells_queue_exchange_and_manner() -> None:
    queue = RabbitMQ().queue("q", kind="classic", durable=False, persistent=False, expiration=1.5)
    assert queue.describe("g").channel["queue"]["durable"] is False
    assert queue.describe(None).operation == {
        "deliveryMode": 1,
        "mandatory": True,
        "expiration": 1500,
        "bindingVersion": "0.3.0",
    }
    exchange = RabbitMQ().exchange("orders", routing_key="eu.#")
    said = exchange.describe("g")
    assert (said.address, said.channel["is"], said.channel["exchange"]["type"]) == ("eu.#", "routingKey", "topic")
    assert said.operation["x-queue"] == "g.orders"


def test_nats_and_redis_tell_who_reads() -> None:
    assert Nats().subject("s").describe("my group").operation["queue"] == "my_group"
    assert Nats().stream("S", durable="d").describe("g").operation["x-consumer"] == "d"
    assert Redis().stream("s").describe("g").operation == {"x-group": "g"}
    assert Redis().list("s").describe("g").operation == {}
