"""NATS as the tests start it: with its streams after a restart, logins, TLS, and an operator's credentials."""

import anyio
import pytest
from nats.aio.client import Client
from nats.errors import Error

from tests.servers.nats import Nats
from tests.servers.site import Site

pytestmark = pytest.mark.anyio


async def silence(error: Exception) -> None:
    """What a client reports of its attempts to connect is not for the log of the tests."""


async def connect(url: str, **options) -> Client:
    client = Client()
    try:
        await client.connect(url, allow_reconnect=False, connect_timeout=2, error_cb=silence, **options)
    except BaseException:
        with anyio.move_on_after(0.5):  # waits for ever for the end of a connection whose handshake has failed
            await client.close()  # what failed to connect still holds its connection
        raise
    return client


@pytest.mark.parametrize("kill", [False, True])
async def test_nats_keeps_its_streams_through_a_restart(nats_server: Nats, kill: bool) -> None:
    client = await connect(nats_server.url)
    stream = f"kept-{kill}"
    await client.jetstream().add_stream(name=stream, subjects=[stream])
    for number in range(100):
        await client.jetstream().publish(stream, str(number).encode())
    await client.close()
    await nats_server.async_restart(kill=kill)
    client = await connect(nats_server.url)
    assert (await client.jetstream().stream_info(stream)).state.messages == 100
    await client.close()


async def test_nats_takes_a_login_and_refuses_a_wrong_one(nats_server: Nats) -> None:
    client = await connect(nats_server.login_url)
    assert client.is_connected
    await client.close()
    with pytest.raises(Error, match="Authorization Violation"):
        await connect(nats_server.login_url.replace("brook", "puddle"))


async def test_nats_can_insist_on_a_login(servers: Site) -> None:
    server = servers.get(Nats, required=True)
    client = await connect(server.url)
    assert client.is_connected
    await client.close()
    with pytest.raises(Error, match="Authorization Violation"):
        await connect(server.open_url)


async def test_nats_can_insist_on_tls(servers: Site) -> None:
    server = servers.get(Nats, tls=True)
    client = await connect(server.url, tls=server.certificates.context())
    await client.jetstream().account_info()
    await client.close()
    with pytest.raises(Exception, match="certificate verify failed"):
        await connect(server.url)


async def test_nats_takes_an_operators_credentials_and_nobody_without(servers: Site) -> None:
    server = servers.get(Nats, operator=True)
    client = await connect(server.url, user_credentials=str(server.credentials))
    await client.jetstream().add_stream(name="signed", subjects=["signed"])
    assert (await client.jetstream().publish("signed", b"1")).seq == 1
    await client.close()
    with pytest.raises(Error, match="Authorization Violation"):
        await connect(server.url)
