"""The app on a socket: addresses, slow clients and those that never read, bodies without end, and the end of it all."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from httpx import AsyncClient

from engine.http.app import http_app
from engine.http.limits import Bounded
from engine.http.server import Address, AddressError, Connections, address_of, listen, serving, urls
from headrace import Engine, Memory, Message, Topology
from tests.engine.http.served import TOKEN, milling, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(app: Any, **limits: Any) -> AsyncIterator[tuple[Connections, str, int]]:
    """The app on a socket: its connections, and where it is."""
    sockets, connections = listen(Address("127.0.0.1", 0)), Connections(app, **limits)
    async with serving(connections, sockets):
        yield connections, *sockets[0].getsockname()


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("[::1]:80", "::1", 80, True),
        ("localhost:0", "localhost", 0, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("stream.example:1", "stream.example", 1, False),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int, loopback: bool) -> None:
    address = address_of(text)
    assert (address, address.loopback, str(address)) == (Address(host, port), loopback, text)


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "host", "host:", "host:http", "::1:80", "a:65536", "a:-1", "a:²"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(AddressError, match=r"write 127\.0\.0\.1:8080"):
        address_of(text)


def test_an_address_that_somebody_listens_on_is_refused_and_the_answer_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AddressError, match="another port with --http"):
        listen(Address("127.0.0.1", taken.getsockname()[1]))
    with pytest.raises(AddressError, match="no such address"):
        listen(Address("192.0.2.1", 0))
    with pytest.raises(AddressError, match="is not known here"):
        listen(Address("nowhere.invalid", 0))


def test_the_urls_are_those_that_a_browser_takes() -> None:
    sockets = listen(Address("localhost", 0))
    try:
        assert {url.rpartition(":")[0] for url in urls(sockets)} <= {"http://127.0.0.1", "http://[::1]"}
        assert len({each.getsockname()[1] for each in sockets}) == 1
    finally:
        for each in sockets:
            each.close()


async def test_it_answers_over_a_socket_and_lets_go_of_the_port_at_the_end() -> None:
    async with milling() as (_, engine, _):
        async with served(http_app(engine, token=TOKEN)) as (_, host, port), AsyncClient() as client:
            assert (await client.get(f"http://{host}:{port}/livez")).json()["ok"] is True
        with pytest.raises(OSError, match="All connection attempts failed"):
            await anyio.connect_tcp(host, port)


# -- clients that are slow, never read, never end, or go ---------------------------------------------------------


REQUEST = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers without end, as fast as it may."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 16384, "more_body": True})


def narrow(host: str, port: int) -> socket.socket:
    """A client that leaves all that comes with its system, which takes little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, port))
    return client


async def test_a_client_that_never_reads_is_cut_off_and_holds_a_bounded_buffer() -> None:
    sent = 0

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 16384, "more_body": True})
            sent += 16384

    async with served(counting, stall=0.3) as (there, host, port):
        with narrow(host, port) as client:
            client.sendall(REQUEST % b"/")
            await until(lambda: len(there) == 1)
            await until(lambda: len(there) == 0)
        assert 0 < sent < 1_000_000


async def test_a_client_that_reads_slowly_gets_all_of_it() -> None:
    async def long(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with served(long) as (_, host, port), await anyio.connect_tcp(host, port) as client:
        await client.send(REQUEST % b"/")
        received = 0
        while received < 1_000_000:
            received += len(await client.receive(10_000))
            await anyio.lowlevel.checkpoint()


async def test_the_end_does_not_wait_for_those_who_never_read_nor_for_those_who_never_ask() -> None:
    with anyio.fail_after(8):
        async with served(endless, grace=0.2) as (there, host, port):
            deaf, silent, half = narrow(host, port), narrow(host, port), narrow(host, port)
            deaf.sendall(REQUEST % b"/")
            half.sendall(b"GET / HT")
            await until(lambda: len(there) == 3)
    for client in (deaf, silent, half):
        client.close()
    assert len(there) == 0


async def test_more_connections_than_are_wanted_are_let_go_and_the_others_served() -> None:
    async with milling() as (_, engine, _), served(http_app(engine)) as (there, host, port):
        there.most = 5
        others = [narrow(host, port) for _ in range(5)]
        await until(lambda: len(there) == 5)
        with narrow(host, port) as late:
            late.settimeout(5)
            assert await anyio.to_thread.run_sync(late.recv, 1) == b""
        assert there.refused == 1
        for other in others:
            other.close()
        await until(lambda: len(there) == 0)
        async with AsyncClient() as client:
            assert (await client.get(f"http://{host}:{port}/livez")).status_code == 200


async def test_a_body_without_end_is_refused_and_so_is_one_that_nobody_asked_for() -> None:
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    async with milling() as (_, engine, _), served(http_app(engine, token=TOKEN)) as there:
        counted, host, port = there
        for head in (b"POST /api/v1/stages/mill/grind/scale", b"GET /livez"):
            async with await anyio.connect_tcp(host, port) as client:
                await client.send(head + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
                answer = b""
                async with anyio.create_task_group() as tasks:

                    async def flood(client: Any = client) -> None:
                        with anyio.fail_after(10):
                            try:
                                while True:
                                    await client.send(chunk)
                            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                                pass

                    tasks.start_soon(flood)
                    with anyio.fail_after(10):
                        while b"problem+json" not in answer:
                            answer += await client.receive()
                    tasks.cancel_scope.cancel()
            assert answer.startswith(b"HTTP/1.1 413 ")
        await until(lambda: len(counted) == 0)


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with (
        milling() as (_, engine, _),
        served(Bounded(http_app(engine, token=TOKEN), patience=0.1)) as (_, host, port),
    ):
        async with await anyio.connect_tcp(host, port) as client:
            await client.send(b"POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            with anyio.fail_after(5):
                assert (await client.receive()).startswith(b"HTTP/1.1 408 ")
        assert not engine.draining


async def test_a_header_without_end_and_what_is_no_http_end_their_connection_alone() -> None:
    async with milling() as (_, engine, _), served(http_app(engine)) as (there, host, port):
        for wrong in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000,
            b"\x16\x03\x01 hello\r\n\r\n",
            b"\0" * 99,
        ):
            async with await anyio.connect_tcp(host, port) as client:
                await client.send(wrong)
                with anyio.fail_after(5):
                    assert (await client.receive()).startswith(b"HTTP/1.1 4")
        await until(lambda: len(there) == 0)
        async with AsyncClient() as client:
            assert (await client.get(f"http://{host}:{port}/livez")).status_code == 200


async def test_it_answers_while_the_engine_is_at_full_load() -> None:
    memory, topology = Memory(), Topology("load")

    @topology.subscriber(memory.topic("in"), max_workers=4)
    async def take(body: dict) -> None: ...

    async def feed() -> None:
        sink = memory.topic("in").sink()
        await sink.open()
        while True:
            run = [Message(raw=b"{}") for _ in range(500)]
            for message in run:
                message.destination = "in"
            await sink.publish(run)

    async with (
        memory,
        Engine(topology) as engine,
        served(http_app(engine)) as (_, host, port),
        anyio.create_task_group() as tasks,
        AsyncClient(timeout=10) as client,
    ):
        tasks.start_soon(feed)
        await until(lambda: engine.status()[0].settled > 1000)
        before = engine.status()[0].settled
        for _ in range(20):
            assert (await client.get(f"http://{host}:{port}/livez")).status_code == 200
        assert engine.status()[0].settled > before + 1000
        tasks.cancel_scope.cancel()
