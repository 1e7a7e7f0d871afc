"""Redis streams by hand, on redis-py: entries in runs, one pipeline a run, acknowledgements in the next one.

`Lower` sends the same commands without redis-py.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import hiredis

from benchmarks.at_redis import client
from benchmarks.hands import GROUP, Taken

READ_SIZE = 256 * 1024
"""Bytes that are read at once."""
NOTHING: Any = object()
"""What stands for an answer that is not complete."""
pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


class Hands:
    """Two connections: one reads while the other writes."""

    windows = 1

    def __init__(self, url: str, source: str) -> None:
        self._source = source
        self._reader, self._writer = client(url), client(url)
        self._done: list[Any] = []
        # As the server says it: redis-py would make a dictionary of the fields of each entry.
        raw: Any = lambda found, **_: found  # noqa: E731
        self._reader.set_response_callback("XREADGROUP", raw)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.aclose()
        await self._writer.aclose()

    async def take(self, most: int) -> Taken:
        while True:
            found: Any = await self._reader.xreadgroup(GROUP, "hand", {self._source: ">"}, count=most, block=1000)
            if found:
                return [(id, fields[1]) for id, fields in found[0][1]]

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        async with self._writer.pipeline(transaction=False) as pipe:
            if self._done:
                pipe.execute_command("XACK", self._source, GROUP, *self._done)
                self._done = []
            for target in targets:
                for raw in bodies:
                    pipe.execute_command("XADD", target, "*", "body", raw)
            await pipe.execute()

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        self._done += tokens
        if len(self._done) >= 1000:
            await self.flush()

    async def flush(self) -> None:
        done, self._done = self._done, []
        if done:
            await self._writer.xack(self._source, GROUP, *done)


class Lower:
    """The same, one layer lower: commands packed by hiredis, answers read by it, over asyncio's own streams."""

    windows = 2

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source
        self._done: list[Any] = []

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await Line.to(self._url), await Line.to(self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.close()
        await self._writer.close()

    async def take(self, most: int) -> Taken:
        wanted = ("XREADGROUP", "GROUP", GROUP, "hand", "COUNT", most, "BLOCK", 1000, "STREAMS", self._source, ">")
        while True:
            [found] = await self._reader.exchange(pack(wanted), 1)
            if found:
                return [(id, fields[1]) for id, fields in found[0][1]]

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        done, self._done = self._done, []
        commands = [pack(("XADD", target, "*", "body", raw)) for target in targets for raw in bodies]
        if done:
            commands.append(pack(("XACK", self._source, GROUP, *done)))
        await self._writer.exchange(b"".join(commands), len(commands))

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        self._done += tokens
        if len(self._done) >= 1000:
            await self.flush()

    async def flush(self) -> None:
        done, self._done = self._done, []
        if done:
            await self._writer.exchange(pack(("XACK", self._source, GROUP, *done)), 1)


class Line:
    """One connection. What is asked while another answer is waited for is sent at once, and answered in its turn."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answers = hiredis.Reader(notEnoughData=NOTHING)
        self._turn = asyncio.Lock()

    @classmethod
    async def to(cls, url: str) -> "Line":
        """Connect, log in, choose the database."""
        there = urlsplit(url)
        line = cls(*await asyncio.open_connection(there.hostname or "localhost", there.port or 6379, limit=READ_SIZE))
        if there.password:
            await line.exchange(pack(("AUTH", there.username or "default", there.password)), 1)
        if number := there.path.strip("/"):
            await line.exchange(pack(("SELECT", number)), 1)
        return line

    async def exchange(self, data: bytes, count: int) -> list[Any]:
        """Send so many packed commands, and wait for their answers."""
        self._writer.write(data)
        replies: list[Any] = []
        async with self._turn:
            while len(replies) < count:
                if (reply := self._answers.gets()) is not NOTHING:
                    replies.append(reply)
                elif data := await self._reader.read(READ_SIZE):
                    self._answers.feed(data)
                else:
                    raise ConnectionError("the server has closed the connection")
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
        return replies

    async def close(self) -> None:
        """Let go of it."""
        self._writer.close()
        await self._writer.wait_closed()
