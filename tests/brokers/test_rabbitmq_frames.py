"""What goes over the wire to RabbitMQ, beside what pamqp makes of it; deliveries and confirms beside simple models."""

from struct import error as unreadable
from typing import Any

import pamqp.frame
import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from actors import BrokerError
from engine.rabbitmq import frames
from engine.rabbitmq.acks import Unsettled
from engine.rabbitmq.confirms import Confirms, Run

texts = st.text(st.characters(codec="utf-8"), max_size=60)
keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
fields = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | texts | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def unmarshal(data: bytes) -> Any:
    consumed, channel, frame = pamqp.frame.unmarshal(data)
    assert (consumed, channel) == (len(data), 3)
    return frame


@given(st.integers(1, 2**63 - 1), st.booleans())
def test_acknowledgements_are_what_pamqp_reads(tag: int, multiple: bool) -> None:
    ack = unmarshal(frames.acknowledgement(3, tag, multiple))
    assert isinstance(ack, spec.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (tag, multiple)


@given(texts, texts, st.booleans())
def test_publications_are_what_pamqp_reads(exchange: str, routing_key: str, mandatory: bool) -> None:
    publish = unmarshal(frames.publication(3, exchange, routing_key, mandatory))
    assert isinstance(publish, spec.Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == (exchange, routing_key, mandatory)


@given(
    st.dictionaries(texts, texts, max_size=4),
    st.none() | keys,
    st.none() | keys,
    st.booleans(),
    st.none() | st.integers(0, 255),
    st.none() | texts,
    st.none() | texts,
    st.none() | st.integers(0, 2**32),
    st.none() | texts,
    st.none() | st.integers(0, 2**32 - 1),
)
def test_properties_are_what_pamqp_reads_and_come_back(
    headers: dict[str, str],
    content_type: str | None,
    encoding: str | None,
    persistent: bool,
    priority: int | None,
    correlation_id: str | None,
    reply_to: str | None,
    milliseconds: int | None,
    id: str | None,
    timestamp: int | None,
) -> None:
    data = frames.content_header(
        3,
        77,
        frames.table(headers),
        content_type,
        encoding,
        persistent,
        priority,
        correlation_id,
        reply_to,
        milliseconds,
        id,
        timestamp,
    )
    header = unmarshal(data)
    assert isinstance(header, ContentHeader)
    theirs = header.properties
    assert header.body_size == 77
    assert theirs.content_type == content_type
    assert theirs.content_encoding == encoding
    assert (theirs.headers or {}) == headers
    assert theirs.delivery_mode == 2 if persistent else 1
    assert (theirs.priority, theirs.correlation_id, theirs.reply_to) == (priority, correlation_id, reply_to)
    assert theirs.expiration == (None if milliseconds is None else str(milliseconds))
    assert theirs.message_id == id
    ours = frames.read_properties(data[7:-1])
    assert (ours.content_type, ours.content_encoding, ours.headers or {}) == (content_type, encoding, headers)
    assert (ours.priority, ours.correlation_id, ours.reply_to) == (priority, correlation_id, reply_to)
    assert (ours.id, ours.timestamp) == (id, timestamp)


@given(st.dictionaries(keys, fields, max_size=5))
def test_any_table_of_pamqps_is_read(table: dict[str, Any]) -> None:
    properties = spec.Basic.Properties(headers=table, message_id="m")
    ours = frames.read_properties(ContentHeader(properties=properties).marshal())
    assert (ours.headers or {}) == table
    assert ours.id == "m"
    for value in (ours.headers or {}).values():
        assert isinstance(frames.text(value), str)


@given(st.binary(max_size=5000), st.integers(1, 1000))
def test_a_body_is_cut_into_frames(body: bytes, most: int) -> None:
    parts = [unmarshal(part) for part in frames.bodies(3, body, most)]
    assert all(isinstance(part, ContentBody) and 1 <= len(part.value) <= most for part in parts)
    assert b"".join(part.value for part in parts) == body


@given(st.binary(max_size=200))
def test_rubbish_is_an_error_that_is_expected(rubbish: bytes) -> None:
    try:
        frames.read_properties(b"\x00" * 12 + rubbish)
    except (ValueError, IndexError, RecursionError, unreadable):
        pass


@pytest.mark.parametrize("value", ["x" * 256, "\udc80"])
def test_what_does_not_fit_into_a_short_string_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"255|surrogates"):
        frames.short(value)


def test_the_answer_to_a_closing_connection_is_what_pamqp_makes() -> None:
    assert pamqp.frame.marshal(spec.Connection.CloseOk(), 0) == frames.CONNECTION_CLOSED
    assert pamqp.frame.unmarshal(frames.STILL_ALIVE)[2].name == "Heartbeat"


# -- settling deliveries ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5) | st.lists(st.integers(1, 40), max_size=12), max_size=30))
def test_acknowledgements_settle_exactly_what_was_asked_in_few_frames(steps: list[int | list[int]]) -> None:
    unsettled, server, delivered = Unsettled(), set[int](), 0
    for step in steps:
        if isinstance(step, int):
            for _ in range(step):
                delivered += 1
                unsettled.add(delivered)
                server.add(delivered)
            continue
        wanted = server - set(step)
        asked = len(server & set(step))
        acks = unsettled.settle(step)
        for tag, multiple in acks:
            assert tag in server  # or the server would close the channel
            server -= {each for each in server if each <= tag} if multiple else {tag}
        assert server == wanted
        assert len(acks) <= asked
        assert len(unsettled) == len(server)
        assert all((tag in unsettled) == (tag in server) for tag in range(delivered + 1))


def test_a_run_without_a_gap_is_one_frame() -> None:
    unsettled = Unsettled()
    for tag in range(1, 301):
        unsettled.add(tag)
    assert unsettled.settle([3, 1, 2]) == [(3, True)]
    assert unsettled.settle(range(10, 13)) == [(10, False), (11, False), (12, False)]
    assert unsettled.settle([*range(4, 10), 20]) == [(9, True), (20, False)]
    assert unsettled.settle(range(300)) == [(299, True)]
    assert unsettled.settle([300, 300, 1]) == [(300, False)]
    assert unsettled.settle([300]) == []


# -- confirming publications -----------------------------------------------------------------------------------


def sent(confirms: Confirms, run: Run, count: int) -> None:
    for at in range(count):
        confirms.add((run, at, f"id-{at}", ("", "q"), b"x"))


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=30))
def test_confirms_find_what_they_confirm(count: int, said: list[tuple[int, bool, bool]]) -> None:
    confirms, run = Confirms(), Run({})
    sent(confirms, run, count)
    waiting, refused = set(range(1, count + 1)), set[int]()
    for tag, multiple, accepted in said:
        last = confirms.confirm(tag, multiple, accepted)
        named = {each for each in waiting if each <= tag or tag == 0} if multiple else waiting & {tag}
        waiting -= named
        assert last == (bool(named) and not waiting)
        refused |= set() if accepted else named
        assert len(confirms) == run.left == len(waiting)
        assert sorted(run.refused) == sorted(tag - 1 for tag in refused)
    assert run.failures == {}


