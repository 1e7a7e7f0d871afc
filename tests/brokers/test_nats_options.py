"""NATS: URLs and options, logins, TLS and rights."""

from typing import Any

import anyio
import pytest

from actors import BrokerUnavailable, TopologyError
from engine import broker
from engine.nats.broker import Nats
from tests.brokers.at_nats import opens, refusal, stream_at
from tests.brokers.contract import message, opened
from tests.servers.nats import Nats as Server
from tests.servers.site import Site

pytestmark = pytest.mark.anyio

# -- who may ------------------------------------------------------------------------------------------------------


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
