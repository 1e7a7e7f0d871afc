"""Clients that take nothing, or take it slowly, or take their question back: over HTTP/2 without TLS, and HTTP/1.1."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import anyio
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from anyio.abc import SocketStream
from h2.settings import SettingCodes

from engine.http import patience
from tests.engine.http.served import until
from tests.engine.http.test_server import REQUEST, narrow, served

pytestmark = pytest.mark.anyio
HEAD = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")]


class Client:
    """Speaks HTTP/2, and opens its windows by so many bytes as it is told to."""

    def __init__(self, stream: SocketStream, window: int) -> None:
        self.stream = stream
        self.talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        values = {SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.talk.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.talk.initiate_connection()
        self.body = bytearray()
        self.ended = False

    async def ask(self) -> int:
        stream = self.talk.get_next_available_stream_id()
        self.talk.send_headers(stream, HEAD, end_stream=True)
        await self.flush()
        return stream

    async def flush(self) -> None:
        await self.stream.send(self.talk.data_to_send())

    async def take(self) -> None:
        """Read what is there, and make room for as much again."""
        for event in self.talk.receive_data(await self.stream.receive()):
            if isinstance(event, h2.events.DataReceived):
                self.body += event.data
                self.talk.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
        await self.flush()


@asynccontextmanager
async def client(host: str, port: int, window: int) -> AsyncIterator[Client]:
    async with await anyio.connect_tcp(host, port) as stream:
        yield Client(stream, window)


def answering(size: int, pieces: int = 1) -> Any:
    """An app that answers with so many bytes, so many times; `app.sent` is how many it could send."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
            app.sent += size  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b""})

    app.sent = 0  # type: ignore[attr-defined]
    return app


@pytest.mark.parametrize(("size", "pieces"), [(100, 1), (59_000, 1), (16_384, 2000)])
async def test_a_client_that_never_opens_its_window_is_cut_off(size: int, pieces: int) -> None:
    app = answering(size, pieces)
    async with served(app, stall=0.3) as (there, host, port), client(host, port, window=0) as deaf:
        for _ in range(4):
            await deaf.ask()
        await until(lambda: len(there) == 1)
        await until(lambda: len(there) == 0)
    assert app.sent < 1_000_000


async def test_a_client_that_goes_while_it_is_answered_leaves_its_place() -> None:
    async with served(answering(59_000), stall=0.3) as (there, host, port):
        async with client(host, port, window=0) as gone:
            await gone.ask()
            await until(lambda: len(there) == 1)
        await until(lambda: len(there) == 0)


async def test_a_question_that_is_taken_back_leaves_the_connection_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "KEEP_ALIVE", 0.3)

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(waiting) as (there, host, port), client(host, port, window=0) as fickle:
        question = await fickle.ask()
        await until(lambda: len(there) == 1)
        fickle.talk.reset_stream(question)
        await fickle.flush()
        await until(lambda: len(there) == 0)


async def test_a_client_that_takes_its_time_gets_all_of_one_long_answer() -> None:
    stall = 1.0
    app = answering(600_000)
    async with served(app, stall=stall) as (_, host, port), client(host, port, window=1024) as slow:
        await slow.ask()
        began = monotonic()
        with anyio.fail_after(30):
            while not slow.ended:
                await slow.take()
                if monotonic() - began < 2 * stall:
                    await anyio.sleep(0.005)
        assert len(slow.body) == 600_000


async def test_a_listener_goes_on_for_longer_than_anybody_is_waited_for() -> None:
    stall = 0.5

    async def events(scope: Any, receive: Any, send: Any) -> None:
        began = monotonic()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while monotonic() - began < 3 * stall:
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await anyio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"end"})

    async with served(events, stall=stall) as (_, host, port), client(host, port, window=65_535) as listener:
        await listener.ask()
        with anyio.fail_after(20):
            while not listener.ended:
                await listener.take()
        assert listener.body.endswith(b"data: 1\n\nend")


async def test_a_client_that_leaves_the_end_of_an_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "KEEP_ALIVE", 0.3)
    app = answering(1024, 130)
    async with served(app, stall=30) as (there, host, port):
        with narrow(host, port) as deaf:
            deaf.sendall(REQUEST % b"/")
            await until(lambda: app.sent == 130 * 1024)
            await until(lambda: len(there) == 0)