def test_a_returned_message_is_told_by_its_id_place_and_body() -> None:
    confirms, run, error = Confirms(), Run({}), BrokerError("nowhere")
    sent(confirms, run, 5)
    confirms.give_back("id-3", ("", "other"), b"x", error)
    confirms.give_back("id-3", ("", "q"), b"y", error)
    assert run.failures == {}
    confirms.give_back("id-3", ("", "q"), b"x", error)
    assert (run.failures, run.left) == ({3: error}, 5)
    confirms.confirm(5, multiple=True, accepted=True)
    assert (run.failures, run.left) == ({3: error}, 0)


def test_a_run_tells_once_when_its_last_is_confirmed_or_no_more_will_be() -> None:
    confirms, runs, calls = Confirms(), [Run({}), Run({}), Run({})], list[int]()
    for at, run in enumerate(runs[:2]):
        sent(confirms, run, 2)
        run.then(lambda at=at: calls.append(at))  # type: ignore[misc]
    confirms.confirm(1, multiple=False, accepted=True)
    assert calls == []
    confirms.confirm(2, multiple=False, accepted=False)
    assert calls == [0]
    confirms.end()
    confirms.end()
    assert calls == [0, 1]
    runs[2].then(lambda: calls.append(2))  # nothing of it is on its way
    assert calls == [0, 1, 2]
