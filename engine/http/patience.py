"""Patience with clients, and its end: who takes nothing, or asks nothing, does not keep its connection."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from anyio import move_on_after, sleep_forever
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEEP_ALIVE = 15.0
"""Seconds that a connection may wait for a question, or for the rest of one's head."""
CHUNK = 16 * 1024
"""Bytes of an answer that are handed to the server at once: for each its client has the whole of its patience."""


class Answering:
    """The app, as one connection has it: each piece of an answer has to be taken in time, and its end is noticed.

    HTTP/2 has a window for each stream, which a client may leave shut while it takes all else that comes: what it does
    not take waits in hypercorn, whose own limit on that lets through all that there is.
    """

    server: TCPServer

    def __init__(self, app: ASGIApp, idle: "Idle", patient: "Patient") -> None:
        self._app = app
        self._idle = idle
        self._patient = patient
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *ways_to_call: object) -> None:
        async def sending(message: Message) -> None:
            for piece in _pieces(message):
                with move_on_after(self._patient.stall) as patience:
                    await send(piece)
                    if (waiting := self._waiting(scope)) is not None and waiting.buffer:
                        await waiting.drain()
                if patience.cancelled_caught:
                    self._patient.give_up()
                    await sleep_forever()  # until the connection's end, a moment from now, ends this too

        self._under_way += 1
        await self._idle.stop()
        try:
            await self._app(scope, receive, sending)
        finally:
            self._under_way -= 1
            if not self._under_way:
                await self._idle.restart()  # which hypercorn does not for a question that was taken back

    def _waiting(self, scope: Scope) -> StreamBuffer | None:
        """What waits for the client to open its window for one answer; in HTTP/1 there is none."""
        protocol = self.server.protocol.protocol
        if not isinstance(protocol, H2Protocol):
            return None
        stream = next((each for each in protocol.streams.values() if getattr(each, "scope", None) is scope), None)
        return None if stream is None else protocol.stream_buffers.get(stream.stream_id)


def _pieces(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or len(body) <= CHUNK:
        yield message
        return
    for at in range(0, len(body), CHUNK):
        last = at + CHUNK >= len(body)
        yield {**message, "body": body[at : at + CHUNK], "more_body": not last or message.get("more_body", False)}


class Idle:
    """Ends a connection on which nothing has been asked for `KEEP_ALIVE` seconds, taken or not what was answered last.

    In the place of hypercorn's own, a task that is made and cancelled for each request: that takes six turns of the
    event loop, and while the engine is busy a turn takes its time. It also outlives a client that has gone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
        self._loop = loop
        self._abort = writer.transport.abort
        self.since: asyncio.TimerHandle | None = None

    async def restart(self, *unused: object) -> None:
        """It is idle from now on."""
        await self.stop()
        self.since = self._loop.call_later(KEEP_ALIVE, self._abort)

    async def stop(self) -> None:
        """It is not idle."""
        if self.since is not None:
            self.since.cancel()
            self.since = None


class Patient:
    """A writer that waits for its client, but not for ever: who takes nothing for `stall` seconds is cut off."""

    def __init__(self, writer: asyncio.StreamWriter, stall: float, cut_off: Callable[[], object]) -> None:
        self._writer = writer
        self.stall = stall
        self.cut_off = cut_off
        self.write = writer.write
        self.write_eof = writer.write_eof
        self.close = writer.close
        self.get_extra_info = writer.get_extra_info

    async def drain(self) -> None:
        """Wait until the client has taken most of what waits for it."""
        await self._within(self._writer.drain)

    async def wait_closed(self) -> None:
        """Wait until the client has taken all that waits for it."""
        await self._within(self._writer.wait_closed)

    async def _within(self, wait: Callable[[], Awaitable[None]]) -> None:
        with move_on_after(self.stall) as patience:
            await wait()
        if patience.cancelled_caught:
            self.give_up()
            raise ConnectionAbortedError(f"a client took nothing for {self.stall:g} s")

    def give_up(self) -> None:
        """Cut the client off; whatever answers is not asked whether it would like to go on."""
        self._writer.transport.abort()
        self.cut_off()
