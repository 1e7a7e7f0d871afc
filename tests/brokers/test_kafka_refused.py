"""Whatever goes wrong with a Kafka, the error names the server, what it said and the remedy, and no password."""

import logging
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine import broker
from engine.kafka.broker import Kafka
from tests.brokers.contract import fetched, message, numbers, opened, ready
from tests.brokers.kafkas import fresh, make, near
from tests.servers.kafka import Kafka as KafkaServer
from tests.servers.ports import free_port

pytestmark = pytest.mark.anyio
WRONG = "s3cret"


async def refusals(kafka: Any, name: str | None = None) -> list[BrokerError]:
    """What opening a source, opening a sink, and publishing from outside say."""
    topic = kafka.topic(name or fresh())
    said = []
    for port in (topic.source("readers"), topic.sink()):
        with pytest.raises(BrokerError) as refused:
            await port.open()
        await port.close()
        said.append(refused.value)
    async with kafka:
        with pytest.raises(BrokerError) as refused:
            await topic.publish("text")
        said.append(refused.value)
    for error in said:
        assert kafka.options.servers[0] in str(error)
        assert WRONG not in f"{error} {error!r} {error.__cause__!r}"
    return said


async def test_nothing_listens_there() -> None:
    for error in await refusals(Kafka(f"127.0.0.1:{free_port()}")):
        assert isinstance(error, BrokerUnavailable)
        assert "Connect call failed" in str(error)


async def test_there_is_no_such_host() -> None:
    for error in await refusals(Kafka("no-such-host.invalid:9092")):
        assert isinstance(error, BrokerUnavailable)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_refused_and_not_told(
    kafka_server: KafkaServer, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="aiokafka.conn")
    url = kafka_server.login_url.replace(kafka_server.password, WRONG)
    for error in await refusals(broker(f"{url}?sasl_mechanism={mechanism}")):
        assert isinstance(error, BrokerRefused)
        assert "SaslAuthenticationFailed" in str(error)
        assert "password=" in str(error)
    assert WRONG not in caplog.text
    assert "Request to" in caplog.text


async def test_the_right_password_is_not_logged_either(
    kafka_server: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="aiokafka.conn")
    topic = broker(kafka_server.login_url).topic(fresh())  # type: ignore[attr-defined]
    source, sink = await ready(topic)
    async with opened(source, sink):
        await sink.publish([message(1, topic.name)])
        assert numbers(await fetched(source, 1)) == [1]
    assert kafka_server.password not in caplog.text


async def test_a_login_where_none_is_asked_for(kafka_server: KafkaServer) -> None:
    for error in await refusals(Kafka(kafka_server.bootstrap, user="me", password=WRONG)):
        assert isinstance(error, BrokerRefused)


async def test_no_login_where_one_is_asked_for(kafka_server: KafkaServer) -> None:
    host = kafka_server.login_url.rpartition("@")[2]
    for error in await refusals(Kafka(host, request_timeout=6)):
        assert isinstance(error, BrokerUnavailable)
        assert "user=" in str(error)


async def test_no_tls_where_it_is_spoken(kafka_server: KafkaServer) -> None:
    for error in await refusals(Kafka(kafka_server.tls_url.removeprefix("kafka://"), request_timeout=6)):
        assert isinstance(error, BrokerUnavailable)
        assert "cafile=" in str(error)


async def test_tls_where_it_is_not_spoken(kafka_server: KafkaServer) -> None:
    context = kafka_server.certificates.context()
    for error in await refusals(Kafka(kafka_server.bootstrap, ssl=context, request_timeout=6)):
        assert isinstance(error, BrokerUnavailable)
        assert "TLS" in str(error)


async def test_a_certificate_that_nobody_vouches_for(kafka_server: KafkaServer) -> None:
    for error in await refusals(Kafka(kafka_server.tls_url.removeprefix("kafka://"), security_protocol="SSL")):
        assert isinstance(error, BrokerRefused)
        assert "cafile=" in str(error)


async def test_a_file_for_tls_that_is_not_there(kafka_server: KafkaServer) -> None:
    for error in await refusals(Kafka(kafka_server.tls_url.removeprefix("kafka://"), cafile="/no/such/ca.pem")):
        assert isinstance(error, BrokerRefused)
        assert "No such file" in str(error)


async def test_a_missing_topic_that_this_user_may_not_make(kafka_server: KafkaServer) -> None:
    url = kafka_server.login_url.replace(f"{kafka_server.user}:", f"{kafka_server.limited}:")
    name = fresh()
    for error in await refusals(broker(url), name):
        assert isinstance(error, BrokerRefused)
        assert f"topic {name}" in str(error)
        assert "TopicAuthorizationFailed" in str(error)
        assert "kafka-acls.sh" in str(error)


async def test_a_missing_topic_that_is_not_to_be_made(kafka_server: KafkaServer) -> None:
    name = fresh()
    for error in await refusals(near(kafka_server, create_topics=False), name):
        assert isinstance(error, BrokerRefused)
        assert f"kafka-topics.sh --create --topic {name}" in str(error)
    await make(kafka_server, name)
    async with opened(near(kafka_server, create_topics=False).topic(name).source("readers")):
        pass


async def test_a_topic_that_the_cluster_cannot_make(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server).topic(fresh(), replication=3)
    for port in (topic.source("readers"), topic.sink()):
        with pytest.raises(BrokerRefused, match="replication=") as refused:
            await port.open()
        assert topic.name in str(refused.value)
        await port.close()


async def test_a_group_that_others_use_in_another_way(kafka_server: KafkaServer) -> None:
    topic, group = near(kafka_server).topic(fresh()), fresh()
    await make(kafka_server, topic.name)
    other = AIOKafkaConsumer(
        topic.name,
        bootstrap_servers=kafka_server.bootstrap,
        group_id=group,
        partition_assignment_strategy=[RangePartitionAssignor],
    )
    await other.start()
    try:
        with pytest.raises(BrokerRefused, match=f"group {group}.*InconsistentGroupProtocol.*name of its own"):
            await topic.source(group).open()
    finally:
        await other.stop()


async def test_a_session_timeout_that_the_server_does_not_allow(kafka_server: KafkaServer) -> None:
    topic = near(kafka_server, session_timeout=0.3).topic(fresh())
    with pytest.raises(BrokerRefused, match="session_timeout="):
        await topic.source("readers").open()
