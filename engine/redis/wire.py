"""Where keys are in Redis, and commands to there: one server, a primary that sentinels name, the nodes of a cluster."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Connection
from redis.crc import key_slot
from redis.exceptions import ResponseError

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.redis.connection import Command, Parser, connect, farewell, pack
from engine.redis.errors import LOST, PASSING, answer, code, said, trouble
from engine.redis.options import Address, Target, shown

SLOWEST = 10_000
"""Bytes a second under which a connection counts as broken."""


class Servers:
    """Where each key is, as one source or sink has learned it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._slots: list[tuple[int, int, Address]] = []
        """First slot, last slot, and the node that has them."""
        self._asked = list(target.addresses)
        """Whom to ask: those in the URL, and whoever they have named."""

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
        raise BrokerUnavailable(f"Redis at {target.where}: no node has the slot of {key}")

    def forget(self) -> None:
        """What was learned is no longer true."""
        self._slots = []

    async def _primary(self) -> Address:
        target = self.target
        found = await self._first("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service)
        if not found:
            raise BrokerRefused(
                f"Redis at {target.where}: no sentinel knows a service {target.service}\n"
                "  correct the service's name, which follows the hosts in the URL"
            )
        return found[0].decode(), int(found[1])

    async def _map(self) -> list[tuple[int, int, Address]]:
        found = await self._first("CLUSTER", "SLOTS") or ()
        named = {(host.decode(), port) for _, _, *nodes in found for host, port, *_ in nodes}
        self._asked = list(dict.fromkeys((*self.target.addresses, *sorted(named))))
        return [(first, last, (node[0].decode(), node[1])) for first, last, node, *_ in found]

    async def _first(self, *command: str) -> Any:
        """The first answer that says something, of those servers whose addresses are known; else the worst error."""
        errors: list[BrokerError] = []
        for address in self._asked:
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
    """A range of slots and its nodes, the primary first; a node that does not know its own name leaves it out."""
    first, last, *nodes = part
    return [first, last, *([node[0] or asked[0].encode(), *node[1:]] for node in nodes)]


class Wire:
    """One connection, made when it is needed and made anew when it broke. Exchanges take turns.

    It belongs to a key, and is where that key is, or to an address.
    """

    def __init__(self, servers: Servers, key: str = "", address: Address | None = None, sentinel: bool = False) -> None:
        self._servers = servers
        self._key = key
        self._address = address
        self._sentinel = sentinel
        self._connected: tuple[Connection, Parser] | None = None
        self._turn = asyncio.Lock()
        self.timeout = servers.target.options.timeout

    @property
    def connected(self) -> bool:
        """Whether there is a connection, which the server has answered on."""
        return self._connected is not None

    @property
    def where(self) -> str:
        """Server and key, for errors."""
        return self.where_of(self._key)

    def where_of(self, key: str) -> str:
        """Server and another key."""
        where = shown(self._address) if self._address else self._servers.target.where
        return f"Redis at {where}, {key}" if key else f"Redis at {where}"

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
                connection, parser = self._connected or await self._connect()
                async with asyncio.timeout(self.timeout + wait + len(data) / SLOWEST):
                    await connection.send_packed_command(data)
                    await parser.read_run(count, replies)
                self._consider(replies)
            except LOST as error:
                await self._drop()
                raise trouble(error, self.where) from None
            except BaseException:
                await self._drop()
                raise
        return replies

    def _consider(self, replies: list[Any]) -> None:
        """An answer may say that this is the wrong server, or none for now: what came with it stays in `replies`."""
        for reply in replies:
            if isinstance(reply, ResponseError):
                word = code(reply)
                if word in PASSING or (word == "MOVED" and self._servers.target.kind == "cluster"):
                    raise BrokerUnavailable(f"{self.where}: {said(reply)}")

    async def _connect(self) -> tuple[Connection, Parser]:
        address = self._address or await self._servers.place(self._key)
        self._connected = await connect(self._servers.target, address, self._sentinel)
        return self._connected

    async def _drop(self) -> None:
        self._servers.forget()  # where there are several, another one may have taken its place
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected[0].disconnect(nowait=True)

    async def close(self) -> None:
        """Let go of the connection."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await farewell(connected[0])


def chunks(items: Sequence[Any], most: int) -> Iterable[Sequence[Any]]:
    """A sequence in parts of at most so many."""
    return (items[at : at + most] for at in range(0, len(items), most))
