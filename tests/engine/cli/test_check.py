"""`headrace check --connect`: what it prints for people and for programs, and how it ends."""

import json
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from engine.brokers.findings import Edge, Finding, Verdict
from engine.cli.exits import Code
from engine.cli.guarantees import show
from engine.cli.notes import notes
from engine.memory import Memory
from engine.rabbitmq import RabbitMQ
from tests.engine.cli.conftest import ORDERS, Command, Write, assert_refused
from tests.servers.nats import Nats
from tests.servers.ports import free_port
from tests.servers.redis import Redis
from tests.servers.site import Site
from topologies import Topology

WEAK = """
    from headrace import Memory, Redis, Topology

    redis = Redis("{url}")
    topology = Topology("weak")


    @topology.publisher(redis.stream("out", maxlen=1000))
    @topology.subscriber(redis.stream("orders"), Memory().topic("extra"))
    async def check(order: dict) -> dict:
        return order
    """


@pytest.fixture
def losing(servers: Site) -> Redis:
    """A Redis that keeps nothing on its disk."""
    return servers.get(Redis, settings={"appendonly": "no"})


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_without_connect_no_server_is_asked(headrace: Command, write: Write) -> None:
    write("weak.py", WEAK.format(url=f"redis://127.0.0.1:{free_port()}/0"))
    result = headrace("check", "weak")
    assert (result.code, result.err) == (0, "")
    assert "what it has" not in result.out


def test_each_edge_is_shown_with_what_it_has_and_what_would_strengthen_it(
    headrace: Command, write: Write, losing: Redis
) -> None:
    write("weak.py", WEAK.format(url=losing.url))
    result = headrace("check", "weak", "--connect")
    assert (result.code, result.err) == (Code.DONE, "")
    said = lines(result.out)
    assert "edge what it has what would strengthen it" in said
    assert "orders → check redis at least once, but" in said
    assert "! a restart of the server loses everything (appendonly=no, save=) appendonly yes" in said
    assert "extra → check memory at least once, within this process, but" in said
    assert "check ⇢ orders.dead redis at least once, but" in said
    trimmed = "! all but about the last 1,000 entries are trimmed, read or not (maxlen=1000)"
    assert f"{trimmed} stream(name) without maxlen=" in said


def test_on_a_narrow_terminal_one_edge_stands_below_the_other() -> None:
    finding = Finding("warning", "appendonly=no", "a restart of the server loses everything", "appendonly yes")
    verdict = Verdict(Edge("source", "check", Memory().topic("orders")), "at least once", (finding,))
    told = StringIO()
    show(Console(width=40, file=told), [verdict])
    assert [line.rstrip() for line in told.getvalue().splitlines()] == [
        "orders → check  memory",
        "  at least once, but",
        "  ! a restart of the server loses",
        "  everything (appendonly=no)",
        "    → appendonly yes",
        "",
        "✗ 1 of 1 edges does not keep what is",
        "promised",
    ]


def test_strict_fails_where_a_setting_breaks_a_promise_and_only_there(
    headrace: Command, write: Write, losing: Redis, redis_server: Redis
) -> None:
    write("weak.py", WEAK.format(url=losing.url))
    write("sound.py", WEAK.format(url=redis_server.url).replace(", maxlen=1000", ""))
    assert headrace("check", "weak", "--connect", "--strict").code == Code.FAILED
    assert headrace("check", "sound", "--connect", "--strict").code == Code.DONE


