"""Dead letters that somebody has edited or whose origin is gone, and requests that nobody can be answered."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import BrokerError, Message
from engine.deadletters import graves, letters, redrive
from headrace import Kafka, Redis
from tests.brokers.test_engine import Item, Site, ids, run_until, settled, site

pytestmark = pytest.mark.anyio
assert site  # the fixture
EDITED: list[dict[str, Any]] = [
    {},
    {"headrace-attempts": "many", "headrace-first-failure": "yesterday", "headrace-reason": b"\xff\xfe"},
    {"headrace-attempts": "-3", "headrace-origin-partition": "x", "headrace-origin-offset": ""},
    {"headrace-reason": "\x1b[2J cleared", "headrace-mine": "kept"},
    {"headrace-origin-destination": "nowhere.at-all"},
    {"headrace-origin-broker": "pigeon", "headrace-origin-destination": "loft"},
]


async def bury(site: Site, headers: list[dict[str, Any]]) -> Any:
    """Lay letters with those headers where the dead of a topology lie; its grave."""
    topology = site.topology()

    @topology.subscriber(site.place("in"))
    async def work(item: Item) -> None: ...

    (grave,) = graves(topology.graph())
    sink = grave.endpoint.sink()
    await sink.open()
    run = []
    for number, each in enumerate(headers):
        letter = Message(raw=Item(id=number, key="k").model_dump_json().encode(), headers=each)
        letter.destination = grave.endpoint.name
        run.append(letter)
    await sink.publish(run)
    await sink.close()
    return grave


async def test_letters_that_somebody_edited_are_shown_and_only_those_of_here_are_put_back(site: Site) -> None:
    await run_until(
        _reader(site), lambda engine: engine.started.is_set() and not engine.out_of_reach()
    )  # what is to be put back is to be there
    grave = await bury(site, EDITED)
    found = await letters(grave, 100)
    assert [letter.attempts for letter in found] == [0] * len(EDITED)
    assert found[1].reason
    assert found[3].headers == {"headrace-mine": "kept"}
    assert found[0].origin == grave.origin.name
    result = await redrive(grave, 100)
    assert (result.redriven, result.refused, result.left) == (4, 0, 2)
    assert any("nowhere.at-all" in why for why in result.why)
    assert any("pigeon" in why for why in result.why)
    back = await site.read("in", 4)
    assert sorted(ids(back)) == [0, 1, 2, 3]
    assert sorted(name for message in back for name in message.headers or {}) == ["headrace-mine"]
    assert len(await letters(grave, 100)) == 2, "those of elsewhere stay"


def _reader(site: Site) -> Any:
    topology = site.topology()

    @topology.subscriber(site.place("in"))
    async def work(item: Item) -> None: ...

    return topology


@pytest.mark.parametrize("site", ["redis", "nats", "rabbitmq", "kafka"], indirect=True)  # those with a server
async def test_an_origin_that_was_never_made_or_is_gone_refuses_and_the_letters_stay(site: Site) -> None:
    grave = await bury(site, [{}, {}])
    with pytest.raises(BrokerError) as refused:
        await redrive(grave, 100)
    assert f"{site.name}" in str(refused.value)
    assert len(await letters(grave, 100)) == 2
    topology = _reader(site)
    await run_until(topology, lambda engine: engine.started.is_set() and not engine.out_of_reach())
    assert (await redrive(grave, 100)).redriven == 2
    await run_until(topology, settled(2))


@pytest.mark.parametrize("address", ["", "headrace.inbox.gone", "no such place/at all", "x" * 250, "in"])
async def test_a_request_that_cannot_be_answered_is_handled_all_the_same(
    site: Site, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    topology, place = site.topology(), site.place("in")

    @topology.subscriber(place, max_workers=1)
    async def work(item: Item) -> Item:
        return item

    sink = place.sink()
    await sink.open()
    run = [Message(raw=Item(id=number, key="k").model_dump_json().encode()) for number in range(5)]
    for number, message in enumerate(run):
        message.destination = place.name
        if number != 4:
            message.reply_to = f"{site.name}.in.inbox" if address == "in" else address
    await sink.publish(run)
    await sink.close()
    engine = await run_until(topology, settled(5))
    status = engine.status()[0]
    assert (status.settled, status.dead, status.retried, status.restarts) == (5, 0, 0, 0)


NOWHERE = {
    "memory": ["x" * 40_000, "{reply_to}"],
    "redis": ["x" * 40_000, "", "{reply_to}", "IN"],
    "nats": ["x" * 40_000, "x" * 4_096, "all.>", "a..b", "a\r\nb", "{reply_to}"],
    "rabbitmq": ["x" * 255, "amq.rabbitmq.reply-to.nobody", "{reply_to}", "FULL"],
    "kafka": ["x" * 250, "x" * 40_000, "a/b", "..", "{reply_to}", "__consumer_offsets"],
}
"""Addresses that nobody can answer to; IN is where the questions lie, FULL a queue that takes no more."""


@pytest.mark.parametrize(
    ("site", "address"),
    [pytest.param(site, each, id=f"{site}-{each[:30]!r}-{len(each)}") for site, all in NOWHERE.items() for each in all],
    indirect=["site"],
)
async def test_an_answer_that_cannot_be_sent_holds_up_none_of_the_same_run(
    site: Site, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    topology, place, inbox = site.topology(), site.place("in"), site.broker.inbox()
    address = {"IN": place.name, "FULL": f"{site.name}.full"}.get(address, address)
    if address.endswith(".full"):
        async with site.broker:
            await site.broker.queue(address, kind="classic", max_length=1).publish("it is full with this")

    @topology.subscriber(place, max_workers=1)
    async def work(item: Item) -> Item:
        return item

    answers, sink = inbox.source("askers"), place.sink()
    await answers.open()
    await sink.open()
    run = [Message(raw=Item(id=number, key="k").model_dump_json().encode()) for number in range(6)]
    for number, message in enumerate(run):
        message.destination = place.name
        message.reply_to = inbox.name if number % 2 else address
    await sink.publish(run)
    await sink.close()
    engine = await run_until(topology, settled(6))
    found: list[Message] = []
    with anyio.fail_after(10):
        while len(found) < 3:
            found += await answers.fetch(10)
    await answers.close()
    assert ids(found) == [1, 3, 5]
    assert f"no answer to {inbox.name!r}" not in caplog.text
    status = engine.status()[0]
    assert (status.settled, status.dead, status.restarts) == (6, 0, 0)


COMMAND = """
import os
from headrace import Redis, Topology

