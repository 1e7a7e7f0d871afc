"""RabbitMQ says no: what its errors name, and what they advise. No password is ever among it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from actors import BrokerRefused, BrokerUnavailable, PublishError
from engine.rabbitmq import refusals
from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.declare import QueueSpec, declare_queue
from engine.rabbitmq.wire import Wire
from tests.brokers.contract import message, numbers, opened
from tests.brokers.test_rabbitmq import fresh
from tests.servers.ports import free_port
from tests.servers.rabbitmq import RabbitMQ as Server

pytestmark = pytest.mark.anyio


async def refused(port: Any, why: str) -> str:
    """Opening it is refused, for that reason."""
    with pytest.raises(BrokerRefused, match=why) as error:
        await port.open()
    await port.close()
    return str(error.value)


async def test_a_wrong_password_is_told_without_it(rabbitmq_server: Server) -> None:
    server = rabbitmq_server
    rabbit = RabbitMQ(f"amqp://{server.user}:wr%2Fong@{server.host}:{server.port}/")
    for port in (rabbit.queue("q").source("g"), rabbit.queue("q").sink()):
        said = await refused(port, "ACCESS_REFUSED - Login was refused.*see to the user and the password")
        assert f"RabbitMQ at {server.host}:{server.port}" in said
        assert "wr/ong" not in said
    assert "ong" not in repr(rabbit)
    right = RabbitMQ(f"amqp://{server.host}:{server.port}", user=server.user, password=server.password)
    async with opened(right.queue(fresh(), kind="classic").source("g")):
        pass


async def test_a_virtual_host_that_is_missing_is_named(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(f"{rabbitmq_server.url}no%2Fwhere")
    said = await refused(rabbit.queue("q").source("g"), "NOT_ALLOWED - vhost no/where not found; name a virtual host")
    assert f":{rabbitmq_server.port}/no/where" in said


async def test_a_user_without_rights_is_told_which(rabbitmq_server: Server) -> None:
    def ctl(*arguments: str) -> None:
        rabbitmq_server.ctl(*arguments)

    name = fresh("user")
    await anyio.to_thread.run_sync(ctl, "add_user", name, "se%cret")
    await anyio.to_thread.run_sync(ctl, "set_permissions", name, "^$", ".*", "^$")
    rabbit = RabbitMQ(f"amqp://{name}:{quote('se%cret')}@{rabbitmq_server.host}:{rabbitmq_server.port}")
    said = await refused(rabbit.queue("q").source("g"), "ACCESS_REFUSED.*declare=False")
    assert ".queue('q')" in said
    assert "cret" not in said
    queue = RabbitMQ(rabbitmq_server.url).queue(fresh(), kind="classic")
    async with opened(queue.sink()):
        pass
    await refused(rabbit.queue(queue.name, declare=False).source("g"), "ACCESS_REFUSED.*configure, write, read")
    sink = rabbit.queue(queue.name, declare=False).sink()
    async with opened(sink):
        await sink.publish([message(1, queue.name)])


async def test_a_queue_that_was_declared_otherwise_is_not_taken_for_ours(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    there = rabbit.queue(fresh(), kind="classic")
    other = rabbit.queue(there.name)
    async with opened(there.sink()):
        pass
    for port in (other.source("g"), other.sink()):
        said = await refused(port, r"PRECONDITION_FAILED - inequivalent arg 'x-queue-type'.*declare it as it is")
        assert f".queue('{there.name}')" in said
    as_it_is = rabbit.queue(there.name, declare=False)
    source = as_it_is.source("g")
    async with rabbit, opened(source):
        await as_it_is.publish(1)
        assert numbers(await source.fetch(1)) == [1]


async def test_one_destination_of_a_template_may_be_wrong_without_harm_to_the_others(rabbitmq_server: Server) -> None:
    rabbit, name = RabbitMQ(rabbitmq_server.url), fresh()
    async with opened(rabbit.queue(f"{name}.b", kind="classic", max_length=5).sink()):
        pass
    sink, source = (
        rabbit.queue(f"{name}.{{a}}", kind="classic").sink(),
        rabbit.queue(f"{name}.a", kind="classic").source("g"),
    )
    async with opened(sink, source):
        with pytest.raises(PublishError, match="inequivalent arg 'x-max-length'") as error:
            await sink.publish([message(number, f"{name}.{'ab'[number % 2]}") for number in range(4)])
        assert sorted(error.value.failures) == [1, 3]
        assert numbers([*await source.fetch(1), *await source.fetch(1)]) == [0, 2]


async def test_what_is_missing_is_named_where_it_is_not_to_be_declared(rabbitmq_server: Server) -> None:
    rabbit, name = RabbitMQ(rabbitmq_server.url), fresh()
    await refused(
        rabbit.queue(name, declare=False).source("g"), f"NOT_FOUND - no queue '{name}'.*leave declare=False out"
    )
    sink = rabbit.exchange(name, declare=False, routing_key="k").sink()
    await refused(sink, f"NOT_FOUND - no exchange '{name}'")
    await refused(rabbit.exchange(name, declare=False).source("g"), f"NOT_FOUND - no exchange '{name}'")
    await refused(rabbit.queue(name, declare=False).sink(), f"NOT_FOUND - no queue '{name}'")


async def test_an_exchange_that_vanishes_under_its_publisher_is_declared_again(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    exchange = rabbit.exchange(fresh(), routing_key="k", mandatory=False)
    sink = exchange.sink()
    async with opened(sink):
        wire = await rabbit.writing().wire()
        async with wire.channel() as channel:
            await channel.exchange_delete(exchange.spec.name)
        with pytest.raises(BrokerRefused, match="NOT_FOUND - no exchange"):
            await sink.publish([message(1, exchange.name)])
        await sink.publish([message(1, exchange.name)])


async def test_an_exchange_of_another_type_is_not_taken_for_ours(rabbitmq_server: Server) -> None:
    rabbit, name = RabbitMQ(rabbitmq_server.url), fresh()
    async with opened(rabbit.exchange(name).sink()):
        pass
    await refused(rabbit.exchange(name, type="fanout").sink(), "inequivalent arg 'type'.*declare it as it is")
    async with opened(rabbit.exchange("amq.topic").sink(), rabbit.exchange(name, declare=False).sink()):
        pass


async def test_a_queue_from_before_an_upgrade_is_read_as_it_is(
    rabbitmq_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server of version 4 would have it: our default is not what the queue was declared with."""
    rabbit, name = RabbitMQ(rabbitmq_server.url), fresh()
    wire = await rabbit.reading().wire()
    await declare_queue(wire, rabbit.queue(name), name, QueueSpec())
    monkeypatch.setattr(Wire, "version", (4, 1))
    await declare_queue(wire, rabbit.queue(name), name, QueueSpec())
    assert "what this queue delivers in vain too often, the server drops" in caplog.text
    with pytest.raises(BrokerRefused, match="inequivalent arg 'x-delivery-limit'"):
        await declare_queue(wire, rabbit.queue(name), name, QueueSpec(delivery_limit=9))
    await wire.close()


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        ("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q'", BrokerRefused, "choose another name"),
        ("NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor", BrokerRefused, "declare it first"),
        ("NOT_FOUND - home node 'r@h' of durable queue 'q' is down or inaccessible", BrokerUnavailable, ""),
        ("PRECONDITION_FAILED - unknown delivery tag 7", BrokerUnavailable, ""),
        ("PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'q'", BrokerRefused, "see what the server says"),
        ("PRECONDITION_FAILED - invalid message: {bad,longstr}", refusals.OneRefused, "see to its headers"),
        ("INTERNAL_ERROR", BrokerUnavailable, ""),
        ("", BrokerUnavailable, ""),
    ],
)
def test_what_a_server_says_decides_whether_waiting_helps(said: str, kind: type[Exception], remedy: str) -> None:
    error = refusals.closed("q", said)
    assert type(error) is kind
    assert said in str(error)
    assert remedy in str(error)


