"""AMQP 0-9-1 on a bare socket, as little as a loop by hand needs: the mark for whatever is built on top of it."""

import asyncio
from collections.abc import Sequence
from struct import Struct
from typing import Self
from urllib.parse import unquote, urlsplit

_FRAME, _METHOD, _ACK = Struct(">BHI"), Struct(">BHIHH"), Struct(">BHIHHQBB")
_CONTENT = Struct(">BHIHHQHBB")
_TAG = Struct(">Q")
_PERSISTENT = 0x1000, 2
"""The flag of a property, and its value."""
_DELIVER, _CONFIRM = b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x50"
_CONSUMER = "c"


class Socket(asyncio.Protocol):
    """A connection with one channel. Bodies are shorter than a frame; whatever is refused, is waited for in vain."""

    def __init__(self) -> None:
        self._arrived: list[tuple[int, bytes]] = []
        self._news = asyncio.Event()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""
        self._tag = 0
        self._published = 0
        self._unconfirmed: dict[int, Window] = {}
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect, log in, and open the channel."""
        parts = urlsplit(url)
        _, made = await asyncio.get_running_loop().create_connection(
            cls, parts.hostname or "localhost", parts.port or 5672
        )
        made._transport.write(b"AMQP\x00\x00\x09\x01")
        await made._answers.get()
        login = f"\0{unquote(parts.username or 'guest')}\0{unquote(parts.password or 'guest')}".encode()
        known = bytes(4) + _short("PLAIN") + len(login).to_bytes(4, "big") + login + _short("en_US")
        tune = await made._ask(10, 11, known, channel=0)
        made._transport.write(_frame(10, 31, tune[4:10] + bytes(2), channel=0))  # no heartbeats
        await made._ask(10, 40, _short(unquote(parts.path[1:]) or "/") + bytes(2), channel=0)
        await made._ask(20, 10, bytes(1))
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Told by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def close(self) -> None:
        """Take leave: what was sent before, the server has when it answers."""
        await self._ask(10, 50, bytes(7), channel=0)
        self._transport.close()

    async def _ask(self, group: int, number: int, arguments: bytes, channel: int = 1) -> bytes:
        self._transport.write(_frame(group, number, arguments, channel))
        return await self._answers.get()

    async def consume(self, queue: str, prefetch: int) -> None:
        """Have a queue's messages delivered."""
        await self._ask(60, 10, bytes(4) + prefetch.to_bytes(2, "big") + bytes(1))
        await self._ask(60, 20, bytes(2) + _short(queue) + _short(_CONSUMER) + bytes(5))

    async def take(self, most: int) -> list[tuple[int, bytes]]:
        """Wait for deliveries: the tag and the body of each."""
        while not self._arrived:
            self._news.clear()
            await self._news.wait()
        run, self._arrived = self._arrived[:most], self._arrived[most:]
        return run

    def acknowledge(self, tag: int) -> None:
        """Settle all deliveries up to this one."""
        self._transport.write(_ACK.pack(1, 1, 13, 60, 80, tag, 1, 0xCE))

    async def confirm(self) -> None:
        """Have publications confirmed."""
        await self._ask(85, 10, bytes(1))

    async def publish(self, queues: Sequence[str], bodies: Sequence[bytes]) -> None:
        """Publish persistent messages in one write, and wait for all confirms."""
        window = Window(len(queues) * len(bodies))
        parts: list[bytes] = []
        for queue in queues:
            method = _frame(60, 40, bytes(3) + _short(queue) + b"\x01")
            for body in bodies:
                size = len(body)
                header = _CONTENT.pack(2, 1, 15, 60, 0, size, *_PERSISTENT, 0xCE)
                parts += (method, header, _FRAME.pack(3, 1, size), body, b"\xce")
                self._published += 1
                self._unconfirmed[self._published] = window
        self._transport.write(b"".join(parts))
        await window.done

    def data_received(self, data: bytes) -> None:
        """Told by the event loop: what has come, frame by frame; properties are skipped."""
        data = self._rest + data
        at, length = 0, len(data)
        while length - at >= 8:
            kind, _, size = _FRAME.unpack_from(data, at)
            end = at + size + 8
            if end > length:
                break
            if kind == 3:
                self._arrived.append((self._tag, data[at + 7 : end - 1]))
                self._news.set()
            elif kind == 1:
                self._method(data, at + 7, end - 1)
            at = end
        self._rest = data[at:]

    def _method(self, data: bytes, at: int, end: int) -> None:
        if data.startswith(_DELIVER, at):
            self._tag = _TAG.unpack_from(data, at + 5 + len(_CONSUMER))[0]
        elif data.startswith(_CONFIRM, at):
            self._confirmed(_TAG.unpack_from(data, at + 4)[0], data[at + 12])
        else:
            self._answers.put_nowait(data[at:end])

    def _confirmed(self, tag: int, multiple: int) -> None:
        waiting = self._unconfirmed
        first = next(iter(waiting), tag)
        for each in range(first, tag + 1) if multiple else (tag,):
            if window := waiting.pop(each, None):
                window.left -= 1
                if not window.left:
                    window.done.set_result(None)


class Window:
    """Publications whose confirms are waited for together."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _short(text: str) -> bytes:
    return bytes((len(text.encode()),)) + text.encode()


def _frame(group: int, number: int, arguments: bytes, channel: int = 1) -> bytes:
    return _METHOD.pack(1, channel, 4 + len(arguments), group, number) + arguments + b"\xce"
