"""A TCP proxy in front of a server that breaks connections the way networks do."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from tests.servers.process import Server

Direction = Literal["requests", "answers"]

_CHUNK = 64 * 1024
_STEPS = 20  # a second, in which a slow connection carries its bytes
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing throws away what is unsent and sends RST


class Proxy:
    """Carries bytes between clients and a server, and on demand does not. Runs in the loop of the test.

    Counts what it did, so that a test can assert that the fault which it is about took place: `accepted` and
    `refused` connections, `resets` of connections, and bytes in each direction: `carried`, and `lost` in a reset after
    they had been taken from their sender.
    """

    def __init__(self, server: Server, port: int | None = None) -> None:
        """Stand in front of a server's plain port, or of another port of it (not Kafka: it names its ports itself)."""
        self.host = server.host
        self.port = server.proxy_port
        self.accepted = 0
        self.refused = 0
        self.resets = 0
        self.carried: dict[Direction, int] = {"requests": 0, "answers": 0}
        self.lost: dict[Direction, int] = {"requests": 0, "answers": 0}
        self._server = server
        self._target = server.proxied_port if port is None else port
        self._open = {"requests": _open_gate(), "answers": _open_gate()}
        self._rate: float | None = None
        self._refusing = False
        self._links: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The server's plain URL with the proxy's port in it."""
        parts = urlsplit(self._server.url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}{self.host}:{self.port}"))

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    def reset(self) -> None:
        """Break every connection with a reset; what was under way is lost. New connections are taken."""
        self.resets += len(self._links)
        for link in self._links:
            link.cancel()

    def cut(self) -> None:
        """Break every connection with a reset, and new ones as soon as they come, until `mend`."""
        self._refusing = True
        self.reset()

    def stall(self, *directions: Direction) -> None:
        """Carry nothing any more, in these directions or in both, until `mend`; connections stay and new ones hang.

        What a sender goes on sending is kept and carried after `mend`, unless a `reset` comes before.
        """
        for direction in directions or ("requests", "answers"):
            self._open[direction].clear()

    def slow(self, bytes_per_second: float) -> None:
        """Carry no more than this on each connection and in each direction, until `mend`."""
        self._rate = bytes_per_second

    def mend(self) -> None:
        """End all faults."""
        self._refusing = False
        self._rate = None
        for gate in self._open.values():
            gate.set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, self.host, self.port, limit=_CHUNK)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self.refused += 1
            _abort(writer)
            return
        self.accepted += 1
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        ends = [writer]
        try:
            behind = await asyncio.open_connection(self.host, self._target, limit=_CHUNK)
            ends.append(behind[1])
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry("requests", reader, behind[1]))
                both.create_task(self._carry("answers", behind[0], writer))
        except* (OSError, RuntimeError, asyncio.CancelledError):  # the second from uvloop, where asyncio has the first
            pass  # One end went, or a reset was asked for: either way both ends learn of it below.
        finally:
            for end in ends:
                _abort(end)
            self._links.discard(link)

    async def _carry(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry until the sender has no more to say, then tell the receiver so."""
        while data := await reader.read(_CHUNK):
            try:
                await self._open[direction].wait()
            except asyncio.CancelledError:
                self.lost[direction] += len(data)
                raise
            while data and self._rate:
                step = max(1, int(self._rate / _STEPS))
                writer.write(data[:step])
                data = data[step:]
                self.carried[direction] += step
                await asyncio.sleep(step / self._rate)
            writer.write(data)
            await writer.drain()
            self.carried[direction] += len(data)
        await self._open[direction].wait()
        writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset; one that is closed already stays so."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:  # uvloop lets go of the socket of one that is closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