# -- TLS, and what is no RabbitMQ ------------------------------------------------------------------------------


async def test_tls_trusts_the_authority_that_it_is_told(rabbitmq_server: Server) -> None:
    server, certificates = rabbitmq_server, rabbitmq_server.certificates
    manners: list[dict[str, Any]] = [
        {"cafile": certificates.authority},
        {"cafile": certificates.authority, "certfile": certificates.client, "keyfile": certificates.client_key},
        {"ssl": certificates.context()},
    ]
    for options in manners:
        queue = RabbitMQ(server.tls_url, **options).queue(fresh(), kind="classic")
        source = queue.source("g")
        async with queue.broker, opened(source):
            await queue.publish(1)
            await queue.publish(b"x" * 1_000_000)
            (got,) = await source.fetch(1)
            assert got.raw == b"1"
            (large,) = await source.fetch(1)
            assert len(large.raw or b"") == 1_000_000


async def test_a_certificate_that_nobody_vouches_for_is_refused(rabbitmq_server: Server) -> None:
    source = RabbitMQ(rabbitmq_server.tls_url).queue("q").source("g")
    await refused(source, r"unable to get local issuer certificate|self.signed certificate.*cafile=")
    none = RabbitMQ(rabbitmq_server.tls_url, cafile="/nowhere/ca.pem").queue("q").source("g")
    await refused(none, "its certificates cannot be read: .*No such file")


