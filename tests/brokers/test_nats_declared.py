"""JetStream: what a message carries, and streams and consumers as they are declared."""

from typing import Any

import anyio
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from actors import Origin, PublishError
from engine.nats.broker import Nats
from tests.brokers.at_nats import client, names, publish, refusal, state, stream_at
from tests.brokers.contract import fetched, message, numbers, opened
from tests.servers.nats import Nats as Server

__all__ = ["client"]  # fixtures
pytestmark = pytest.mark.anyio


# -- what a message carries --------------------------------------------------------------------------------------


async def test_headers_that_nats_cannot_carry_arrive_all_the_same(nats_server: Server) -> None:
    stream = stream_at(nats_server.url)
    headers: dict[str, str | bytes] = {
        "two words": "x",
        "ö": "y",
        "": "empty name",
        "lines": "a\r\nNats-Rollup: all",
        "space": " around ",
        "Status": "503",
        "bytes": b"\x00\xff",
    }
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        await sink.publish([message(1, stream.name, headers=headers, key=" k\n")])
        (got,) = await source.fetch(1)
        assert (got.headers, got.key) == (headers, " k\n")


async def test_null_is_not_an_empty_body(nats_server: Server) -> None:
    stream = stream_at(nats_server.url)
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        null = message(b"", stream.name)
        null.raw = None
        await sink.publish([null, message(b"", stream.name)])
        assert [each.raw for each in await fetched(source, 2)] == [None, b""]


async def test_what_others_publish_is_read_too(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    source = stream.source("readers")
    async with opened(source):
        for coded in ("no JSON", "[1]", '{"a": {"base64": "%"}, "b": 5, "c": "\\ud800"}'):
            await client.publish(stream.name, b"x", headers={"Headrace-Coded": coded, "plain": "p"})
        for got in await fetched(source, 3):
            assert got.headers is not None
            assert got.headers["plain"] == "p"


async def test_messages_made_of_one_are_all_stored(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    sink = stream.sink()
    async with opened(sink):
        await sink.publish([message(number, stream.name, origin=Origin("same id")) for number in range(5)])
    assert (await state(client, stream.stream)).messages == 5


async def test_bad_messages_are_refused_and_the_others_are_published(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    run = [message(number, stream.name) for number in range(6)]
    run[1].headers = {"a": 5}  # type: ignore[dict-item]
    run[2].destination = stream.name + ".>"
    run[3].raw = b"x" * 2_000_000
    run[4].destination = stream.name + ".nobody"
    sink = stream.sink()
    async with opened(sink):
        with pytest.raises(PublishError) as wrong:
            await sink.publish(run)
    assert sorted(wrong.value.failures) == [1, 2, 3, 4]
    assert "max_payload" in str(wrong.value.failures[3])
    assert "no stream takes" in str(wrong.value.failures[4])
    assert (await state(client, stream.stream)).messages == 2


@pytest.mark.parametrize("name", ["error", "duplicate"])
async def test_a_stream_may_have_the_name_of_what_a_confirm_says(nats_server: Server, client: Any, name: str) -> None:
    sink = Nats(nats_server.url).stream(name, subject=names()[1]).sink()
    async with opened(sink):
        await sink.publish([message(number, sink.destination) for number in range(3)])
    assert (await state(client, name)).messages == 3
    await client.jetstream().delete_stream(name)


async def test_a_stream_that_is_full_refuses_until_it_has_room(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    await client.jetstream().add_stream(name=stream, subjects=[subject], max_msgs=3, discard="new")
    sink = Nats(nats_server.url).stream(stream, subject=subject).sink()
    async with opened(sink):
        run = [message(number, subject) for number in range(5)]
        with refusal(stream, "maximum messages exceeded", "raise the limits"):
            await sink.publish(run)
        await client.jetstream().update_stream(name=stream, subjects=[subject], max_msgs=100, discard="new")
        await sink.publish(run)
    assert (await state(client, stream)).messages == 5


# -- what is declared --------------------------------------------------------------------------------------------


async def test_subjects_of_one_stream_are_added_side_by_side(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    server = Nats(nats_server.url)
    sinks = [server.stream(stream, subject=f"{subject}.{number}").sink() for number in range(8)]
    async with anyio.create_task_group() as tasks:
        for sink in sinks:
            tasks.start_soon(sink.open)
    for sink in sinks:
        await sink.publish([message(1, sink.destination)])
        await sink.close()
    assert (await state(client, stream)).messages == 8


async def test_a_stream_of_others_is_bound_to_other_subjects(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    await client.jetstream().add_stream(name=stream, subjects=[f"{subject}.x"], max_msgs=77)
    server = Nats(nats_server.url)
    source = server.stream(stream, subject=subject).source("readers")
    with refusal(nats_server.url.removeprefix("nats://"), stream, f"{subject}.x", "declare=True"):
        await source.open()
    await source.close()
    await publish(server.stream(stream, subject=subject, declare=True), 1)
    config = (await client.jetstream().stream_info(stream)).config
    assert (sorted(config.subjects), config.max_msgs) == (sorted([f"{subject}.x", subject]), 77)


async def test_a_subject_that_another_stream_has_is_refused(nats_server: Server) -> None:
    stream, subject = names()
    server = Nats(nats_server.url)
    await publish(server.stream(stream, subject=subject), 1)
    with refusal("overlap", stream):
        await server.stream(f"{stream}-other", subject=subject).sink().open()


async def test_nothing_is_declared_where_that_is_forbidden(nats_server: Server) -> None:
    stream, subject = names()
    with refusal("stream not found", "declare=True"):
        await Nats(nats_server.url).stream(stream, subject=subject, declare=False).sink().open()


@pytest.mark.parametrize(
    ("otherwise", "told"),
    [
        ({"filter_subject": "other.>"}, "filter_subject"),
        ({"max_deliver": 3}, "max_deliver"),
        ({"ack_policy": AckPolicy.NONE}, "ack_policy"),
    ],
)
async def test_a_consumer_configured_otherwise_is_refused(
    nats_server: Server, client: Any, otherwise: dict[str, Any], told: str
) -> None:
    stream, subject = names()
    await client.jetstream().add_stream(name=stream, subjects=[subject, f"{stream}.other"])
    if "filter_subject" in otherwise:
        otherwise = {"filter_subject": f"{stream}.other"}
    config = ConsumerConfig(durable_name="mine", **({"filter_subject": subject} | otherwise))
    await client.jetstream().add_consumer(stream, config)
    with refusal("mine", told, "durable="):
        await Nats(nats_server.url).stream(stream, subject=subject, durable="mine").source("readers").open()


async def test_dead_letters_of_wildcards_are_not_found_by_them(nats_server: Server) -> None:
    stream, subject = names()
    everything = Nats(nats_server.url).stream(stream, subject=f"{subject}.>")
    source = everything.source("readers")
    async with opened(source):
        await publish(everything.dead_letter(), b"dead")
        await publish(Nats(nats_server.url).stream(stream, subject=f"{subject}.new"), 1)
        (got,) = await source.fetch(5)
        assert (got.raw, got.source) == (b"1", f"{subject}.new")


async def test_templates_fill_in_subjects(nats_server: Server) -> None:
    stream, subject = names()
    server = Nats(nats_server.url)
    sink = server.stream(stream, subject=subject + ".{tenant}").sink()
    async with opened(sink):
        await sink.publish([message(number, f"{subject}.{number % 2}") for number in range(4)])
    source = server.stream(stream, subject=f"{subject}.1").source("readers")
    async with opened(source):
        assert numbers(await fetched(source, 2)) == [1, 3]
