"""For the tests of NATS: names that no other test uses, and what the server has."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import nats
import pytest

from actors import BrokerRefused, Message
from engine.nats.broker import Nats, NatsStream
from tests.brokers.contract import message, numbers, opened
from tests.brokers.surviving import eventually
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy


@pytest.fixture
async def client(nats_server: Server) -> AsyncIterator[Any]:
    """A plain client of the server's."""
    client = await nats.connect(nats_server.url)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def proxy(nats_server: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of the server."""
    async with Proxy(nats_server) as proxy:
        yield proxy


def names() -> tuple[str, str]:
    """A stream and a subject that no other test uses."""
    unique = uuid4().hex
    return f"S-{unique}", f"s.{unique}"


def stream_at(url: str, **options: Any) -> NatsStream:
    stream, subject = names()
    return Nats(url, **options).stream(stream, subject=subject)


def run_of(subject: str, start: int, count: int = 100) -> list[Message]:
    return [message(number, subject) for number in range(start, start + count)]


async def publish(stream: Any, *bodies: Any) -> None:
    sink = stream.sink()
    async with opened(sink):
        await sink.publish([message(body, sink.destination) for body in bodies])


async def state(client: Any, stream: str) -> Any:
    return (await client.jetstream().stream_info(stream)).state


async def stored(client: Any, stream: str, count: int) -> None:
    """Wait until so many messages are there."""

    async def there() -> bool:
        return (await state(client, stream)).messages >= count

    await eventually(there)


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


async def opens(endpoint: Any) -> None:
    """Publish one message and get it."""
    source = endpoint.source("readers")
    async with opened(source):
        await publish(endpoint, 1)
        assert numbers(await source.fetch(1)) == [1]


async def vanish(source: Any) -> None:
    """End the way a killed process does: the connection is gone, and nothing is given back."""
    source._renewing.cancel()
    await source._link.close()
