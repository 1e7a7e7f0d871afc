"""Several servers that make one service."""

import time
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import anyio.to_thread

from tests.servers.process import Server, ServerFailed


class Fleet:
    """Servers that start in order and stop in the reverse, together. Each of `nodes` may be hurt on its own."""

    patience: ClassVar[float] = 20.0  # seconds from the last node's start until the whole is ready

    def __init__(self, *nodes: Server) -> None:
        self.nodes: Sequence[Server] = nodes
        self._assembled = False

    def assemble(self) -> None:
        """Make one service of the nodes; called once, when all run for the first time."""

    def ready(self) -> bool:
        """Whether the nodes have found together."""
        return True

    @property
    def running(self) -> bool:
        """Whether all nodes run."""
        return all(node.running for node in self.nodes)

    def start(self) -> None:
        """Start every node that does not run and wait until the whole is ready."""
        for node in self.nodes:
            node.start()
        if not self._assembled:
            self.assemble()
            self._assembled = True
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop all nodes, the last first: one that watches others is not to see them go."""
        for node in reversed(self.nodes):
            node.stop()

    def kill(self) -> None:
        """Kill -9 all nodes, the last first."""
        for node in reversed(self.nodes):
            node.kill()

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) all nodes and start them again."""
        self.kill() if kill else self.stop()
        self.start()

    def ensure(self) -> None:
        """Start or resume what a test has stopped, killed or paused."""
        for node in self.nodes:
            node.ensure()
        self.start()

    async def async_restart(self, *, kill: bool = False) -> None:
        """`restart` in a thread, so that the loop goes on."""
        await anyio.to_thread.run_sync(partial(self.restart, kill=kill))

    def log(self, lines: int = 40) -> str:
        """Return the last lines that each node has logged."""
        return "\n".join(f"-- {node!r}\n{node.log(lines)}" for node in self.nodes)

    def _wait_until_ready(self) -> None:
        began = time.monotonic()
        while not self.ready():
            if time.monotonic() - began > self.patience:
                raise ServerFailed(f"{self!r} was not ready within {self.patience:g} s:\n{self.log(10)}")
            time.sleep(0.02)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(map(repr, self.nodes))}>"
