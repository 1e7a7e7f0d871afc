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

from anyio import CancelScope, move_on_after
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.types import ASGIApp

from actors import HeadraceError
from engine.http.patience import Answering, Idle, Patient
from engine.settings import SettingsError

logger = getLogger("headrace.http")
CONNECTIONS = 256
"""The most connections at once; who comes then is let go at once."""
BACKLOG = 100
STALL = 10.0
"""Seconds within which a client has to take what fills its buffer, or its window."""
BUFFER = 64 * 1024
"""Bytes that may wait for a client here; and about as many in the system's own buffer."""
GRACE = 2.0
"""Seconds that answers under way may take at the end."""


class AddressError(HeadraceError):
    """An address that cannot be listened on: says which, why, and what to do."""


class NoAddress(AddressError, SettingsError):
    """What was written is no address at all."""


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
    """Read `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`. Raises `NoAddress`."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise NoAddress(f"{text!r:.80} is no address to listen on; write 127.0.0.1:8080, or [::1]:8080")
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
        # Head and body of an answer are two writes: the second would wait for the first to be acknowledged, 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
async def serving(connections: "Connections", sockets: list[socket.socket]) -> AsyncIterator[None]:
    """Serve what connects there while the block runs; then answers under way have a moment. Closes the sockets."""
    servers: list[asyncio.Server] = []
    try:
        servers += [await asyncio.start_server(connections.serve, sock=each, limit=BUFFER) for each in sockets]
        yield
    finally:
        for server in servers:
            server.close()
        for each in sockets:
            each.close()
        with CancelScope(shield=True):
            await connections.end()


class Connections:
    """The open connections, each with hypercorn's server behind it."""

    def __init__(self, app: ASGIApp, most: int = CONNECTIONS, stall: float = STALL, grace: float = GRACE) -> None:
        self.app = app
        self.most = most
        self.stall = stall
        self.grace = grace
        self.config = _config()
        self.context = WorkerContext(None)
        self.refused = 0
        self._open: dict[CancelScope, tuple[asyncio.StreamWriter, Idle]] = {}
        self._none_open = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; told by the event loop when one comes."""
        if len(self._open) >= self.most:
            self.refused += 1
            writer.transport.abort()
            return
        writer.transport.set_write_buffer_limits(high=BUFFER)
        loop = asyncio.get_running_loop()
        with CancelScope() as scope:  # not the task: the event loop reports those that are cancelled as faults
            idle = Idle(loop, writer)
            self._open[scope] = writer, idle
            self._none_open.clear()
            patient: Any = Patient(writer, self.stall, scope.cancel)
            answering = Answering(self.app, idle, patient)
            server = TCPServer(cast(Any, answering), loop, self.config, self.context, {}, reader, patient)
            server.idle_task, answering.server = cast(Any, idle), server
            try:
                await server
            except Exception as error:
                logger.warning("a connection ended: %r", error)
            finally:
                writer.transport.abort()  # does nothing to one that was closed and has sent all it had
                del self._open[scope]
                if not self._open:
                    self._none_open.set()

    async def end(self) -> None:
        """Let the connections end: idle ones at once, those that answer within `grace` seconds."""
        await self.context.terminated.set()
        for writer, idle in self._open.values():
            if idle.since is not None:
                writer.close()
        with move_on_after(self.grace):
            await self._all_gone()
        for scope, (writer, _) in list(self._open.items()):
            writer.transport.abort()
            scope.cancel()
        with move_on_after(self.grace):
            await self._all_gone()

    async def _all_gone(self) -> None:
        while self._open:
            await self._none_open.wait()


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.h2_max_concurrent_streams = 16
    config.websocket_max_message_size = 1024
    return config
