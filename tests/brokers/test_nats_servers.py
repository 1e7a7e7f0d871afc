"""NATS: faults on the way, what others have declared, logins and TLS, all on real servers."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import anyio
import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from actors import BrokerRefused, BrokerUnavailable, Message, Origin, PublishError, TopologyError
from engine.brokers import broker
from engine.brokers.nats import Nats, NatsStream
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.surviving import insist, survives
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy
from tests.servers.site import Site

pytestmark = pytest.mark.anyio

QUICK = 0.6
"""Seconds of `ack_wait` in tests that wait for it."""


@pytest.fixture
async def client(nats_server: Server) -> AsyncIterator[Any]:
    client = await nats.connect(nats_server.url)
    try:
        yield client
    finally:
        await client.close()


def names() -> tuple[str, str]:
    """A stream and a subject that no other test uses."""
    unique = uuid4().hex
    return f"S-{unique}", f"s.{unique}"


def stream_at(url: str, **options: Any) -> NatsStream:
    stream, subject = names()
    return Nats(url, **options).stream(stream, subject=subject)


async def publish(stream: Any, *bodies: Any) -> None:
    sink = stream.sink()
    async with opened(sink):
        await sink.publish([message(body, sink.destination) for body in bodies])


async def state(client: Any, stream: str) -> Any:
    return (await client.jetstream().stream_info(stream)).state


async def consumer(client: Any, stream: str) -> Any:
    (found,) = await client.jetstream().consumers_info(stream)
    return found


@contextmanager
def refusal(*told: str) -> Iterator[None]:
    """A `BrokerRefused` that says all that."""
    with pytest.raises(BrokerRefused) as wrong:
        yield
    for text in told:
        assert text.lower() in str(wrong.value).lower()
    assert "s3cret" not in str(wrong.value)


# -- faults on the way -------------------------------------------------------------------------------------------


async def test_ten_thousand_survive_two_kills_of_the_server(nats_server: Server) -> None:
    stream = stream_at(nats_server.url, ack_wait=2)
    await survives(stream, lambda: nats_server.async_restart(kill=True))


async def test_confirms_that_are_lost_make_no_second_message(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        sink = Nats(proxy.url).stream(stream, subject=subject).sink()
        async with opened(sink), anyio.create_task_group() as tasks:
            proxy.stall("answers")

            async def break_it() -> None:
                while (await state(client, stream)).messages < 100:  # noqa: ASYNC110 - a server tells nobody
                    await anyio.sleep(0.01)
                proxy.reset()
                proxy.mend()

            tasks.start_soon(break_it)
            await sink.publish([message(number, subject) for number in range(100)])
            assert proxy.resets > 0
        assert (await state(client, stream)).messages == 100
    source = Nats(nats_server.url).stream(stream, subject=subject).source("readers")
    async with opened(source):
        assert numbers(await fetched(source, 100)) == list(range(100))


async def test_a_run_that_failed_may_be_published_again_without_a_second_message(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        sink = Nats(proxy.url, timeout=0.2, publish_timeout=0.3).stream(stream, subject=subject).sink()
        async with opened(sink):
            run = [message(number, subject) for number in range(10)]
            proxy.stall("answers")
            with pytest.raises(BrokerUnavailable):
                await sink.publish(run)
            proxy.reset()
            proxy.mend()
            await insist(lambda: sink.publish(run))
            assert (await state(client, stream)).messages == 10
            await sink.publish(run[:1])
            assert (await state(client, stream)).messages == 11


async def test_a_source_goes_on_after_the_connection_broke_and_settles_what_it_held(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    direct = Nats(nats_server.url).stream(stream, subject=subject)
    async with Proxy(nats_server) as proxy:
        source = Nats(proxy.url).stream(stream, subject=subject).source("readers")
        async with opened(source):
            await publish(direct, 1, 2)
            held = await fetched(source, 2)
            proxy.reset()
            with pytest.raises(BrokerUnavailable):
                await source.fetch(5)
            await insist(lambda: source.settle(held, []))
            await publish(direct, 3)
            got: list[Message] = []

            async def fetch() -> None:
                got.extend(await source.fetch(5))

            await insist(fetch)
            assert [(each.raw, each.attempt) for each in got] == [(b"3", 1)]
            await source.settle(got, [])
        assert (await consumer(client, stream)).num_ack_pending == 0


async def test_a_server_that_hangs_is_given_up_and_asked_anew(nats_server: Server) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        endpoint = Nats(proxy.url, timeout=0.3, connect_timeout=0.5, ack_wait=1).stream(stream, subject=subject)
        source = endpoint.source("readers")
        async with opened(source):
            proxy.stall()
            with pytest.raises(BrokerUnavailable, match="nothing was heard"):
                await source.fetch(5)
            proxy.mend()
            await publish(Nats(nats_server.url).stream(stream, subject=subject), 1)
            got: list[Message] = []

            async def fetch() -> None:
                got.extend(await source.fetch(5))

            await insist(fetch)
            assert numbers(got) == [1]


async def test_a_quiet_stream_is_no_trouble(nats_server: Server) -> None:
    stream = stream_at(nats_server.url, timeout=0.2)
    source = stream.source("readers")
    async with opened(source):
        with anyio.move_on_after(1):
            pytest.fail(f"{await source.fetch(5)}")
        await publish(stream, 1)
        assert numbers(await source.fetch(5)) == [1]


@pytest.mark.parametrize("what", ["stream", "consumer"])
async def test_what_somebody_deletes_is_declared_again(nats_server: Server, client: Any, what: str) -> None:
    stream = stream_at(nats_server.url)
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        await sink.publish([message(1, stream.name)])
        await source.settle(await source.fetch(1), [])
        got: list[Message] = []

        async def wait() -> None:
            while not got or got[-1].raw != b"2":
                got.extend(await source.fetch(5))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            if what == "stream":
                await client.jetstream().delete_stream(stream.stream)
            else:
                await client.jetstream().delete_consumer(stream.stream, (await consumer(client, stream.stream)).name)
            await sink.publish([message(2, stream.name)])


# -- what is held ------------------------------------------------------------------------------------------------


async def test_what_is_held_is_renewed_and_nobody_else_gets_it(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url, ack_wait=QUICK)
    one, other = stream.source("readers"), stream.source("readers")
    async with opened(one, other):
        await publish(stream, 1, 2)
        run = await fetched(one, 2)
        with anyio.move_on_after(QUICK * 3):
            pytest.fail(f"{await other.fetch(2)} were delivered again")
        await one.settle(run, [])
    assert (await consumer(client, stream.stream)).num_ack_pending == 0


async def test_what_a_dead_source_had_comes_to_another(nats_server: Server) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        dead = Nats(proxy.url, ack_wait=QUICK, connect_timeout=0.2).stream(stream, subject=subject).source("readers")
        other = Nats(nats_server.url).stream(stream, subject=subject).source("readers")
        async with opened(dead, other):
            await publish(Nats(nats_server.url).stream(stream, subject=subject), 1)
            await dead.fetch(1)
            proxy.cut()
            (got,) = await other.fetch(1)
            assert (got.raw, got.attempt) == (b"1", 2)
            await other.settle([got], [])


async def test_a_fetch_asks_for_no_more_than_it_has_room_for(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, *range(50))
        await fetched(source, 7)
        found = await consumer(client, stream.stream)
        assert (found.num_ack_pending, found.num_pending) == (7, 43)


async def test_the_consumer_has_room_for_all_that_the_engine_holds(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    for bound in (10, 5000):
        async with opened(stream.source("readers", bound)):
            config = (await consumer(client, stream.stream)).config
            assert config.max_ack_pending >= bound
            assert config.max_deliver == -1


async def test_position_and_time_are_told(nats_server: Server) -> None:
    stream = stream_at(nats_server.url)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1, 2)
        one, two = await fetched(source, 2)
        assert (one.offset, two.offset) == (1, 2)
        assert two.timestamp is not None
        assert two.record.data == b"2"
        assert one.partition is None
        assert one.id != two.id


async def test_groups_and_subjects_have_consumers_of_their_own(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    one = Nats(nats_server.url).stream(stream, subject=f"{subject}.a")
    two = Nats(nats_server.url).stream(stream, subject=f"{subject}.b")
    sources = [one.source("a.b"), one.source("a_b"), two.source("a.b")]
    async with opened(*sources):
        assert len(await client.jetstream().consumers_info(stream)) == 3
        await publish(one, 1)
        await publish(two, 2)
        assert [numbers(await source.fetch(5)) for source in sources] == [[1], [1], [2]]


async def test_a_new_consumer_may_begin_at_the_latest(nats_server: Server) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject, start="latest")
    await publish(endpoint, 1)
    source = endpoint.source("readers")
    async with opened(source):
        await publish(endpoint, 2)
        assert numbers(await source.fetch(5)) == [2]


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


# -- core subjects -----------------------------------------------------------------------------------------------


async def test_a_plain_client_gets_its_answer(nats_server: Server, client: Any) -> None:
    endpoint = Nats(nats_server.url).subject(f"price.{uuid4().hex}")
    source, sink = endpoint.source("readers"), endpoint.reply_to("").sink()
    async with opened(source, sink), anyio.create_task_group() as tasks:

        async def answer() -> None:
            (asked,) = await source.fetch(1)
            await sink.publish([message(b"42", asked.reply_to or "")])

        tasks.start_soon(answer)
        reply = await client.request(endpoint.name, b"how much?", timeout=5)
        assert reply.data == b"42"


async def test_a_plain_client_is_asked(nats_server: Server, client: Any) -> None:
    endpoint = Nats(nats_server.url).subject(f"price.{uuid4().hex}")

    async def answer(asked: Any) -> None:
        await asked.respond(json.dumps(json.loads(asked.data) * 2).encode())

    await client.subscribe(endpoint.name, cb=answer)
    await client.flush()
    async with endpoint.broker:
        replies = {number: (await endpoint.request(number, timeout=5)).body for number in range(3)}
    assert replies == {0: 0, 1: 2, 2: 4}


async def test_a_queue_shares_and_without_one_everybody_gets_everything(nats_server: Server) -> None:
    name = f"c.{uuid4().hex}"
    server = Nats(nats_server.url)
    alone = [server.subject(name, queue="").source("readers") for _ in range(2)]
    shared = [server.subject(name).source("readers") for _ in range(2)]
    async with opened(*alone, *shared):
        await publish(server.subject(name), *range(50))
        for source in alone:
            assert numbers(await fetched(source, 50)) == list(range(50))
        got = [numbers(await source.drain()) for source in shared]
        assert sorted(got[0] + got[1]) == list(range(50))


async def test_what_comes_on_top_of_a_full_buffer_is_counted(nats_server: Server) -> None:
    endpoint = Nats(nats_server.url, buffer=10).subject(f"c.{uuid4().hex}")
    source = endpoint.source("readers")
    async with opened(source):
        await publish(endpoint, *range(25))
        assert numbers(await source.drain()) == list(range(10))
        assert source.dropped == 15


async def test_a_subject_is_listened_to_again_without_being_fetched_from(nats_server: Server) -> None:
    name = f"c.{uuid4().hex}"
    async with Proxy(nats_server) as proxy:
        source = Nats(proxy.url).subject(name).source("readers")
        async with opened(source):
            proxy.reset()
            with pytest.raises(BrokerUnavailable):
                await source.fetch(5)
            accepted = proxy.accepted
            with anyio.fail_after(10):
                while proxy.accepted < accepted or proxy.connections < 1:  # noqa: ASYNC110 - nor does the proxy
                    await anyio.sleep(0.01)
            got: list[Message] = []
            async with anyio.create_task_group() as tasks:

                async def read() -> None:
                    got.extend(await source.fetch(5))
                    tasks.cancel_scope.cancel()

                tasks.start_soon(read)
                while True:
                    await publish(Nats(nats_server.url).subject(name), 1)
            assert numbers(got)[0] == 1


# -- who may ------------------------------------------------------------------------------------------------------


async def opens(endpoint: Any) -> None:
    """Publish one message and get it."""
    source = endpoint.source("readers")
    async with opened(source):
        await publish(endpoint, 1)
        assert numbers(await source.fetch(1)) == [1]


async def test_a_password_is_asked_for(servers: Site) -> None:
    locked = servers.get(Server, required=True)
    where = f"{locked.host}:{locked.port}"
    await opens(stream_at(locked.url))
    await opens(stream_at(where, user=locked.user, password=locked.password))
    for url in (locked.open_url, f"nats://{locked.user}:s3cret@{where}", f"nats://s3cret@{where}"):
        assert "s3cret" not in repr(Nats(url))
        for endpoint in (stream_at(url), Nats(url).subject("a")):
            with refusal(where, "Authorization Violation", "correct user"):
                await endpoint.sink().open()


async def test_credentials_of_an_operator(servers: Site) -> None:
    signed = servers.get(Server, operator=True)
    await opens(stream_at(signed.url, credentials=signed.credentials))
    with refusal("Authorization"):
        await stream_at(signed.url).sink().open()
    with refusal("nowhere.creds", "correct the paths"):
        await stream_at(signed.url, credentials="nowhere.creds").sink().open()


async def test_tls(servers: Site) -> None:
    safe = servers.get(Server, tls=True)
    await opens(stream_at(safe.tls_url, cafile=safe.certificates.authority))
    await opens(stream_at(safe.tls_url, ssl=safe.certificates.context()))
    with refusal("no TLS with it", "cafile="):
        await stream_at(safe.tls_url).sink().open()
    with refusal("cafile=", "no such file", "correct the paths"):
        await stream_at(safe.tls_url, cafile="nowhere.pem").sink().open()


async def test_no_password_goes_to_a_server_without_tls(nats_server: Server) -> None:
    heard = bytearray()

    async def serve(stream: Any) -> None:
        async with stream:
            await stream.send(b'INFO {"server_id":"x","version":"2.10.0","auth_required":true,"headers":true}\r\n')
            try:
                async for part in stream:
                    heard.extend(part)
                    await stream.send(b"PONG\r\n")
            except anyio.BrokenResourceError:
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        for login in ("user:s3cret@", "s3cret@", ""):
            with refusal("speaks no TLS"):
                await Nats(f"tls://{login}127.0.0.1:{port}").subject("a").sink().open()
        tasks.cancel_scope.cancel()
    assert b"s3cret" not in heard
    with refusal("speaks no TLS"):
        await Nats(f"tls://{nats_server.host}:{nats_server.port}").subject("a").sink().open()


async def test_a_right_that_is_missing(servers: Site) -> None:
    user = {"user": "few", "password": "s3cret", "permissions": {"publish": ["a.>"], "subscribe": ["a.>", "_INBOX.>"]}}
    limited = servers.get(Server, settings={"authorization": {"users": [user]}, "no_auth_user": "few"})
    server = Nats(f"nats://few:s3cret@{limited.host}:{limited.port}", timeout=1)
    sink = server.subject("b").sink()
    async with opened(sink):
        with refusal("Permissions Violation", '"b"', "give this user the right"):
            await sink.publish([message(1, "b")])
        await sink.publish([message(1, "a.b")])
    with refusal("Permissions Violation"):
        await server.subject("b").source("readers").open()
    with refusal("Permissions Violation"):
        await server.stream("S", subject="a.b").sink().open()


async def test_a_server_without_jetstream(servers: Site) -> None:
    plain = servers.get(Server, settings={"accounts": {"A": {"users": [{"user": "a", "password": "a"}]}},
                                          "no_auth_user": "a", "authorization": {}})  # fmt: skip
    with refusal("JetStream", "-js"):
        await stream_at(f"nats://a:a@{plain.host}:{plain.port}").sink().open()


async def test_nobody_there() -> None:
    for endpoint in (stream_at("nats://127.0.0.1:1"), Nats("nats://127.0.0.1:1,127.0.0.1:2").subject("a")):
        for port in (endpoint.source("readers"), endpoint.sink()):
            with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
                await port.open()
            await port.close()


async def test_one_of_several_servers_is_enough(nats_server: Server) -> None:
    await opens(stream_at(f"nats://127.0.0.1:1,{nats_server.url}"))


# -- what is written down ----------------------------------------------------------------------------------------


def test_a_url_is_read() -> None:
    server = broker("nats://user:p%40ss@host,other:4223?ack_wait=7&replicas=3")
    assert isinstance(server, Nats)
    options = server.target.options
    assert server.target.servers == ["nats://host:4222", "nats://other:4223"]
    assert options.password is not None
    assert (options.user, options.password.get_secret_value()) == ("user", "p@ss")
    assert (options.ack_wait, options.replicas) == (7, 3)
    assert repr(server) == "Nats('host:4222,other:4223')"


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("nats://user:s3cret@host:port", {}, "cannot be read"),
        ("ftp://user:s3cret@host", {}, "cannot be read"),
        ("nats://host", {"ack_wiat": 1}, "did you mean ack_wait="),
        ("nats://host", {"ack_wait": "s3cret"}, "ack_wait"),
        ("nats://host", {"client": {"error_cb": None}}, "is set by Headrace"),
        ([], {}, "without a server"),
    ],
)
def test_what_cannot_be_read_is_told_without_a_password(url: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(TopologyError) as wrong:
        Nats(url, **options)
    assert told in str(wrong.value)
    assert "s3cret" not in str(wrong.value)


@pytest.mark.parametrize("subject", ["", "a..b", "a b", "a.>.b", "a*", ".a"])
def test_subjects_are_checked(subject: str) -> None:
    with pytest.raises(TopologyError, match="subject"):
        Nats().subject(subject)


def test_endpoints_show_what_was_declared() -> None:
    stream = Nats("nats://u:s3cret@host").stream("ORDERS", subject="orders.new", durable="d")
    assert stream.options == {"stream": "ORDERS", "durable": "d"} or "ORDERS" in repr(stream)
    assert "s3cret" not in repr(stream)
    with pytest.raises(TopologyError, match="without"):
        Nats().stream("a.b")
    with pytest.raises(TopologyError, match="earliest"):
        Nats().stream("a", start="first")  # type: ignore[arg-type]
