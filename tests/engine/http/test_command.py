"""`headrace run --http`: where it serves, what it says of that, what it keeps to itself, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from engine.cli.reload import _command, _surroundings
from engine.settings import read
from tests.engine.cli.conftest import Command, Write, assert_refused
from tests.engine.cli.test_run import Running
from tests.engine.http.conftest import Serve
from tests.engine.http.served import BEARER, TOKEN

SLOW = """
    import anyio
    from headrace import Memory, Topology

    memory, topology = Memory(), Topology("slow")


    @topology.lifespan
    async def feed(context):
        async with memory:
            await memory.topic("in", group="slow.work").publish({})
        yield


    @topology.subscriber(memory.topic("in"))
    async def work(body: dict) -> None:
        print("at work", flush=True)
        await anyio.sleep(60)
    """


def get(url: str, **options: object) -> httpx.Response:
    return httpx.get(url, timeout=20, **options)  # type: ignore[arg-type]


def test_it_says_where_it_serves_and_drains_at_sigterm(serve: Serve) -> None:
    url, running = serve()
    assert url.startswith("http://127.0.0.1:")
    assert get(f"{url}/readyz").status_code == 200
    assert get(f"{url}/api/v1/status").json()["topologies"] == ["mill"]
    running.signal(signal.SIGTERM)
    assert running.end() == 0
    with pytest.raises(httpx.ConnectError):
        get(f"{url}/livez")


def test_while_it_drains_it_is_alive_and_not_ready(serve: Serve, write: Write) -> None:
    write("slow.py", SLOW)
    url, running = serve("slow.py --http 127.0.0.1:0 --drain 2")
    running.until(running.out, "at work")
    running.signal(signal.SIGTERM)
    running.until(running.err, "draining")
    assert get(f"{url}/livez").status_code == 200
    ready = get(f"{url}/readyz")
    assert (ready.status_code, ready.json()["draining"]) == (503, True)
    assert running.end() == 1


def test_a_drain_over_http_ends_the_process_and_a_listener_does_not_hold_it_up(serve: Serve) -> None:
    url, running = serve(f"--http 127.0.0.1:0 --token {TOKEN}")
    with httpx.stream("GET", f"{url}/api/v1/events", timeout=20) as events:
        lines = events.iter_lines()
        next(line for line in lines if line.startswith("data: "))
        assert httpx.post(f"{url}/api/v1/drain", headers=BEARER, timeout=20).status_code == 200
        assert "event: end" in list(lines)
    assert running.end() == 0


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("8080", 2, ["'8080' is no address", "127.0.0.1:8080"]),
        ("nowhere.invalid:80", 1, ["nowhere.invalid is not known here"]),
        ("127.0.0.1:99999", 2, ["is no address"]),
    ],
)
def test_what_cannot_be_listened_on_is_told_before_the_engine_starts(
    process: Command,
    write: Write,
    address: str,
    code: int,
    words: list[str],
) -> None:
    write("slow.py", SLOW)
    result = process("run", "slow.py", "--http", address)
    assert_refused(result, code, *words)
    assert "starting" not in result.err


def test_a_port_in_use_is_told_before_the_engine_starts(process: Command, write: Write) -> None:
    write("slow.py", SLOW)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = process("run", "slow.py", "--http", address)
    assert_refused(result, 1, address, "another port with --http")
    assert "starting" not in result.err


def test_the_token_is_in_no_log_and_on_the_command_line_it_is_warned_of(serve: Serve) -> None:
    url, running = serve(f"--http 127.0.0.1:0 --token {TOKEN} --log-level debug")
    assert httpx.post(f"{url}/api/v1/drain", headers=BEARER, timeout=20).status_code == 200
    assert running.end() == 0
    said = []
    while not running.err.empty():
        said.append(running.err.get())
    assert TOKEN not in "".join(said)


def test_a_token_from_the_environment_is_taken_and_shown_nowhere(
    start: Callable[..., Running],
    process: Command,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("slow.py", SLOW)
    helped = process("run", "--help", HEADRACE_TOKEN=TOKEN)
    assert "--token" in helped.out
    assert TOKEN not in helped.out
    refused = process("run", "slow.py", "--http", "127.0.0.1:0", HEADRACE_TOKEN="größe-und-mehr")
    assert_refused(refused, 2, "HEADRACE_TOKEN is what it is", "ASCII")
    assert "größe" not in refused.err


def test_an_address_that_others_can_reach_is_warned_of_where_there_is_no_token(serve: Serve) -> None:
    url, running = serve("--http 0.0.0.0:0")
    assert get(url.replace("0.0.0.0", "127.0.0.1") + "/livez").status_code == 200
    running.signal(signal.SIGTERM)
    assert running.end() == 0


def test_without_http_nothing_of_it_is_imported() -> None:
    code = "import sys, engine.cli.app, headrace; print(sorted({'hypercorn', 'starlette', 'h11'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "[]\n"


def test_features_are_switched_off_by_settings(serve: Serve, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    write("headrace.toml", 'http_api = false\nhttp_hosts = "stream.example, other.example"\n')
    url, _ = serve()
    assert get(f"{url}/api/v1/status").status_code == 404
    assert get(f"{url}/livez", headers={"Host": "other.example"}).status_code == 200
    assert get(f"{url}/livez", headers={"Host": "evil.example"}).status_code == 421


def test_a_reloading_process_hands_the_token_on_where_nobody_sees_it(tmp_path: Path) -> None:
    settings = read(tmp_path, http="127.0.0.1:8080", token=TOKEN)
    command = _command(["app.py"], tmp_path, None, settings)
    assert command[command.index("--http") + 1] == "127.0.0.1:8080"
    assert TOKEN not in " ".join(command)
    assert _surroundings(settings) == dict(os.environ) | {"HEADRACE_TOKEN": TOKEN}


def test_json_is_what_logs_are(serve: Serve) -> None:
    _, running = serve()
    running.signal(signal.SIGTERM)
    assert json.loads(running.until(running.err, "ended")[-1])["topology"] == "mill"
