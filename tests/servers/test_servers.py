"""Each server starts, answers its own client, keeps its data, and can be hurt and mended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from tests.servers import __main__ as playing
from tests.servers.nats import Nats
from tests.servers.ports import ask, free_port
from tests.servers.process import ServerFailed
from tests.servers.programs import Missing
from tests.servers.redis import Redis
from tests.servers.site import Site

pytestmark = pytest.mark.anyio


def test_a_paused_server_keeps_connections_and_is_silent_until_resumed(redis_server: Redis) -> None:
    redis_server.pause()
    assert ask(redis_server.port, b"PING\r\n", timeout=0.1) == b""
    assert redis_server.running
    redis_server.resume()
    assert ask(redis_server.port, b"PING\r\n").startswith(b"+PONG")


@pytest.mark.parametrize("hurt", [Redis.stop, Redis.kill, Redis.pause])
def test_get_returns_a_running_server_whatever_was_done_to_it_before(servers: Site, hurt) -> None:
    server = servers.get(Redis)
    address = server.url
    hurt(server)
    assert servers.get(Redis) is server
    assert server.answers()
    assert server.url == address


def test_servers_of_other_options_are_other_servers(servers: Site) -> None:
    assert servers.get(Redis, required=True) is servers.get(Redis, required=True)
    assert servers.get(Redis, required=True).port != servers.get(Redis).port


def test_a_server_that_ended_by_itself_is_reported_once_with_its_log(servers: Site) -> None:
    server = servers.get(Redis, settings={"maxclients": "50"})
    os.kill(server.pid, signal.SIGTERM)
    assert _within(10, lambda: not server.running)
    with pytest.raises(ServerFailed, match=r"(?s)ended by itself with code 0.*bye bye"):
        servers.get(Redis, settings={"maxclients": "50"})
    assert servers.get(Redis, settings={"maxclients": "50"}).answers()


def test_a_server_that_does_not_start_says_why(servers: Site) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)redis ended while starting.*no-such-setting"):
        servers.get(Redis, settings={"no-such-setting": "1"})


def test_a_missing_program_is_named_with_what_to_do(servers: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match=r"Redis is not installed.*apt-get install redis-server"):
        servers.prepare(Redis, settings={"maxclients": "60"}).start()


async def test_the_loop_goes_on_while_a_server_restarts(nats_server: Nats) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await nats_server.async_stop()
        assert not nats_server.running
        await nats_server.async_start()
        group.cancel_scope.cancel()
    assert nats_server.answers()
    assert turns > 10


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_nothing_outlives_a_session_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os\n"
        "from tests.servers.site import Site\n"
        "from tests.servers.redis import Redis\n"
        "server = Site().get(Redis)\n"
        "print(server.pid, server.folder, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, folder = done.stdout.split()
    assert _within(10, lambda: not _exists(int(pid)))
    assert _within(10, lambda: not Path(folder).exists())


def test_servers_for_playing_run_until_interrupted() -> None:
    command = [sys.executable, "-m", "tests.servers", "--only", "redis,nats"]
    environment = {**os.environ, "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        shown = ""
        while "Ctrl-C" not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        ports = [int(word.rsplit(":", 1)[1].split("/")[0]) for word in shown.split() if "://127.0.0.1:" in word]
        assert ask(ports[0], b"PING\r\n") == b"+PONG\r\n"
        assert ask(ports[1], b"").startswith(b"INFO")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not any(ask(port, b"PING\r\n") for port in ports)


def test_an_unknown_server_for_playing_is_an_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        playing.main(["--only", "redis,pulsar"])
    assert "'pulsar'. Choose from redis, nats, rabbitmq, kafka" in capsys.readouterr().err


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _within(seconds: float, condition) -> bool:
    """Wait for something outside of this process; there is no event to wait for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
