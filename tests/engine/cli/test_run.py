"""`run` as a process: its ends, its signals, its status line, and how it starts anew."""

import contextlib
import json
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from engine.cli.statusline import status_line
from engine.health.health import StageHealth
from engine.health.status import StageStatus
from tests.engine.cli.conftest import ORDERS, Command, Write, assert_refused, surroundings

FED = """
    from headrace import Crash, Memory, Supervision, Topology

    memory = Memory()
    topology = Topology("fed")


    @topology.lifespan
    async def feed(context):
        async with memory:
            for number in range(20):
                await memory.topic("in", group="fed.work").publish({"number": number})
        print("up", flush=True)
        yield
        print("down", flush=True)


    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def work(body: dict) -> dict:
        return body
    """
STUCK = FED.replace("return body", "import anyio; print('stuck', flush=True); await anyio.sleep_forever()")
SPINNING = FED.replace("return body", "print('stuck', flush=True)\n        while True: pass")
CRASHING = FED.replace("return body", 'raise Crash("not to be trusted")').replace(
    'Topology("fed")', 'Topology("fed", supervision=Supervision(intensity=0))'
)
LOOPS = ["--uvloop", "--no-uvloop"]
BROKEN = FED.replace('print("up", flush=True)', 'raise OSError("no database")')


class Running:
    """The command while it runs, its lines one by one."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "headrace", "run", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=surroundings(HEADRACE_LOG_FORMAT="json"),
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = _lines_of(self.process.stdout)
        self.err = _lines_of(self.process.stderr)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def until(self, lines: "queue.Queue[str]", word: str) -> list[str]:
        """Its next lines up to the first that holds the word."""
        read = [lines.get(timeout=30)]
        while word not in read[-1]:
            read.append(lines.get(timeout=30))
        return read

    def end(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start the command in the user's folder; kill what is left of it."""
    started: list[Running] = []

    def starting(*arguments: str) -> Running:
        started.append(Running(tmp_path, *arguments))
        return started[-1]

    yield starting
    for each in started:
        each.process.kill()
        each.process.wait()
        for stream in (each.process.stdout, each.process.stderr):
            assert stream is not None
            stream.close()


def _lines_of(stream: IO[str]) -> "queue.Queue[str]":
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        try:
            for line in stream:
                lines.put(line.rstrip("\n"))
        except ValueError:  # closed at the end of the test
            pass

    threading.Thread(target=read, daemon=True).start()
    return lines


# -- how it ends -----------------------------------------------------------------------------------------------


def test_a_burst_ends_by_itself_with_its_counts(process: Command, write: Write) -> None:
    write("fed.py", FED)
    result = process("run", "fed:topology", "--burst")
    assert result.code == 0
    assert result.out == "up\ndown\n"
    logged = [json.loads(line) for line in result.err.splitlines()]
    assert {(line["message"], line.get("topology")) for line in logged} >= {("starting", "fed"), ("ended", "fed")}
    ended = next(line for line in logged if line["message"] == "ended")
    assert (ended["received"], ended["settled"], ended["dead"]) == (20, 20, 0)


def test_several_topologies_run_in_one_process(process: Command, write: Write) -> None:
    write("fed.py", FED)
    write("orders.py", ORDERS)
    result = process("run", "fed", "orders.py:topology", HEADRACE_BURST="1", HEADRACE_LOG_FORMAT="console")
    assert result.code == 0
    ends = [
        line.split()[3] for line in result.err.splitlines() if line.split()[2:3] + line.split()[4:5] == ["]", "ended"]
    ]
    assert sorted(ends) == ["fed", "orders"]


def test_settings_come_from_the_file_in_the_folder(process: Command, write: Write) -> None:
    write("fed.py", FED)
    write("headrace.toml", 'burst = true\nlog_level = "error"\n')
    assert process("run", "fed") == (0, "up\ndown\n", "")