async def test_tls_spoken_to_a_port_without_it_and_the_reverse_are_told(rabbitmq_server: Server) -> None:
    server = rabbitmq_server
    plain = RabbitMQ(f"amqps://{server.host}:{server.port}", ssl=server.certificates.context())
    await refused(plain.queue("q").source("g"), "amqps:// needs the port that speaks TLS")
    tls = RabbitMQ(f"amqp://{server.host}:{server.tls_port}")
    await refused(tls.queue("q").source("g"), "does not speak AMQP.*write amqps://")


@asynccontextmanager
async def answering(words: bytes) -> AsyncIterator[str]:
    """A server that says so to whoever comes; the URL of a RabbitMQ that it is not."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(words)
        writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield f"amqp://u:secret@127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        (b"AMQP\x00\x01\x00\x00", BrokerRefused, "speaks another version of AMQP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BrokerRefused, "does not speak AMQP"),
        (b"-ERR\r\n", BrokerRefused, "does not speak AMQP"),
        (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x1f\xce", BrokerUnavailable, "InvalidFrame|connection was lost"),
        (b"", BrokerUnavailable, "the connection was lost"),
    ],
    ids=["another AMQP", "HTTP", "Redis", "the wrong method", "nothing"],
)
async def test_what_is_no_rabbitmq_is_told(words: bytes, kind: type[Exception], why: str) -> None:
    async with answering(words) as url:
        with anyio.fail_after(10), pytest.raises(kind, match=why) as error:
            await RabbitMQ(url).queue("q").source("g").open()
        assert "secret" not in str(error.value)


async def test_what_the_client_does_not_take_is_told(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url, client={"no_such_option": 1})
    await refused(rabbit.queue("q").source("g"), r"client=\{\.\.\.\}: .*no_such_option")
    known = RabbitMQ(rabbitmq_server.url, name="shop", client={"client_properties": {"team": "blue"}, "family": 0})
    async with opened(known.queue(fresh(), kind="classic").source("g")):
        listed = await anyio.to_thread.run_sync(rabbitmq_server.ctl, "list_connections", "client_properties")
    assert "shop: consuming" in listed
    assert "blue" in listed


def test_only_certificates_are_an_error_of_trust() -> None:
    assert isinstance(refusals.not_reached("h", ConnectionRefusedError(111, "refused")), BrokerUnavailable)
    assert isinstance(refusals.not_reached("h", OSError()), BrokerUnavailable)
    assert isinstance(refusals.not_reached("h", ssl.SSLError(1, "WRONG_VERSION_NUMBER")), BrokerRefused)
