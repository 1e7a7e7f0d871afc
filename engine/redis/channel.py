"""Redis pub/sub: `ChannelSource` gets what is published while it listens."""

import math
from asyncio import timeout
from collections import deque
from collections.abc import Sequence

from redis.asyncio import Connection

from actors import BrokerUnavailable, Message
from engine.redis.connection import connect, farewell
from engine.redis.errors import LOST, trouble
from engine.redis.options import Target
from engine.redis.reading import Reading
from engine.redis.values import element
from engine.redis.wire import Servers, Wire

BEAT = 10.0
"""Seconds of silence after which the server is asked whether it is there."""
_PATTERN = frozenset("*?[")


def is_pattern(name: str) -> bool:
    """Whether it stands for many channels."""
    return not _PATTERN.isdisjoint(name)


class ChannelSource:
    """Listens to a channel or a pattern, at most once: what is published while nobody listens is gone.

    What is not fetched waits in the connection, and then at the server, which closes the connection of a listener that
    is too slow (`client-output-buffer-limit pubsub`).
    """

    def __init__(self, target: Target, name: str) -> None:
        self._name = name
        self._target = target
        self._servers = Servers(target)
        self._asker = Wire(self._servers, name)
        """For questions: the other one only listens."""
        self._connection: Connection | None = None
        self._reading: Reading[list[Message]] = Reading()
        self._ready: deque[Message] = deque()
        self._open = False

    @property
    def _where(self) -> str:
        return f"Redis at {self._target.where}, {self._name}"

    async def open(self) -> None:
        """Connect and listen: what is published after this has returned arrives."""
        if self._connection is None:
            self._connection = await self._listen()
        self._open = True

    async def _listen(self) -> Connection:
        connection, _ = await connect(self._target, await self._servers.place(self._name))
        command = "PSUBSCRIBE" if is_pattern(self._name) else "SUBSCRIBE"
        try:
            async with timeout(self._target.options.timeout):
                await connection.send_command(command, self._name)
                await connection.read_response(timeout=math.inf)
        except LOST as error:
            await connection.disconnect(nowait=True)
            raise trouble(error, self._where) from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them in order."""
        while True:
            if not self._open:
                raise BrokerUnavailable(f"this source of {self._name} is closed: open it before fetching")
            if self._ready:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            self._ready.extend(await self._reading.result(lambda: self._next(limit)) or ())

    async def _next(self, limit: int) -> list[Message]:
        run: list[Message] = []
        try:
            if self._connection is None:
                self._connection = await self._listen()
            connection = self._connection
            asked = False
            while not run or (len(run) < limit and await connection.can_read()):
                reply = await connection.read_response(timeout=BEAT)
                if reply is None:
                    if asked:
                        raise TimeoutError
                    await connection.send_command("PING")
                elif reply[0] in (b"message", b"pmessage"):
                    run.append(element(reply[-2].decode(errors="backslashreplace"), reply[-1]))
                asked = reply is None
        except LOST as error:
            await self._drop()
            if not run:
                raise trouble(error, self._where) from None
        except BaseException:
            await self._drop()
            raise
        return run

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Nothing to tell: the server has forgotten it."""

    async def close(self) -> None:
        """Listen no more; what was not fetched is gone."""
        self._open = False
        self._reading.wake()
        try:
            await self._reading.stop()
        finally:
            self._ready.clear()
            connection, self._connection = self._connection, None
            if connection is not None:
                await farewell(connection)
            await self._asker.close()

    async def ping(self) -> None:
        """Return when the server has answered, on a connection made for that."""
        await self._asker.ask("PING")

    def reached(self) -> bool:
        """Whether it listens."""
        return self._connection is not None

    def pending(self) -> int | None:
        """Not known."""
        return None