topology = Topology("edited")


@topology.subscriber(Redis(os.environ["URL"]).stream(os.environ["NAME"] + ".in"))
async def work(body: dict) -> None: ...
"""


async def test_the_command_shows_edited_letters_and_fails_where_the_origin_is_gone(
    redis_server: Any, tmp_path: Path
) -> None:
    site = Site(Redis(redis_server.url))
    await bury(site, EDITED)
    (tmp_path / "edited.py").write_text(COMMAND)
    environment = os.environ | {"URL": redis_server.url, "NAME": site.name}

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "headrace", "dead", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, told = await anyio.to_thread.run_sync(run, "list", "edited.py")
    assert code == 0, told
    assert "cleared" in told
    assert "\x1b[2J" not in told
    code, told = await anyio.to_thread.run_sync(run, "redrive", "edited.py")
    assert code == 1
    assert "NOSTREAM" in told
    assert "Traceback" not in told
    code, told = await anyio.to_thread.run_sync(run, "list", "edited.py", "--json")
    assert told.count('"grave"') == len(EDITED)


async def test_letters_of_a_pattern_go_back_to_the_topic_that_each_came_from(kafka_server: Any) -> None:
    site = Site(Kafka(kafka_server.url.removeprefix("kafka://")))
    topology, tops = site.topology(), site.broker.topic(pattern=rf"{site.name}\.(a|b)")

    @topology.subscriber(tops)
    async def work(item: Item) -> None:
        raise ValueError("not now")

    for name in ("a", "b"):
        sink = site.place(name).sink()
        await sink.open()
        message = Message(raw=Item(id=ord(name), key="k").model_dump_json().encode())
        message.destination = f"{site.name}.{name}"
        await sink.publish([message])
        await sink.close()
    await run_until(topology, settled(2))
    (grave,) = graves(topology.graph())
    assert (await redrive(grave, 10)).redriven == 2
    for name in ("a", "b"):
        assert ids(await site.read(name, 2)) == [ord(name)] * 2
