"""The app on a socket: addresses, slow clients and those that never read, bodies without end, and the end of it all."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from httpx import AsyncClient

from engine.http.app import http_app
from engine.http.server import Address, AddressError, address_of, listen, serving, urls
from tests.engine.http.served import TOKEN, milling

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[tuple[str, int]]:
    sockets = listen(Address("127.0.0.1", 0))
    async with serving(app, sockets):
        yield sockets[0].getsockname()


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
        async with served(http_app(engine, token=TOKEN)) as (host, port), AsyncClient() as client:
            assert (await client.get(f"http://{host}:{port}/livez")).json()["ok"] is True
        with pytest.raises(OSError, match="All connection attempts failed"):
            await anyio.connect_tcp(host, port)
