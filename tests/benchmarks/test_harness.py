"""The harness on a real Redis, with a few hundred messages; and what it says to bad input."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest
from redis.asyncio import Redis as Client

from benchmarks import by_hand_redis, latency, match, page, store
from benchmarks.__main__ import Kept, until_told
from benchmarks.contenders import CONTENDERS, IN_PROCESS, Unknown, chosen
from benchmarks.latency import latencies
from benchmarks.launch import ROOT, ChildFailed, child
from benchmarks.match import Plan
from benchmarks.rounds import Server, measure
from benchmarks.store import Stored, Table
from benchmarks.work import WORKS, body, number_of, sent_at
from tests.benchmarks.test_store import table
from tests.servers.redis import Redis

pytestmark = pytest.mark.anyio
PLAN = Plan(rounds=1, seconds=10.0, messages=300, latency=False)


async def play(server: Server, works: list[str], names: list[str]) -> list[Table]:
    return [table async for table in match.play(PLAN, server, works, names, "test", {}, lambda text: None)]


async def leftovers(url: str) -> list[bytes]:
    async with Client.from_url(url, protocol=2) as client:
        return [key async for key in client.scan_iter("bench-*")]


async def test_loops_and_headrace_carry_every_message_once_and_leave_nothing(redis_server: Redis) -> None:
    server = Server("redis", redis_server.url, redis_server.pid)
    [table] = await play(server, ["bridge"], ["best", "headrace"])
    for figure in table.figures:
        assert figure.failure == ""
        assert (figure.lost, figure.twice, figure.disordered, figure.messages) == (0, 0, 0, 300)
        assert figure.rate > 0
        assert figure.cpu > 0
        assert figure.memory > 1
        assert figure.server_cpu is not None
    assert {figure.rank for figure in table.figures} == {1, 2}
    assert await leftovers(redis_server.url) == []


async def test_the_best_loop_keeps_the_order_of_customers_with_a_hundred_handlers(redis_server: Redis) -> None:
    found = await measure(Server("redis", redis_server.url), WORKS["keyed"], CONTENDERS["best"], 0, 3000, limit=30)
    assert (found.failure, found.lost, found.twice, found.disordered) == ("", 0, 0, 0)


async def test_in_process_needs_no_server() -> None:
    [table] = await play(Server(IN_PROCESS), list(WORKS), ["best", "headrace", "naive"])
    assert [each.contender for each in table.figures if each.honest] == ["best", "headrace"]
    assert list(table.left_out) == ["naive"]


async def test_latency_is_taken_in_turn_round_by_round(redis_server: Redis) -> None:
    server = Server("redis", redis_server.url, redis_server.pid)
    turns = [(CONTENDERS["best"], 2, 400.0), (CONTENDERS["headrace"], 1, 400.0)]
    said: list[str] = []
    found = await latencies(server, WORKS["bridge"], turns, 0.5, said.append)
    assert said == ["redis latency: best", "", "redis latency: headrace", "", "redis latency: best", ""]
    assert {name: len(probed.idle.p99s) for name, probed in found.items()} == {"best": 2, "headrace": 1}
    for probed in found.values():
        for each in (probed.idle, probed.half_load):
            assert 0 < each.p50 <= each.p99
            assert each.pace > 0
    assert await leftovers(redis_server.url) == []


async def test_who_does_not_come_through_has_no_latency(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SPARE", 0.1)  # no process has started by then
    turns = [(CONTENDERS["naive"], 3, 100.0)]
    said: list[str] = []
    assert await latencies(Server("redis", redis_server.url), WORKS["bridge"], turns, 0.001, said.append) == {}
    assert said == ["redis latency: naive", ""] * 3
    assert await leftovers(redis_server.url) == []


def test_latency_takes_more_rounds_of_those_that_a_goal_names_and_none_of_features() -> None:
    plan = Plan(rounds=5, seconds=1.0, messages=1, latency=True)
    names = ("best", "headrace", "naive", "headrace-uvloop", "headrace-key")
    assert [plan.latency_rounds_of(name) for name in names] == [5, 5, 3, 3, 0]
    assert plan.but(latency=False).latency_rounds_of("best") == 0


async def test_a_contender_out_of_time_is_said_to_be_and_what_it_did_not_carry_is_counted(
    redis_server: Redis,
) -> None:
    server = Server("redis", redis_server.url)
    found = await measure(server, WORKS["io-1"], CONTENDERS["naive"], 0, 5000, limit=3)
    assert "not done within 3 s" in found.failure
    assert found.lost > 0
    assert await leftovers(redis_server.url) == []


async def test_a_process_that_fails_is_told_of_by_its_last_words() -> None:
    async with child("benchmarks.child", "no job") as process:
        with pytest.raises(ChildFailed, match=r"(?s)ended with code 1.*Invalid JSON"):
            await process.result(30)


def test_a_body_carries_its_number_and_its_time_in_about_200_bytes() -> None:
    raw = body(41, 12.25)
    assert (number_of(raw), sent_at(raw)) == (41, 12.25)
    assert 180 <= len(raw) <= 220


def test_names_are_chosen_in_their_order_and_by_groups() -> None:
    assert chosen("work", "fanout,io,bridge", list(WORKS)) == ["bridge", "io-1", "io-10", "io-100", "fanout"]
    with pytest.raises(Unknown, match=r"no contender 'best2'\. Choose from naive, best"):
        chosen("contender", "best2", list(CONTENDERS))


def test_every_contender_can_do_the_bridge_or_says_why_not() -> None:
    for contender in CONTENDERS.values():
        for broker in ("redis", "nats", "rabbitmq", "kafka"):
            why = contender.cannot(broker, WORKS["bridge"])
            assert why == "" or " " in why
            assert contender.expected(broker, WORKS["bridge"]) > 0


def test_the_loop_one_layer_lower_takes_part_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = CONTENDERS["lower"]
    monkeypatch.setattr(by_hand_redis, "Lower", by_hand_redis.Hands, raising=False)
    assert [name for name in WORKS if not lower.cannot("redis", WORKS[name])] == ["bridge", "consume", "io-100"]
    monkeypatch.delattr(by_hand_redis, "Lower")
    assert "by_hand_redis.py has no class `Lower`" in lower.cannot("redis", WORKS["bridge"])


def test_the_loop_by_fetches_takes_part_where_a_faster_way_is_the_best() -> None:
    fetch = CONTENDERS["best-fetch"]
    assert [name for name in WORKS if not fetch.cannot("nats", WORKS[name])] == ["bridge", "consume", "io-100"]
    assert "by_hand_redis.py has no class `Fetch`" in fetch.cannot("redis", WORKS["bridge"])


def command(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--contender", "nobody"], "There is no contender 'nobody'. Choose from naive, best"),
        (["--work", "leisure"], "There is no work 'leisure'. Choose from bridge"),
        (["--messages", "0"], "there would be nothing to measure"),
        (["--url", "ftp://here"], "expected one that begins with redis://"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_can(arguments: list[str], said: str) -> None:
    _, errors = command(*arguments).communicate(timeout=50)
    assert said in " ".join(errors.split())


def test_without_a_server_it_says_what_to_install(tmp_path: Path) -> None:
    process = command("--broker", "redis", "--work", "bridge", PATH=str(tmp_path))
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 1
    assert "Redis is not installed" in errors
    assert "apt-get install redis-server" in errors


def test_a_url_where_nothing_listens_is_refused_without_its_password() -> None:
    process = command("--url", "redis://ann:s3cret@127.0.0.1:1/0", "--work", "bridge")
    printed, errors = process.communicate(timeout=50)
    said = " ".join(errors.split())
    assert (process.returncode, printed) == (2, "")
    assert "redis does not answer there" in said
    assert "leave --url out" in said
    assert "s3cret" not in said
    assert "Traceback" not in said


async def test_what_a_killed_run_has_left_is_named_and_takes_no_part(redis_server: Redis) -> None:
    async with Client.from_url(redis_server.url, protocol=2) as client:
        await client.xadd("bench-killed-in", {"body": "no order"})
        try:
            arguments = ["--work", "bridge", "--contender", "best", "--rounds", "1", "--messages", "100", "--json"]
            process = command(*arguments, "--no-latency", "--url", redis_server.url)
            printed, errors = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=50))
        finally:
            await client.delete("bench-killed-in")
    assert process.returncode == 0, errors
    assert "This takes about 1 min" in errors
    assert "may be removed: bench-killed-in" in errors
    [figure] = json.loads(printed)["tables"][0]["figures"]
    assert (figure["messages"], figure["lost"], figure["twice"], figure["failure"]) == (100, 0, 0, "")


def test_what_is_complete_is_written_at_once_and_the_rest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(store, "PAGE", tmp_path / "page.md")
    store.PAGE.write_text(f"above\n{store.BEGIN}\n{store.END}\nbelow\n")
    kept = Kept(Stored(tables=[table("bridge", date="old"), table("consume", date="old")]))
    assert kept.words == "nothing was written"
    kept.add(table("consume", date="new"))
    written = store.load(tmp_path / "figures.json")
    assert [(each.work, each.conditions.date) for each in written.tables] == [("bridge", "old"), ("consume", "new")]
    assert store.PAGE.read_text() == f"above\n{store.BEGIN}\n\n{page.markdown(written)}\n\n{store.END}\nbelow\n"
    assert "what was complete is written, 1 table" in kept.words


@pytest.fixture
def measuring(redis_server: Redis) -> Iterator["subprocess.Popen[str]"]:
    """The command in the middle of a long measurement."""
    arguments = ["--work", "io-1", "--seconds", "50", "--rounds", "1", "--json", "--url", redis_server.url]
    process = command(*arguments, "--contender", "best")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [each for each in psutil.Process(process.pid).children() if "benchmarks.child" in " ".join(each.cmdline())]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_it_writes_nothing_and_leaves_nothing_running(
    measuring: "subprocess.Popen[str]", redis_server: Redis, number: int
) -> None:
    with anyio.fail_after(40):
        while not (there := workers(measuring)) or not await leftovers(redis_server.url):
            await anyio.sleep(0.05)
    measuring.send_signal(number)
    printed, errors = await anyio.to_thread.run_sync(lambda: measuring.communicate(timeout=20))
    assert (measuring.returncode, printed) == (130, "")
    assert "nothing was written" in errors
    _, alive = psutil.wait_procs(there, timeout=10)
    assert alive == []
    assert await leftovers(redis_server.url) == []


async def test_killed_its_contender_ends_too(measuring: "subprocess.Popen[str]") -> None:
    with anyio.fail_after(40):
        while not (there := workers(measuring)):
            await anyio.sleep(0.05)
    measuring.kill()
    _, alive = psutil.wait_procs(there, timeout=10)
    assert alive == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_client_that_swallows_what_ends_it_is_told_again(number: int) -> None:
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        os.kill(os.getpid(), number)
        for _ in range(3):
            try:
                await anyio.sleep(20)
            except BaseException:
                swallowed += 1

    with anyio.fail_after(10), pytest.raises(KeyboardInterrupt):
        await until_told(work)
    assert swallowed == 3
