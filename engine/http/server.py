"""Serving the app with hypercorn, in the engine's own event loop; clients that do not read are cut off."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from logging import getLogger
from typing import Any, cast

from anyio import move_on_after
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.types import ASGIApp

from actors import HeadraceError

logger = getLogger("headrace.http")
CONNECTIONS = 256
"""The most connections at once; who comes then is let go at once."""
BACKLOG = 100
STALL = 10.0
"""Seconds within which a client has to take what fills its buffer."""
BUFFER = 64 * 1024
"""Bytes that may wait for a client here; and about as many in the system's own buffer."""
GRACE = 2.0
"""Seconds that answers under way may take at the end."""


class AddressError(HeadraceError):
    """An address that cannot be listened on: says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """Read `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`. Raises `AddressError`."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise AddressError(f"{text!r:.80} is no address to listen on; write 127.0.0.1:8080, or [::1]:8080")
    return Address(host, int(port))


def listen(address: Address) -> list[socket.socket]:
    """Sockets that listen there, one for each family that the name has. Raises `AddressError`."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressError(f"{address}: {address.host} is not known here: {error}") from error
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, host in dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found):
            sockets.append(_bound(family, host, port))
            port = port or sockets[0].getsockname()[1]
    except OSError as error:
        for each in sockets:
            each.close()
        raise AddressError(f"{address}: {_why(error)}") from error
    return sockets


def _bound(family: int, host: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Those that are accepted have it from here: without it the system keeps megabytes for each that does not read.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)  # now, so that another who wants the address is told before its engine starts
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "somebody else listens there already; end that, or choose another port with --http"
        case errno.EACCES:
            return "this port is not allowed to this user; choose one from 1024 on with --http"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; 127.0.0.1 and 0.0.0.0 it has"
    return f"cannot be listened on: {error.strerror or error}"


def urls(sockets: list[socket.socket]) -> list[str]:
    """Where a browser finds what listens."""
    names = [each.getsockname() for each in sockets]
    return [f"http://{Address(name[0], name[1])}" for name in names]


@asynccontextmanager
async def serving(app: ASGIApp, sockets: list[socket.socket]) -> AsyncIterator[None]:
    """Serve the app while the block runs; afterwards answers under way have `GRACE` seconds. Closes the sockets."""
    connections = Connections(app)
    servers: list[asyncio.Server] = []
    try:
        servers += [await asyncio.start_server(connections.serve, sock=each, limit=BUFFER) for each in sockets]
        yield
    finally:
        for server in servers:
            server.close()
        for each in sockets:
            each.close()
        with move_on_after(GRACE + STALL, shield=True):
            await connections.end()


class Connections:
    """The open connections, each with hypercorn's server behind it."""

    def __init__(self, app: ASGIApp, most: int = CONNECTIONS) -> None:
        self.app = ASGIWrapper(cast(Any, app))
        self.most = most
        self.config = _config()
        self.context = WorkerContext(None)
        self.refused = 0
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; told by the event loop when one comes."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self.most:
            self.refused += 1
            writer.transport.abort()
            return
        writer.transport.set_write_buffer_limits(high=BUFFER)
        self._open[task] = writer
        patient: Any = Patient(writer)
        loop = asyncio.get_running_loop()
        try:
            await TCPServer(self.app, loop, self.config, self.context, {}, reader, patient)
        except Exception as error:
            logger.warning("a connection ended: %r", error)
        finally:
            writer.transport.abort()  # does nothing to one that was closed and has sent all it had
            del self._open[task]

    async def end(self) -> None:
        """Let the connections end: idle ones at once, those that answer within `GRACE` seconds."""
        await self.context.terminated.set()
        if self._open:
            await asyncio.wait(list(self._open), timeout=GRACE)
        for task, writer in list(self._open.items()):
            writer.transport.abort()
            task.cancel()
        if self._open:
            await asyncio.wait(list(self._open), timeout=GRACE)


class Patient:
    """A writer that waits for its client, but not for ever: who takes nothing for `STALL` seconds is cut off."""

    def __init__(self, writer: asyncio.StreamWriter, stall: float = STALL) -> None:
        self._writer = writer
        self.stall = stall
        self.write = writer.write
        self.write_eof = writer.write_eof
        self.close = writer.close
        self.get_extra_info = writer.get_extra_info

    async def drain(self) -> None:
        """Wait until the client has taken most of what waits for it. Raises `ConnectionError`."""
        await self._within(self._writer.drain)

    async def wait_closed(self) -> None:
        """Wait until the client has taken all that waits for it. Raises `ConnectionError`."""
        await self._within(self._writer.wait_closed)

    async def _within(self, wait: Any) -> None:
        with move_on_after(self.stall) as patience:
            await wait()
        if patience.cancelled_caught:
            self._writer.transport.abort()
            raise ConnectionAbortedError(f"a client took nothing for {self.stall:g} s")


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = 15.0
    config.h2_max_concurrent_streams = 16
    config.websocket_max_message_size = 1024
    return config