def test_an_unknown_key_in_the_file_is_told_with_the_known_ones(process: Command, write: Write) -> None:
    write("fed.py", FED)
    write("headrace.toml", "drian = 3\n")
    assert_refused(process("run", "fed"), 2, "headrace.toml", "drian", "drain", "log_level")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(number: int, loop: str, start: Callable[..., Running], write: Write) -> None:
    write("fed.py", FED)
    running = start("fed:topology", loop)
    running.until(running.out, "up")
    running.signal(number)
    assert running.end() == 0
    assert running.until(running.out, "down")
    last = json.loads(running.until(running.err, '"ended"')[-1])
    assert last["received"] == last["settled"] + last["returned"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(number: int, loop: str, start: Callable[..., Running], write: Write) -> None:
    write("stuck.py", STUCK)
    running = start("stuck:topology", loop)
    running.until(running.out, "stuck")
    running.signal(number)
    running.until(running.err, "draining")
    running.signal(number)
    assert running.end() == 128 + number
    assert "again: ended at once" in running.until(running.err, "headrace: ")[-1]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_signal_ends_at_once_what_never_gives_the_loop_its_turn(
    loop: str, start: Callable[..., Running], write: Write
) -> None:
    write("spinning.py", SPINNING)
    running = start("spinning:topology", loop)
    running.until(running.out, "stuck")
    running.signal(signal.SIGTERM)
    while running.process.poll() is None:
        # Two signals that come together are one: send until the process has seen the second.
        running.signal(signal.SIGTERM)
        try:
            running.process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert running.end() == 128 + signal.SIGTERM


def test_a_drain_that_takes_too_long_is_a_failure_that_says_what_was_given_back(
    start: Callable[..., Running], write: Write
) -> None:
    write("stuck.py", STUCK)
    running = start("stuck:topology", "--drain", "0.1")
    running.until(running.out, "stuck")
    running.signal(signal.SIGTERM)
    assert running.end() == 1
    assert "work" in json.loads(running.until(running.err, "not drained within 0.1 s")[-1])["message"]


def test_a_supervisor_that_gives_up_ends_the_process_with_70(process: Command, write: Write) -> None:
    write("crashing.py", CRASHING)
    result = process("run", "crashing")
    assert result.code == 70
    critical = [line for line in map(json.loads, result.err.splitlines()) if line["level"] == "critical"]
    assert [line["message"].split(":")[0] for line in critical] == ["work"]


def test_a_lifespan_that_fails_is_logged_by_its_place_and_by_the_users_own_lines(
    process: Command, write: Write
) -> None:
    write("broken.py", BROKEN)
    result = process("run", "broken")
    assert result.code == 1
    logged = json.loads(result.err.splitlines()[-1])
    assert (logged["level"], logged["message"]) == ("critical", "failed: OSError: no database (broken.py:12)")
    assert logged["exception"].count("  File ") == 1


INTERRUPTING = """
    from headrace import Memory, Topology

    memory, topology = Memory(), Topology("interrupting")


    @topology.subscriber(memory.topic("in"))
    async def work(body: dict) -> None:
        raise KeyboardInterrupt


    @topology.lifespan
    async def fill(context):
        async with memory:
            await memory.topic("in").publish({})
            yield
    """


def test_an_interrupt_that_a_handler_raises_ends_the_process_and_is_told_once(process: Command, write: Write) -> None:
    write("interrupting.py", INTERRUPTING)
    result = process("run", "interrupting")
    assert result.code == 130
    logged = [json.loads(line) for line in result.err.splitlines()]
    assert [line["message"] for line in logged if line["level"] in ("error", "critical")] == [
        "ended by a KeyboardInterrupt at interrupting.py:8"
    ]


def test_context_that_no_lifespan_sets_is_a_bad_topology(process: Command, write: Write) -> None:
    text = FED.replace("import Crash", "import Context, Crash").replace(
        "work(body: dict)", 'work(body: dict, pool: Annotated[str, Context("pool")])'
    )
    write("lacking.py", "from typing import Annotated\n" + text.replace("\n    ", "\n"))
    result = process("run", "lacking", "--log-level", "error")
    assert_refused(result, 78, "lacking.py:", "work", "pool", "lifespan")


# -- starting anew ---------------------------------------------------------------------------------------------


def test_with_reload_a_changed_file_drains_the_old_process_and_starts_a_new_one(
    start: Callable[..., Running], write: Write
) -> None:
    write("fed.py", FED)
    running = start("fed:topology", "--reload")
    running.until(running.out, "up")
    number, line = 0, None
    while line is None:  # a change that comes before the watching begins is not seen
        write("fed.py", FED.replace('"up"', f'"up again {(number := number + 1)}"'))
        with contextlib.suppress(queue.Empty):
            line = running.out.get(timeout=2)
    assert line == "down"
    running.until(running.out, "up again")
    running.signal(signal.SIGTERM)
    assert running.end() == 0
    running.until(running.out, "down")


def test_with_reload_a_broken_module_is_told_and_mended(start: Callable[..., Running], write: Write) -> None:
    write("fed.py", "def f(:\n")
    running = start("fed:topology", "--reload")
    running.until(running.err, "waiting for a change")
    write("fed.py", FED)
    running.until(running.out, "up")
    running.signal(signal.SIGINT)
    assert running.end() == 0


# -- the status line -------------------------------------------------------------------------------------------


def status(**counts: object) -> StageStatus:
    plain: dict[str, object] = dict.fromkeys(StageStatus.__dataclass_fields__, 0)
    plain |= {"topology": "t", "stage": "s", "kind": "subscriber", "connected": True}
    return StageStatus(**{**plain, **counts})  # type: ignore[arg-type]


def test_the_status_line_tells_the_sums_over_all_stages() -> None:
    stages = [status(received=1200, settled=1100, depth=5, busy=2, held=1), status(settled=34)]
    assert status_line(stages, 512.4, False).plain == "● running  in 1,200  done 1,134  512/s  held 8"


def test_the_status_line_tells_what_to_look_at() -> None:
    stages = [status(waiting_for_retry=3, dead=2, restarts=1), status(stage="out", connected=False)]
    assert status_line(stages, 0, True).plain == (
        "● draining  in 0  done 0  0/s  held 0  to be retried 3  dead 2  restarts 1  waiting for the broker of out"
    )


def test_the_status_line_names_the_stage_that_stalls_and_not_those_that_wait_for_it() -> None:
    stalled = [
        StageHealth(
            "t", "orders", True, 75.0, 72.0, "downstream", True, "orders has waited 72 s for a stage behind it"
        ),
        StageHealth("t", "bill", True, None, 71.4, "handler", True, "bill's handler has been at a message for 71 s"),
    ]
    assert status_line([status()], 0, False, stalled).plain.endswith("held 0  stalled bill (handler, 71 s)")
    assert status_line([status()], 0, False, stalled[:1]).plain.endswith("stalled orders (downstream, 72 s)")


def test_on_a_terminal_a_status_line_shows_while_it_runs_and_is_gone_after(tmp_path: Path, write: Write) -> None:
    write("fed.py", FED)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "headrace", "run", "fed:topology"],
        cwd=tmp_path,
        stdin=follower,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env=surroundings(TERM="xterm-256color"),
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    while b"done 20" not in shown:
        shown += os.read(leader, 4096)
    process.send_signal(signal.SIGTERM)
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    assert process.wait(30) == 0
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
    assert b"ended" in shown[shown.rfind(b"\x1b[2K") :]


OUT_OF_REACH = """
from headrace import BrokerUnavailable, Memory, Topology




topology = Topology("away")
memory = Memory()


@topology.subscriber(memory.topic("orders"))
async def work(order: dict) -> None: ...


async def away(self):
    raise BrokerUnavailable("nobody answers at 192.0.2.1")


type(memory.topic("orders").source("g")).open = away
"""


def test_a_broker_out_of_reach_is_waited_for_and_ends_the_process_with_69_only_where_asked(
    process: Command, start: Callable[..., Running], write: Write
) -> None:
    write("away.py", OUT_OF_REACH)
    result = process("run", "away", "--require-healthy", "0.3")
    assert result.code == 69
    last = [line for line in map(json.loads, result.err.splitlines()) if line["level"] == "critical"]
    assert "work: orders: nobody answers at 192.0.2.1" in last[0]["message"]
    running = start("away:topology")
    running.until(running.err, "next try in")
    running.signal(signal.SIGTERM)
    assert running.end() == 0
