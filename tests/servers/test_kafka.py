"""Kafka as the tests start it: with its topics after a kill, and a listener for each way to log in."""

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.servers.kafka import Kafka

pytestmark = pytest.mark.anyio


def address(url: str) -> str:
    return url.removeprefix("kafka://").rpartition("@")[2]


async def make_topic(server: Kafka, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def publish(where: str, topic: str, body: bytes, **options) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=where, request_timeout_ms=5000, **options)
    try:
        await producer.start()
        return (await producer.send_and_wait(topic, body)).offset
    finally:
        await producer.stop()  # after a start that failed, too


async def test_kafka_keeps_its_messages_through_a_kill(kafka_server: Kafka) -> None:
    await make_topic(kafka_server, "kept")
    await publish(kafka_server.bootstrap, "kept", b"yes")
    await kafka_server.async_restart(kill=True)
    async with AIOKafkaConsumer(
        "kept", bootstrap_servers=kafka_server.bootstrap, group_id="kept", auto_offset_reset="earliest"
    ) as consumer:
        assert (await consumer.getone()).value == b"yes"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_kafka_takes_a_login_and_refuses_a_wrong_one(kafka_server: Kafka, mechanism: str) -> None:
    topic = f"login-{mechanism}"
    await make_topic(kafka_server, topic)
    login = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": kafka_server.user,
        "sasl_plain_password": kafka_server.password,
    }
    assert await publish(address(kafka_server.login_url), topic, b"1", **login) == 0
    with pytest.raises(KafkaError):
        await publish(address(kafka_server.login_url), topic, b"1", **login | {"sasl_plain_password": "puddle"})


@pytest.mark.parametrize("client", [False, True])
async def test_kafka_speaks_tls_with_and_without_a_clients_certificate(kafka_server: Kafka, client: bool) -> None:
    topic = f"tls-{client}"
    await make_topic(kafka_server, topic)
    context = kafka_server.certificates.context(client=client)
    options = {"security_protocol": "SSL", "ssl_context": context}
    assert await publish(address(kafka_server.tls_url), topic, b"1", **options) == 0


async def test_kafka_lets_a_limited_user_log_in_and_do_nothing(kafka_server: Kafka) -> None:
    await make_topic(kafka_server, "denied")
    login = {
        "security_protocol": "SASL_SSL",
        "ssl_context": kafka_server.certificates.context(),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": kafka_server.limited,
        "sasl_plain_password": kafka_server.password,
    }
    with pytest.raises(KafkaError, match="denied"):
        await publish(address(kafka_server.tls_login_url), "denied", b"1", **login)
    full = login | {"sasl_plain_username": kafka_server.user}
    assert await publish(address(kafka_server.tls_login_url), "denied", b"1", **full) == 0
