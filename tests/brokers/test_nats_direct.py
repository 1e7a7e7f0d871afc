"""The short ways past nats-py: what is read and written is the same as by its own, and they are really taken."""

import asyncio
from typing import Any

import anyio
import nats
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from engine.nats.client import flushed
from engine.nats.commands import answered, published
from engine.nats.confirms import too_long
from engine.nats.parser import DirectParser
from tests.brokers.at_nats import names
from tests.brokers.contract import fetched, message, numbers, opened
from tests.servers.nats import Nats as Server

pytestmark = pytest.mark.anyio

Read = tuple[str, str, bytes, dict[str, str] | None]


class Reading(Client):
    """Notes what nats-py's parser makes of what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self.told.append((subject.decode(), reply.decode(), data, await self._process_headers(headers)))

    async def _process_ping(self) -> None:
        self.told.append("PING")

    async def _process_pong(self) -> None:
        self.told.append("PONG")

    async def _process_err(self, err_msg: str) -> None:
        self.told.append(err_msg)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        self.told.append(info)


def parsers(mine: str) -> tuple[Reading, Parser, Reading, DirectParser]:
    """nats-py's own, and one that takes the messages whose subject begins so."""
    theirs, ours = Reading(), Reading()

    def take(subject: bytes, reply: bytes, body: bytes, headers: dict[str, str] | None) -> bool:
        if subject.startswith(mine.encode()):
            ours.told.append((subject.decode(), reply.decode(), body, headers))
        return subject.startswith(mine.encode())

    return theirs, Parser(theirs), ours, DirectParser(ours, take)


tokens = st.text("abc$", min_size=1, max_size=5)
bodies = st.binary(max_size=40) | st.just(b"\r\nMSG a 1 5\r\n") | st.just(b"x" * 70_000)
lines = st.lists(
    st.sampled_from(
        [b"A: b", b"Nats-Msg-Id: 1.2", b"A:  c ", b"no colon", b"\xff: x", b"x y: z", b"V: \xc3\xa9\xff:", b""]
    ),
    max_size=4,
)
beginnings = st.sampled_from([b"NATS/1.0", b"NATS/1.0 100 Idle Heartbeat", b"NATS/1.0 503"])


@st.composite
def units(draw: Any) -> bytes:
    """What a server may send."""
    subject, reply, body = draw(tokens), draw(tokens | st.just("")), draw(bodies)
    told = " ".join(filter(None, (subject, str(draw(st.integers(1, 99))), reply)))
    kind = draw(st.sampled_from(["MSG", "HMSG", "PING", "PONG", "+OK", "-ERR 'Slow'", 'INFO {"a": 1}']))
    if kind == "MSG":
        return f"MSG {told} {len(body)}\r\n".encode() + body + b"\r\n"
    if kind == "HMSG":
        beginning = draw(beginnings)
        rest = draw(lines) if beginning == b"NATS/1.0" else []  # it stumbles over a status with bytes that are no text
        block = b"\r\n".join([beginning, *rest, b"", b""])
        return f"HMSG {told} {len(block)} {len(block) + len(body)}\r\n".encode() + block + body + b"\r\n"
    return f"{kind}\r\n".encode()


@given(st.lists(units(), max_size=8), st.lists(st.integers(1, 60_000), max_size=8), st.sampled_from(["", "a", "none"]))
def test_all_that_comes_is_read_as_nats_py_reads_it_however_it_is_cut(
    sent: list[bytes], cuts: list[int], mine: str
) -> None:
    async def read() -> None:
        theirs, parser, ours, direct = parsers(mine)
        data, at = b"".join(sent), 0
        for cut in [*cuts, len(data)]:
            piece = data[at : at + cut]
            at += cut
            if piece:
                await parser.parse(piece)
                await direct.parse(piece)
        assert ours.told == theirs.told
        assert len(theirs.told) == sum(not unit.startswith(b"+OK") for unit in sent)

    anyio.run(read)


@pytest.mark.parametrize("sent", [b"MSG a 1 x\r\n", b"MSG \r\n", b"HMSG a 1 5\r\n", b"WHAT\r\n"])
async def test_what_is_no_protocol_is_refused_as_by_nats_py(sent: bytes) -> None:
    _, _, _, direct = parsers("")
    with pytest.raises(ProtocolError):
        await direct.parse(sent)


async def test_a_new_connection_begins_with_nothing_of_the_one_before() -> None:
    _, _, ours, direct = parsers("")
    await direct.parse(b"MSG a 1 100\r\nabc")
    direct.reset()
    await direct.parse(b"PING\r\n")
    assert ours.told == ["PING"]


class Writing(Client):
    """Keeps what would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        self.written += cmd


subjects = st.text("abc.$_-é", min_size=1, max_size=10)
headers = st.dictionaries(
    st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", fullmatch=True), st.text("ab:é 1").map(str.strip)
)


@given(st.lists(st.tuples(subjects, subjects | st.just(""), headers, bodies), max_size=5))
def test_what_is_published_at_once_is_what_nats_py_writes(run: Any) -> None:
    async def write() -> None:
        client = Writing()
        for subject, reply, told, body in run:
            await client._send_publish(subject, reply, body, len(body), told)
        assert published(run) == client.written

    anyio.run(write)


@given(st.lists(subjects, max_size=5), bodies)
def test_what_is_answered_at_once_is_what_nats_py_writes(to: list[str], body: bytes) -> None:
    async def write() -> None:
        client = Writing()
        for subject in to:
            await client._send_publish(subject, "", body, len(body), None)
        assert answered(to, body) == client.written

    anyio.run(write)


async def test_confirms_and_deliveries_reach_no_queue_of_nats_py(nats_server: Server, monkeypatch: Any) -> None:
    from engine.nats.broker import Nats

    async def never(*given: Any) -> None:
        raise AssertionError(given)

    monkeypatch.setattr("engine.nats.jetstream.StreamSource._arrived", never)
    monkeypatch.setattr("engine.nats.sink.StreamSink._confirmed", never)
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject)
    source, sink = endpoint.source("readers"), endpoint.sink()
    async with opened(source, sink):
        await sink.publish([message(number, subject) for number in range(300)])
        run = await fetched(source, 300)
        assert numbers(run) == list(range(300))
        await source.settle(run, [])


def test_headers_are_measured_in_bytes() -> None:
    assert too_long(b"", {"a": "x" * 100}, 200) is None
    assert too_long(b"", {"a": "ж" * 100}, 200) is not None
    assert too_long(b"", {"a": "ж" * 100}, 217) is None


async def test_a_flush_that_is_cancelled_leaves_the_connection_reading(nats_server: Server) -> None:
    client = await nats.connect(nats_server.url)
    try:
        asking = asyncio.ensure_future(flushed(client, 5))
        for _ in range(3):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        subscription = await client.subscribe("after")
        await client.publish("after", b"1")
        assert (await subscription.next_msg(timeout=5)).data == b"1"
    finally:
        await client.close()