def test_strict_without_asking_anybody_is_refused(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    assert_refused(headrace("check", "orders", "--strict"), Code.USAGE, "--connect --strict")


def test_as_json_it_is_the_same_as_data(headrace: Command, write: Write, losing: Redis) -> None:
    write("weak.py", WEAK.format(url=losing.url))
    found = json.loads(headrace("check", "weak", "--connect", "--json").out)
    assert (found["ok"], found["kept"], found["failures"]) == (True, False, [])
    guarantees: list[dict[str, Any]] = found["topologies"][0]["guarantees"]
    assert [(each["role"], each["endpoint"]) for each in guarantees] == [
        ("source", "orders"),
        ("source", "extra"),
        ("dead", "orders.dead"),
        ("dead", "extra.dead"),
        ("destination", "out"),
    ]
    first = guarantees[0]
    assert first["guarantee"].startswith("at least once, but a restart of the server loses everything")
    assert (first["system"], first["promise"], first["kept"]) == ("redis", "at least once", False)
    assert first["findings"][0] == {
        "level": "warning",
        "setting": "appendonly=no, save=",
        "means": "a restart of the server loses everything",
        "advice": "appendonly yes",
    }


def test_a_server_out_of_reach_is_named_by_69_and_the_others_are_still_shown(
    headrace: Command, write: Write, losing: Redis
) -> None:
    port = free_port()
    write("weak.py", WEAK.format(url=losing.url))
    write("lost.py", WEAK.format(url=f"redis://me:s3cret@127.0.0.1:{port}/0").replace('"weak"', '"lost"'))
    result = headrace("check", "weak", "lost", "--connect", "--timeout", "3")
    assert result.code == Code.UNAVAILABLE
    assert f"127.0.0.1:{port}" in result.err
    assert result.err.count("headrace:") == 1
    said = lines(result.out)
    assert "orders → check redis at least once, but" in said
    assert "orders → check redis not known: the server cannot be asked" in said
    assert "s3cret" not in result.out + result.err
    found = json.loads(headrace("check", "lost", "--connect", "--json").out)
    assert (found["ok"], [each["server"] for each in found["failures"]]) == (False, [f"Redis('127.0.0.1:{port}')"])
    assert "s3cret" not in json.dumps(found)


def test_a_kafka_out_of_reach_is_told_of_once(write: Write) -> None:
    port = free_port()
    text = WEAK.replace("Redis", "Kafka").replace("stream", "topic").replace(", maxlen=1000", "")
    folder = write("lost.py", text.format(url=f"127.0.0.1:{port}")).parent
    command = [sys.executable, "-m", "headrace", "check", "lost", "--connect"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == Code.UNAVAILABLE
    assert done.stderr.startswith(f"headrace: Kafka at 127.0.0.1:{port}: no connection")
    assert done.stderr.count("\n") == 1


REMEMBERS = """
    from headrace import Deduplicate, Memory, Redis, Topology

    topology = Topology("once")


    @topology.subscriber(Memory().topic("orders"), deduplicate=Deduplicate(store=Redis("{url}")))
    async def check(order: dict) -> None: ...
    """


def test_the_store_that_duplicates_are_known_by_is_asked_too(headrace: Command, write: Write, losing: Redis) -> None:
    port = free_port()
    write("once.py", REMEMBERS.format(url=losing.url))
    write("lost.py", REMEMBERS.format(url=f"redis://me:s3cret@127.0.0.1:{port}/0").replace('"once"', '"lost"'))
    assert headrace("check", "once", "--connect").code == Code.DONE
    result = headrace("check", "lost", "--connect")
    assert_refused(result, Code.UNAVAILABLE, f"127.0.0.1:{port}", "deduplicate", "check")
    assert "s3cret" not in result.out + result.err
    found = json.loads(headrace("check", "lost", "--connect", "--json").out)
    assert (found["ok"], [each["server"] for each in found["failures"]]) == (False, [f"Redis('127.0.0.1:{port}')"])


def test_a_server_that_hangs_is_given_up_in_time(headrace: Command, write: Write, nats_server: Nats) -> None:
    text = WEAK.replace("Redis", "Nats").replace(", maxlen=1000", "")
    write("hung.py", text.format(url=nats_server.url))
    nats_server.pause()
    try:
        result = headrace("check", "hung", "--connect", "--timeout", "0.5")
    finally:
        nats_server.resume()
    assert result.code == Code.UNAVAILABLE
    assert "no answer within 0.5 s" in result.err


def test_a_login_that_is_refused_ends_with_1_and_a_bad_topology_still_with_78(
    headrace: Command, write: Write, redis_server: Redis
) -> None:
    url = redis_server.login_url.replace(redis_server.password, "wr0ng")
    write("weak.py", WEAK.format(url=url))
    write("bad.py", "from headrace import Topology\ntopology = Topology('bad')\n")
    result = headrace("check", "weak", "--connect")
    assert result.code == Code.FAILED
    assert "wr0ng" not in result.out + result.err
    assert headrace("check", "weak", "bad", "--connect").code == Code.TOPOLOGY


def test_the_embedded_broker_alone_needs_no_server(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    result = headrace("check", "orders", "--connect", "--strict")
    assert result.code == Code.DONE
    assert "orders → check memory at least once, within this process, but" in lines(result.out)


# -- what is said without asking anybody -----------------------------------------------------------------------


def test_a_stage_behind_others_is_told_that_its_order_ends_with_its_engine() -> None:
    topology = Topology("orders")

    @topology.subscriber(RabbitMQ().queue("orders"), key=lambda message: message.key)
    async def check(order: dict) -> dict:
        return order

    @topology.subscriber(check, key=lambda message: message.key)
    async def bill(order: dict) -> None: ...

    said = notes(topology.graph())
    assert [note.partition(":")[0] for note in said] == ["check", "bill"]
    assert all("orders would have to be partitioned by it" in note for note in said)
    assert all("single_active_consumer=True" in note for note in said)


def test_a_queue_that_one_engine_at_a_time_reads_needs_no_note() -> None:
    topology = Topology("orders")

    @topology.subscriber(RabbitMQ().queue("orders", single_active_consumer=True), key=lambda message: message.key)
    async def check(order: dict) -> None: ...

    assert notes(topology.graph()) == []


def test_a_key_behind_several_workers_without_one_is_told_that_order_begins_there() -> None:
    topology = Topology("orders")

    @topology.subscriber(Memory().topic("orders"), max_workers=4)
    async def check(order: dict) -> dict:
        return order

    @topology.subscriber(check, key=lambda message: message.key)
    async def bill(order: dict) -> None: ...

    (note,) = notes(topology.graph())
    assert note.startswith("bill: order by key begins here: check has several workers and no key=")
