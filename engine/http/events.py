"""`Feed`: server-sent events. One snapshot a second for all who listen; none is made while nobody does.

There is no queue for a listener, so there is nothing to bound: each waits for the next second, and takes the snapshot
of that second, which the first of them to wake has made. Who was slow to read finds only the newest one.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from time import monotonic, time
from typing import Protocol

from anyio import CancelScope, Event, Lock, create_task_group, move_on_after
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from engine.http.problems import Problem

EVERY = 1.0
"""Seconds from one snapshot to the next."""
KEEP_ALIVE = 10.0
"""Seconds of silence after which a comment is sent, so that nobody in between takes the connection for dead."""
LISTENERS = 64
"""The most who may listen at once."""
CHUNK = 32 * 1024
"""Bytes that are handed to the server at once: what a client does not take is held once, not once a client."""


class Feed:
    """Snapshots for any number of listeners, until `ended`. `make` makes the JSON of one, on one line."""

    def __init__(
        self, make: Callable[[], Awaitable[bytes]], ended: Event, most: int = LISTENERS, every: float = EVERY
    ) -> None:
        self.make = make
        self.ended = ended
        self.most = most
        self.every = every
        self.listeners = 0
        self.made = 0
        """How many snapshots were made."""
        self._tick = -1
        self._snapshot = b""
        self._making = Lock()

    async def listen(self, count: int | None = None) -> AsyncGenerator[bytes, None]:
        """What one listener gets: a snapshot at once, and then one each time that something has changed.

        `count` is how many seconds long; without it, until the engine ends.
        """
        sent, said = b"", monotonic()
        yield b"retry: 2000\n\n"
        while not self.ended.is_set():
            snapshot = await self._newest()
            if snapshot != sent:
                sent, said = snapshot, monotonic()
                for chunk in _event(snapshot):
                    yield chunk
            elif monotonic() - said >= KEEP_ALIVE:
                said = monotonic()
                yield b": still here\n\n"
            if count is not None and (count := count - 1) <= 0:
                return
            with move_on_after(self.every - monotonic() % self.every):
                await self.ended.wait()
        yield b"event: end\ndata: {}\n\n"

    async def _newest(self) -> bytes:
        """The snapshot of this second, made by whoever asks for it first."""
        async with self._making:
            tick = int(monotonic() / self.every)
            if tick != self._tick:
                self._snapshot = await self.make()
                self._tick = tick
                self.made += 1
            return self._snapshot


class Stream(Protocol):
    """What can be listened to, by so many at once."""

    listeners: int
    most: int

    def listen(self, count: int | None = None) -> AsyncGenerator[bytes, None]:
        """What one listener gets; `count` says when it is enough."""
        ...


class Listening(Response):
    """The answer to one listener, until it goes or the feed has ended. Raises `Problem` where there are enough."""

    media_type = "text/event-stream"

    def __init__(self, feed: Stream, count: int | None = None) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.feed = feed
        self.count = count
        if feed.listeners >= feed.most:
            detail = f"{feed.most} listen already; close one of the pages, or ask /api/v1/status instead"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "10"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            self.feed.listeners += 1
            try:
                async with create_task_group() as tasks:
                    tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                    async with aclosing(self.feed.listen(self.count)) as stream:
                        async for chunk in stream:
                            await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    tasks.cancel_scope.cancel()
            finally:
                self.feed.listeners -= 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, stream: CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.cancel()


def _event(snapshot: bytes) -> list[bytes]:
    event = b"id: %.3f\nevent: status\ndata: %b\n\n" % (time(), snapshot)
    return [event[at : at + CHUNK] for at in range(0, len(event), CHUNK)]
