"""Reading by a consumer that somebody else has made: its limits are kept to, and what it never takes is told."""

import json
from typing import Any

import anyio
import pytest

from engine.nats.broker import Nats, NatsStream
from engine.nats.jetstream import StreamSource
from tests.brokers.at_nats import client, names, publish, refusal, vanish
from tests.brokers.contract import fetched, numbers, opened
from tests.servers.nats import Nats as Server

__all__ = ["client"]  # a fixture
pytestmark = pytest.mark.anyio
COUNT = 25


async def made(server: Server, client: Any, **limits: Any) -> tuple[StreamSource, NatsStream]:
    """A source of a consumer with such limits, and its endpoint, which has some messages."""
    stream, subject = names()
    endpoint = Nats(server.url, timeout=5).stream(stream, subject=subject, durable="d")
    await publish(endpoint, *range(COUNT))
    await configure(client, stream, subject, **limits)
    return endpoint.source("readers"), endpoint


async def configure(client: Any, stream: str, subject: str, **limits: Any) -> None:
    config = {"durable_name": "d", "name": "d", "ack_policy": "explicit", "filter_subject": subject} | limits
    asked = json.dumps({"stream_name": stream, "config": config}).encode()
    told = json.loads((await client.request(f"$JS.API.CONSUMER.CREATE.{stream}.d.{subject}", asked)).data)
    assert told["config"].items() >= limits.items()


@pytest.mark.parametrize("limit", [{"max_batch": 10}, {"max_expires": 1_000_000_000}, {"max_bytes": 1}])
async def test_a_request_keeps_to_the_limits_of_the_consumer(
    nats_server: Server, client: Any, limit: dict[str, int]
) -> None:
    source, _ = await made(nats_server, client, **limit)
    async with opened(source):
        with anyio.fail_after(10):
            assert numbers(await fetched(source, COUNT)) == list(range(COUNT))


async def test_what_is_called_back_comes_in_order_though_requests_are_small(nats_server: Server, client: Any) -> None:
    source, endpoint = await made(nats_server, client, max_batch=10)
    dead = endpoint.source("readers")
    await dead.open()
    with anyio.fail_after(10):
        await fetched(dead, COUNT)
        await vanish(dead)
    await publish(endpoint, COUNT)
    async with opened(source):
        with anyio.fail_after(4):
            assert numbers(await fetched(source, COUNT + 1)) == list(range(COUNT + 1))


async def test_a_limit_that_is_set_meanwhile_is_told_once_and_kept_to(nats_server: Server, client: Any) -> None:
    source, endpoint = await made(nats_server, client)
    async with opened(source):
        with anyio.fail_after(10):
            await fetched(source, COUNT)
            await configure(client, endpoint.stream, endpoint.name, max_batch=10)
            with refusal("409 Exceeded MaxRequestBatch of 10"):
                await source.fetch(COUNT)
            await publish(endpoint, 1)
            assert numbers(await source.fetch(COUNT)) == [1]


async def test_a_consumer_that_wants_more_than_a_plain_request_says_so(nats_server: Server, client: Any) -> None:
    source, _ = await made(nats_server, client, priority_groups=["a"], priority_policy="overflow")
    async with opened(source):
        for _ in range(2):
            with anyio.fail_after(5), refusal("400 Bad Request - Priority Group missing", "choose another durable="):
                await source.fetch(1)
