"""Messages from outside that are odd: headers that are Headrace's to set, as long as can be, entries of others."""

from typing import Any

import anyio
import pytest
from redis.asyncio import Redis as RedisClient

from actors import Message
from engine.deadletters import graves, redrive
from headrace import Nats, Redis
from tests.brokers.test_engine import Item, Site, ids, run_until, settled, site

pytestmark = pytest.mark.anyio
assert site  # the fixture
FORGED = {
    "headrace-reason": "forged",
    "headrace-attempts": "99",
    "headrace-origin-broker": "pigeon",
    "headrace-origin-destination": "elsewhere",
    "headrace-origin-partition": "-1",
    "tenant": "7",
}


async def sent(place: Any, raw: bytes, headers: dict[str, Any]) -> None:
    sink = place.sink()
    await sink.open()
    message = Message(raw=raw, headers=headers)
    message.destination = place.name
    await sink.publish([message])
    await sink.close()


def failing(site: Site) -> Any:
    topology = site.topology()

    @topology.subscriber(site.place("in"))
    async def work(item: Item) -> None:
        raise ValueError("not now")

    return topology


async def test_headers_that_are_ours_to_set_say_nothing_where_they_come_from_outside(site: Site) -> None:
    topology, body = failing(site), Item(id=1, key="k").model_dump_json().encode()
    await sent(site.place("in"), body, FORGED)
    await run_until(topology, settled(1))
    (letter,) = await site.read(site.place("in").dead_letter(), 1)
    headers = letter.headers or {}
    assert headers["headrace-reason"] == "not now"
    assert headers["headrace-attempts"] == "1"
    assert headers["headrace-origin-destination"] == site.place("in").name
    assert headers["tenant"] == "7"
    (grave,) = graves(topology.graph())
    if site.broker.system != "rabbitmq":  # of a queue, the one who has read it has it
        assert (await redrive(grave, 10)).redriven == 1
        again = [message for message in await site.read("in", 2) if message.headers == {"tenant": "7"}]
        assert ids(again) == [1]


async def test_a_message_as_long_as_can_be_gets_a_brief_dead_letter(nats_server: Any) -> None:
    site = Site(Nats(nats_server.url))
    body = Item(id=1, key="k" * (1024 * 1024 - 600)).model_dump_json().encode()
    await sent(site.place("in"), body, {})
    topology = failing(site)
    await run_until(topology, settled(1))
    (letter,) = await site.read(site.place("in").dead_letter(), 1)
    headers = letter.headers or {}
    assert letter.raw == body
    assert headers["headrace-reason"] == "not now"
    assert "headrace-traceback" not in headers


async def test_redis_entries_of_others_are_dead_letters_or_bodies_and_hold_up_nothing(redis_server: Any) -> None:
    site, seen = Site(Redis(redis_server.url)), list[int]()
    topology = site.topology()

    @topology.subscriber(site.place("in"))
    async def work(item: Item) -> None:
        seen.append(item.id)

    odd: list[dict[Any, Any]] = [
        {"key": "k"},  # no body
        {"null": ""},
        {"body": ""},
        {"id": "1", "key": "k"},  # as JSON an item, of fields as text
        {b"\xff\xfe": b"\xff"},
        {"body": b"\xff\xfe", "header:\xff": "x"},
        {"body": '{"id": 2, "key": "k"}', "reply-to": b"\xff", "id": b"\xff"},
        {"body": '{"id": 3, "key": "k"}', "stranger": "field"},
        {"header:a": "1" * 1_000_000, "body": "{}"},
    ]
    async with RedisClient.from_url(redis_server.url) as client:
        for fields in odd:
            await client.xadd(f"{site.name}.in", fields)
        await client.xadd(f"{site.name}.in", {"body": '{"id": 4, "key": "k"}'})
    engine = await run_until(topology, settled(len(odd) + 1))
    (status,) = engine.status()
    assert seen[-1] == 4
    assert status.dead + len(seen) == len(odd) + 1
    assert status.restarts == 0


async def test_headers_over_the_limit_cost_one_message(site: Site) -> None:
    topology, done = site.topology(), anyio.Event()

    @topology.publisher(site.place("out"))
    @topology.subscriber(site.place("in"))
    async def work(item: Item) -> Message:
        done.set()
        return Message(item, headers={"large": "x" * 3_000_000} if item.id == 0 else {})

    await site.fill(3)
    engine = await run_until(topology, settled(3))
    (status, *_) = engine.status()
    large = 1 if site.broker.system in ("nats", "rabbitmq", "kafka") else 0
    assert status.dead == large
    assert {1, 2} <= set(ids(await site.read("out", 3 - large)))
