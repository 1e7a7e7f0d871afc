"""The life of one server process: started, asked, stopped, killed, paused, and started again with its data."""

import abc
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio.to_thread

from tests.servers.certificates import Certificates
from tests.servers.ports import LOOPBACK, free_port
from tests.servers.reaper import Reaper, kill_group


class ServerFailed(Exception):
    """A server did not start, or ended without being told to. The message ends with the tail of its log."""


class Server(abc.ABC):
    """A server on loopback ports of its own, with a data folder of its own.

    Ports and data stay the same from one start to the next. A subclass says how the program is called (`command`,
    `environment`), writes its configuration (`prepare`) and knows how to tell that it is ready (`answers`).

    `user` and `password` may log in where a login is asked for. `settings` are lines of the server's own
    configuration, added to those of the tests or put in their place.
    """

    name: ClassVar[str]
    scheme: ClassVar[str]
    patience: ClassVar[float] = 40.0  # seconds from the start of the process to its first answer

    host = LOOPBACK
    user = "headrace"
    password = "brook"

    def __init__(
        self, folder: Path, certificates: Certificates, reaper: Reaper, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.certificates = certificates
        self.settings = dict(settings or {})
        self.port = free_port()
        self.proxy_port = free_port()
        self._reaper = reaper
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False
        self._paused = False

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write into the folder what the program reads; called once, before the first start."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments. It has to stay in the foreground and to log to its output."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Ask the server, as a client would, whether it takes work now."""

    def environment(self) -> dict[str, str]:
        """Return what the program finds in its environment."""
        return dict(os.environ)

    @property
    def url(self) -> str:
        """Where a client connects to, without TLS and, unless the server insists, without a login."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def proxied_port(self) -> int:
        """The port that a proxy on `proxy_port` carries to."""
        return self.port

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process, as long as there is one."""
        if self._process is None:
            raise ServerFailed(f"{self.name} has not been started.")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers: the same ports and the same data as before."""
        self.launch()
        self.wait_until_it_answers()

    def launch(self) -> None:
        """Start the process without waiting for it. Does nothing where it runs already."""
        if self.running:
            return
        if not self._prepared:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.prepare()
            self._prepared = True
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: signalled as a whole, and out of reach of Ctrl-C
            )
        self._reaper.watch(self._process.pid)

    def wait_until_it_answers(self) -> None:
        """Wait for the first answer, at most `patience` seconds."""
        began = time.monotonic()
        while not self.answers():
            if not self.running:
                raise self._failure("ended while starting")
            if time.monotonic() - began > self.patience:
                raise self._failure(f"did not answer within {self.patience:g} s of its start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server the way an administrator would (SIGTERM) and wait for its end."""
        if not self.running:
            return
        self.resume()
        os.kill(self.pid, signal.SIGTERM)
        self._wait_for_the_end()

    def kill(self) -> None:
        """Kill -9 the server: it has no time to write down anything, and its connections break."""
        if self.running:
            self._wait_for_the_end(patience=0)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): its connections stay open and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        if self._paused:
            os.killpg(self.pid, signal.SIGCONT)
            self._paused = False

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) the server and start it again."""
        self.kill() if kill else self.stop()
        self.start()

    def ensure(self) -> None:
        """Start or resume what a test has stopped, killed or paused.

        A server that ended by itself is a failure, raised once; the next call starts it again.
        """
        if self._process is not None and not self.running:
            code = self._process.returncode
            self._wait_for_the_end(patience=0)
            raise self._failure(f"ended by itself with code {code}")
        self.resume()
        self.start()

    async def async_start(self) -> None:
        """`start` in a thread, so that the loop goes on."""
        await anyio.to_thread.run_sync(self.start)

    async def async_stop(self) -> None:
        """`stop` in a thread, so that the loop goes on."""
        await anyio.to_thread.run_sync(self.stop)

    async def async_restart(self, *, kill: bool = False) -> None:
        """`restart` in a thread, so that the loop goes on."""
        await anyio.to_thread.run_sync(partial(self.restart, kill=kill))

    def log(self, lines: int = 40) -> str:
        """Return the last lines that the server has logged."""
        try:
            return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def _wait_for_the_end(self, patience: float = 20) -> None:
        process = self._process
        assert process is not None
        if patience:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                kill_group(process.pid)
        kill_group(process.pid)  # what the server has started itself goes with it
        process.wait()
        self._reaper.forget(process.pid)
        self._process = None
        self._paused = False

    def _failure(self, what: str) -> ServerFailed:
        return ServerFailed(f"{self.name} {what}. The end of its log:\n{self.log()}")

    def __repr__(self) -> str:
        state = "paused" if self._paused else "running" if self.running else "stopped"
        return f"<{type(self).__name__} {state} on {self.host}:{self.port}>"
