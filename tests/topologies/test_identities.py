"""`deduplicate=`: what makes two messages one, and what is refused when the topology is built."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from actors import DecodeError, Deduplicate, Identify, Message
from engine import Redis
from engine.redis.fields import entry_message
from tests.topologies.declared import Order, kafka, rabbit
from tests.topologies.refusing import Cases, Declare, check
from topologies import Topology

refused = Cases()


async def plain(order: Order) -> Order:
    return order


def identify(deduplicate: Any, body: Any = Any, endpoint: str = "in") -> Identify:
    """How messages from an endpoint are identified by a stage that takes such bodies."""
    topology = Topology("cases")

    async def handle(body: Any) -> None: ...

    handle.__annotations__["body"] = body
    topology.subscriber(kafka.topic("in"), deduplicate=deduplicate)(handle)
    identities = topology.graph().stage("handle").identities
    assert identities is not None
    return identities(endpoint)


# -- by id --------------------------------------------------------------------------------------------------------


def test_two_messages_are_one_by_endpoint_id_and_body() -> None:
    of = identify(True)
    assert of(Message(raw=b"a", id="1")) == of(Message(raw=b"a", id="1", source="in", offset=7, partition=1))
    assert of(Message(raw=b"a", id="1")) != of(Message(raw=b"b", id="1"))
    assert of(Message(raw=b"a", id="1")) != of(Message(raw=b"a", id="2"))
    assert of(Message(raw=None, id="1")) != of(Message(raw=b"", id="1"))
    assert of(Message(raw=b"a", id="1")) != identify(True, endpoint="other")(Message(raw=b"a", id="1"))


def test_without_an_id_a_message_is_like_no_other_and_a_position_is_no_id() -> None:
    of = identify(60)
    assert of(Message(raw=b"a")) is None
    assert of(Message(raw=b"a", id="17", offset=17)) is not None
    fields = [b"body", b"a"]
    assert of(entry_message("in", b"1700000000000-0", fields)) is None
    assert of(entry_message("in", b"1700000000000-0", [*fields, b"id", b"17"])) is not None


parts = st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=4))


@given(parts, parts)
def test_no_two_different_messages_share_an_identity(one: tuple[str, bytes | None], other: Any) -> None:
    of = identify(True)
    same = of(Message(raw=one[1], id=one[0])) == of(Message(raw=other[1], id=other[0]))
    assert same == (one == other)


# -- by what the declaration says -----------------------------------------------------------------------------------


class Payment(BaseModel):
    reference: str | None
    part: int = 0


def test_by_a_field_the_rest_of_the_body_and_the_id_say_nothing() -> None:
    of = identify(Deduplicate(by="reference"), Payment)
    assert of(Message(Payment(reference="r"), id="1")) == of(Message(Payment(reference="r", part=2), id="2"))
    assert of(Message(Payment(reference="r"))) != of(Message(Payment(reference="s")))
    assert of(Message(Payment(reference=None))) is None


VALUES = ["1", 1, True, 1.0, b"1", (1, "a"), ("1", "a"), [1, "a"], {"a": 1}, {"a": [1]}, frozenset({1})]


def test_by_a_function_it_may_be_whatever_can_be_written_down() -> None:
    of = identify(Deduplicate(by=lambda message: message.body))
    found = [of(Message(value)) for value in VALUES]
    assert len(set(found)) == len(VALUES)
    assert found == [of(Message(value)) for value in VALUES]
    assert all(each is not None and len(each) == 16 for each in found)


def test_a_body_without_the_field_cannot_be_told() -> None:
    with pytest.raises(DecodeError, match="has no field 'reference'"):
        identify(Deduplicate(by="reference"), dict)(Message({"id": 1}))


@pytest.mark.parametrize(
    ("given", "window"), [(True, 3600), (60, 60), (0.5, 0.5), (Deduplicate(window=5, most=3), 5)], ids=str
)
def test_it_is_declared_as_short_as_can_be(given: Any, window: float) -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"), deduplicate=given)(plain)
    settings = topology.graph().stage("plain").settings
    assert settings.deduplicate is not None
    assert settings.deduplicate.window == window


@pytest.mark.parametrize("given", [None, False])
def test_without_it_nothing_is_identified(given: Any) -> None:
    topology = Topology("cases")
    topology.subscriber(kafka.topic("in"), deduplicate=given)(plain)
    stage = topology.graph().stage("plain")
    assert (stage.settings.deduplicate, stage.identities) == (None, None)


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"window": 0}, "window=0): expected seconds, more than 0"),
        ({"window": -1}, "window=-1): expected seconds"),
        ({"window": float("nan")}, "window=nan): expected seconds"),
        ({"window": float("inf")}, "window=inf): expected seconds"),
        ({"window": "1h"}, "window='1h'): expected seconds"),
        ({"window": True}, "window=True): expected seconds"),
        ({"most": 0}, "most=0): expected a whole number, at least 1"),
        ({"most": 1.5}, "most=1.5): expected a whole number"),
        ({"by": ""}, "by=''): expected the name of a field, or a function of the message"),
        ({"by": "a b"}, "by='a b'): expected the name of a field"),
        ({"by": 7}, "by=7): expected the name of a field"),
        ({"store": "redis://localhost"}, "store='redis://localhost'): expected a broker that remembers, as Redis(url)"),
        ({"store": rabbit}, "expected a broker that remembers, as Redis(url)"),
    ],
    ids=str,
)
def test_a_wrong_deduplicate_is_refused_where_it_is_written(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="Deduplicate") as caught:
        Deduplicate(**options)
    assert told in str(caught.value)


@refused("plain: deduplicate=-5: expected a Deduplicate, True, or seconds, more than 0", "write deduplicate=Dedup")
def a_window_that_is_none(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"), deduplicate=-5)(plain)  # refused


@refused("deduplicate='id': expected a Deduplicate, True, or seconds", "write deduplicate=Deduplicate(window=3600)")
def a_text(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"), deduplicate="id")(plain)  # type: ignore[arg-type] # refused


@refused("plain: deduplicate= by 'custmer': Order has no field 'custmer'", "did you mean 'customer'?")
def a_field_that_the_model_lacks(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"), deduplicate=Deduplicate(by="custmer"))(plain)  # refused


@refused("handle: deduplicate= by 'id' names a field, and the handler takes no body", "annotate the body as the")
def a_field_without_a_body(topology: Topology) -> None:
    @topology.subscriber(kafka.topic("in"), deduplicate=Deduplicate(by="id"))  # refused
    async def handle(message: Message) -> None: ...


@refused("behind: deduplicate= on a stage that takes from stages alone", "put it on the stage that takes from the")
def a_stage_without_sources(topology: Topology) -> None:
    topology.subscriber(kafka.topic("in"))(plain)

    @topology.subscriber(plain, deduplicate=True)  # refused
    async def behind(order: Order) -> None: ...


@refused("plain: deduplicate=: messages from jobs have no id", "Deduplicate(by=...)")
def messages_that_are_bodies_and_nothing_else(topology: Topology) -> None:
    topology.subscriber(Redis().list("jobs", plain=True), deduplicate=True)(plain)  # refused


@refused("unknown option deduplicate= of a publisher", "known are: ")
def a_publisher(topology: Topology) -> None:
    topology.publisher(kafka.topic("out"), deduplicate=True)(plain)  # type: ignore[call-arg] # refused
    topology.subscriber(kafka.topic("in"))(plain)


@pytest.mark.parametrize(("declare", "problem", "remedy"), refused.all)
def test_is_refused(declare: Declare, problem: str, remedy: str) -> None:
    check(declare, problem, remedy)
