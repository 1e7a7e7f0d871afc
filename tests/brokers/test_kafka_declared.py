"""Kafka's options, URLs and endpoints, for which no server is needed; and that nothing secret is told."""

import re
import subprocess
import sys
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from actors import BrokerError, TopologyError
from engine import broker
from engine.kafka import client as kafka_client
from engine.kafka.broker import Kafka
from engine.kafka.place import Place

SECRET = "s3cret"


def test_a_url_is_a_broker_with_servers_login_and_options() -> None:
    made = broker("kafka://user:s3cr%40t@one:9092,two:9093?sasl_mechanism=SCRAM-SHA-512&commit_interval=0.5")
    assert isinstance(made, Kafka)
    options = made.options
    assert options.servers == ("one:9092", "two:9093")
    assert (options.user, options.password and options.password.get_secret_value()) == ("user", "s3cr@t")
    assert (options.sasl_mechanism, options.commit_interval) == ("SCRAM-SHA-512", 0.5)
    assert options.protocol == "SASL_PLAINTEXT"
    assert repr(made) == "<Kafka one:9092,two:9093>"


def test_the_protocol_follows_from_what_is_given() -> None:
    def protocol(**given: Any) -> str:
        return Kafka("h", **given).options.protocol

    assert protocol() == "PLAINTEXT"
    assert protocol(cafile="ca.pem") == "SSL"
    assert protocol(user="u", password=SECRET) == "SASL_PLAINTEXT"
    assert protocol(user="u", password=SECRET, certfile="c.pem", keyfile="k.pem") == "SASL_SSL"
    assert protocol(security_protocol="SSL") == "SSL"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sesion_timeout": 3}, "did you mean session_timeout=? known are: servers, client_id, "),
        ({"acks": 0}, "acks"),
        ({"acks": 1}, "idempotent=False"),
        ({"compression": "rar"}, "compression"),
        ({"session_timeout": 0}, "session_timeout"),
        ({"password": SECRET}, "user= and password= go together"),
        ({"client": {"group_id": "x"}}, "write group= in topic"),
        ({"client": {"acks": 0}}, "write acks="),
        ({"client": {"fetch_max_byts": 1}}, "fetch_max_bytes"),
        ({"max_batch_size": SECRET}, "max_batch_size"),
    ],
)
def test_an_option_that_is_wrong_is_told_with_those_there_are(given: dict[str, Any], told: str) -> None:
    with pytest.raises(TopologyError) as wrong:
        Kafka("localhost", **given)
    assert told in str(wrong.value)
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("kafka://", "names servers"),
        ("kafka://u:s3cret@host:9092/path", "no path"),
        ("kafka://u:s3cret@host:9092?acks", "query cannot be read"),
        ("kafka://u:s3cret@host:9092?ack=all", "did you mean acks=?"),
        ("kafka://u:s3cret@host:9092?linger=s3cret", "linger"),
        ("kafka://u:s3cret@host:9092,", "expected a server"),
    ],
)
def test_a_url_that_is_wrong_is_never_shown(url: str, told: str) -> None:
    with pytest.raises(TopologyError) as wrong:
        broker(url)
    assert told in str(wrong.value)
    assert SECRET not in str(wrong.value)


def test_no_password_is_shown_by_anything() -> None:
    kafka = Kafka("localhost", user="me", password=SECRET, cafile="ca.pem", keyfile_password=SECRET)
    place = kafka.topic("orders", group="g")
    for shown in (kafka, kafka.options, place, place.options, place.sink(), place.source("x")):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "no blanks"}, "no name for a topic"),
        ({"name": "x" * 250}, "no name for a topic"),
        ({"name": ""}, "no name for a topic"),
        ({"name": ".."}, "no name for a topic"),
        ({}, "a name or a pattern"),
        ({"name": "a", "pattern": "a"}, "a name or a pattern"),
        ({"pattern": "orders[("}, "no regular expression"),
        ({"name": "a", "start": "now"}, "earliest or latest"),
        ({"name": "a", "partitions": 0}, "at least 1"),
        ({"name": "a", "replication": True}, "at least 1"),
        ({"name": "a", "transactional": True}, "not available yet"),
    ],
)
def test_a_topic_that_cannot_be_is_refused_when_it_is_declared(given: dict[str, Any], told: str) -> None:
    with pytest.raises(TopologyError, match=told):
        Kafka().topic(**given)


def test_a_topic_is_a_value() -> None:
    kafka = Kafka()
    assert kafka.topic("a", group="g") == kafka.topic("a", "g")
    assert kafka.topic("a") != kafka.topic("a", start="latest")
    assert kafka.topic("a") != Kafka().topic("a")
    assert len({kafka.topic("a"), kafka.topic("a"), kafka.topic("b", partitions=3)}) == 2
    assert kafka.topic("a", partitions=3).options == {"partitions": 3}
    assert repr(kafka.topic("tenant.{id}", start="latest")) == "kafka.topic('tenant.{id}', start='latest')"


def test_a_pattern_is_read_and_not_written() -> None:
    place = Kafka().topic(pattern=r"orders\.(eu|us)")
    assert place.dead_letter().name == "orders.eu.us.dead"
    with pytest.raises(BrokerError, match="pattern"):
        place.sink()


def test_a_pattern_matches_whole_names_and_neither_its_dead_letters_nor_inboxes() -> None:
    matching = Place("x", "orders.*|headrace.*", dead="orders.dead").matching
    assert matching is not None
    names = ["orders", "orders.eu", "orders.dead", "orders.dead.eu", "my.orders", "headrace.inbox.1", "headrace.x"]
    assert [name for name in names if re.match(matching, name)] == [
        "orders",
        "orders.eu",
        "orders.dead.eu",
        "headrace.x",
    ]


def test_what_aiokafka_takes_is_passed_on_to_whom_it_concerns() -> None:
    options = Kafka("h", client={"fetch_max_bytes": 7, "max_request_size": 8, "metadata_max_age_ms": 9}).options
    assert kafka_client._passed_on(options, AIOKafkaConsumer) == {
        "fetch_max_bytes": 7,
        "metadata_max_age_ms": 9,
    }
    assert kafka_client._passed_on(options, AIOKafkaProducer) == {
        "max_request_size": 8,
        "metadata_max_age_ms": 9,
    }


def test_a_static_member_is_called_after_process_and_topic() -> None:
    assert Place("orders").instance("pod-1") == "pod-1-orders"
    assert Place("a|b", "a|b").instance("pod 1") == "pod-1-a-b"
    assert Place("orders").instance(None) is None


def test_aiokafka_is_imported_when_it_is_needed_and_not_before() -> None:
    program = (
        "import sys, headrace\n"
        "topic = headrace.broker('kafka://localhost:9092').topic('orders')\n"
        "assert 'aiokafka' not in sys.modules\n"
        "topic.source('group')\n"
        "assert 'aiokafka' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_url_in_place_of_servers_is_refused_and_its_password_not_told() -> None:
    with pytest.raises(TopologyError, match=r"broker\(url\) takes a URL") as refused:
        Kafka("kafka://ann:secret@localhost:9092")
    assert "secret" not in str(refused.value)
