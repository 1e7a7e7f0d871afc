"""Connections to Redis: one server, the primary that sentinels name, or the nodes of a cluster.

redis-py's `Connection` connects, logs in and parses. Commands are packed by hiredis and exchanged run-wise, past
redis-py's client: that costs a quarter of its pipeline.
"""

import asyncio
import math
from asyncio import Lock
from collections.abc import Callable, Iterable, Sequence
from ssl import SSLContext
from typing import Any

import hiredis
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.brokers.redis_errors import PASSING, answer, code, said, trouble, unusable
from engine.brokers.redis_options import Address, Target, shown

Command = tuple[str | bytes | int, ...]
SLOWEST = 10_000
"""Bytes a second under which a connection counts as broken."""

pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub knows tuples of one
"""A command as Redis reads it."""


class Servers:
    """Where each key is, as one source or sink has learned it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._slots: list[tuple[int, int, Address]] = []
        """First slot, last slot, and the node that has them."""
        self._context: SSLContext | None = None

    async def place(self, key: str) -> Address:
        """The address of the server that holds a key."""
        target = self.target
        if target.kind == "single":
            return target.addresses[0]
        if target.kind == "sentinel":
            return await self._primary()
        if not self._slots:
            self._slots = await self._map()
        slot = key_slot(key.encode())
        for first, last, address in self._slots:
            if first <= slot <= last:
                return address
        self._slots = []
        raise BrokerUnavailable(f"redis {target.where}: no node has the slot of {key}")

    def forget(self) -> None:
        """What was learned is no longer true."""
        self._slots = []

    async def connect(self, address: Address, sentinel: bool = False) -> Connection:
        """A new connection to a server, logged in; raises `BrokerUnavailable` or `BrokerRefused`."""
        options = self.target.options
        connection = None
        try:
            async with asyncio.timeout(options.connect_timeout):
                connection = self._connection(address, sentinel)
                await connection.connect()
        except (RedisError, OSError) as error:
            hint = ": does this port speak TLS?" if self.target.tls and isinstance(error, TimeoutError) else ""
            raise trouble(error, f"redis {shown(address)}", hint) from None
        except BaseException:
            if connection is not None:
                await connection.disconnect(nowait=True)
            raise
        return connection

    def _connection(self, address: Address, sentinel: bool) -> Connection:
        options = self.target.options
        secret = options.sentinel_password if sentinel else options.password
        known: dict[str, Any] = {
            # redis-py's defaults end every read after 5 s and speak RESP3, whose answers have other shapes.
            "socket_timeout": None,
            "protocol": 2,
            "socket_connect_timeout": options.connect_timeout,
            "client_name": options.name or None,
            "username": options.sentinel_user if sentinel else options.user,
            "password": secret and secret.get_secret_value(),
            "db": 0 if sentinel else options.database,
            **options.client,
        }
        host, port = address
        if not port:
            return UnixDomainSocketConnection(path=host, **known)  # type: ignore[return-value]  # the same to us
        if not self.target.tls:
            return Connection(host=host, port=port, **known)
        if self._context is None:
            try:
                self._context = self.target.context()
            except OSError as error:
                raise unusable(error, f"redis {shown(address)}") from None
        made = SSLConnection(host=host, port=port, **known)
        made.ssl_context.context = self._context
        return made

    async def _primary(self) -> Address:
        target = self.target
        found = await self._first("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service)
        if not found:
            raise BrokerRefused(
                f"redis {target.where}: no sentinel knows a service {target.service}\n"
                "  correct the service's name, which follows the hosts in the URL"
            )
        return found[0].decode(), int(found[1])

    async def _map(self) -> list[tuple[int, int, Address]]:
        found = await self._first("CLUSTER", "SLOTS")
        return [(first, last, (node[0].decode(), node[1])) for first, last, node, *_ in found or ()]

    async def _first(self, *command: str) -> Any:
        """The first answer that says something, of those servers whose addresses are known; else the worst error."""
        errors: list[BrokerError] = []
        for address in self.target.addresses:
            wire = Wire(self, address=address, sentinel=self.target.kind == "sentinel")
            try:
                if found := await wire.ask(*command):
                    return [_named(part, address) for part in found] if command[0] == "CLUSTER" else found
            except (BrokerUnavailable, BrokerRefused) as error:
                errors.append(error)
            finally:
                await wire.close()
        if errors:
            raise next((error for error in errors if isinstance(error, BrokerRefused)), errors[0])
        return None


def _named(part: list[Any], asked: Address) -> list[Any]:
    """A range of slots; a node that does not know its own name leaves it out."""
    first, last, (host, port, *_), *_ = part
    return [first, last, (host or asked[0].encode(), port)]


class Wire:
    """One connection, made when it is needed and made anew when it broke. Exchanges take turns.

    It belongs to a key, and is where that key is, or to an address.
    """

    def __init__(self, servers: Servers, key: str = "", address: Address | None = None, sentinel: bool = False) -> None:
        self._servers = servers
        self._key = key
        self._address = address
        self._sentinel = sentinel
        self._connection: Connection | None = None
        self._turn = Lock()
        self.timeout = servers.target.options.timeout

    @property
    def where(self) -> str:
        """Server and key, for errors."""
        return self.where_of(self._key)

    def where_of(self, key: str) -> str:
        """Server and another key."""
        where = shown(self._address) if self._address else self._servers.target.where
        return f"redis {where}, {key}" if key else f"redis {where}"

    async def ask(self, *command: str | bytes | int, wait: float = 0.0) -> Any:
        """One command's answer; raises what a server's no means."""
        (reply,) = await self.exchange((command,), wait=wait)
        if isinstance(reply, ResponseError):
            raise answer(reply, self.where)
        return reply

    async def exchange(self, commands: Sequence[Command], wait: float = 0.0) -> list[Any]:
        """Send commands in one go and return their answers: errors of single commands are among them.

        The answers may take `wait` seconds longer than others. Raises `BrokerUnavailable` and `BrokerRefused`;
        cancelled, the connection is given up.
        """
        return await self.send(b"".join(map(pack, commands)), len(commands), [], wait)

    async def send(self, data: bytes, count: int, replies: list[Any], wait: float = 0.0) -> list[Any]:
        """The same with commands that are packed: so many.

        `replies` is filled as they come, so that it tells what was answered when the connection breaks.
        """
        async with self._turn:
            try:
                connection = self._connection or await self._connect()
                async with asyncio.timeout(self.timeout + wait + len(data) / SLOWEST):
                    await connection.send_packed_command(data)
                    read = connection.read_response
                    for _ in range(count):
                        try:
                            replies.append(await read(timeout=math.inf))
                        except ResponseError as error:
                            replies.append(self._considered(error))
            except (RedisError, OSError) as error:
                await self._drop()
                raise trouble(error, self.where) from None
            except BaseException:
                await self._drop()
                raise
        return replies

    def _considered(self, error: ResponseError) -> ResponseError:
        """An answer to one command; it may say that this is the wrong server, or none for now."""
        word = code(error)
        if word in PASSING or (word == "MOVED" and self._servers.target.kind == "cluster"):
            self._servers.forget()
            raise BrokerUnavailable(f"{self.where}: {said(error)}")
        return error

    async def _connect(self) -> Connection:
        address = self._address or await self._servers.place(self._key)
        self._connection = await self._servers.connect(address, self._sentinel)
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await farewell(connection)


async def farewell(connection: Connection) -> None:
    """Close a connection that is in order: with TLS it takes two to do that."""
    try:
        await connection.disconnect()
    except (RedisError, OSError):
        pass  # it is closed all the same


def chunks(items: Sequence[Any], most: int) -> Iterable[Sequence[Any]]:
    """A sequence in parts of at most so many."""
    return (items[at : at + most] for at in range(0, len(items), most))
