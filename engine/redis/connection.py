"""Connections by redis-py: connected, logged in and secured by it; runs of commands and answers go past its client."""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from actors import BrokerRefused
from engine.redis.errors import LOST, trouble, unusable
from engine.redis.options import Address, Target, shown

Command = tuple[str | bytes | int, ...]
READ_SIZE = 256 * 1024
"""Bytes that are read at once."""

pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub knows tuples of one
"""A command as Redis reads it."""


class Parser(DefaultParser):  # type: ignore[misc,valid-type]  # by name redis-py's is a variable
    """redis-py's parser, which reads a whole run of answers as well: one by one each passes through four coroutines."""

    def on_connect(self, connection: Connection) -> None:
        super().on_connect(connection)
        self._nothing = self._reader.gets()  # what its reader says as long as an answer is not complete

    async def read_run(self, count: int, replies: list[Any]) -> None:
        """Append the next so many answers as they come; errors are among them."""
        gets, nothing = self._reader.gets, self._nothing
        while count:
            reply = gets()
            if reply is nothing:
                await self.read_from_socket()
            elif isinstance(reply, RedisConnectionError):
                raise reply
            else:
                replies.append(reply)
                count -= 1


async def connect(target: Target, address: Address, sentinel: bool = False) -> tuple[Connection, Parser]:
    """A new connection to a server or sentinel, logged in; raises `BrokerUnavailable` or `BrokerRefused`."""
    parsers: list[Parser] = []

    def parser(socket_read_size: int) -> Parser:
        parsers.append(Parser(socket_read_size=socket_read_size))
        return parsers[-1]

    where = f"Redis at {shown(address)}"
    connection = _made(target, address, sentinel, {"parser_class": parser, "socket_read_size": READ_SIZE}, where)
    try:
        async with asyncio.timeout(target.options.connect_timeout):
            await connection.connect()
    except BaseException as error:
        await connection.disconnect(nowait=True)
        if not isinstance(error, LOST):
            raise
        hint = ": does this port speak TLS?" if target.tls and isinstance(error, TimeoutError) else ""
        raise trouble(error, where, hint) from None
    return connection, parsers[-1]


def _made(target: Target, address: Address, sentinel: bool, parsing: dict[str, Any], where: str) -> Connection:
    options = target.options
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
        **parsing,
        **options.client,
    }
    host, port = address
    try:
        if not port:
            return UnixDomainSocketConnection(path=host, **known)  # type: ignore[return-value]  # the same to us
        if not target.tls:
            return Connection(host=host, port=port, **known)
        secured = SSLConnection(host=host, port=port, **known)
        secured.ssl_context.context = target.context
    except OSError as error:
        raise unusable(error, where) from None
    except (TypeError, RedisError) as error:
        raise BrokerRefused(f"{where}: {error}\n  correct client={{...}} of Redis(...)") from None
    return secured


async def farewell(connection: Connection) -> None:
    """Close a connection that is in order: with TLS it takes two to do that."""
    try:
        await connection.disconnect()
    except LOST:
        pass  # it is closed all the same
