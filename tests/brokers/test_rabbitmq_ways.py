"""The quick ways of RabbitMQ's frames, in and out, say what the long ones do."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import BrokerError, Message, Origin
from engine.rabbitmq import frames
from engine.rabbitmq.messages import Publishing, header_of
from engine.rabbitmq.outgoing import Outgoing
from engine.rabbitmq.tap import Tap

pytestmark = pytest.mark.anyio


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        self.all.append(("delivered", method, header, body))

    def returned(self, method: bytes, header: bytes, body: bytes) -> None:
        self.all.append(("returned", method, header, body))

    def confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        self.all.append((tag, multiple, accepted))

    def closed(self, said: str) -> None:
        self.all.append(("closed", said))

    def lost(self, error: BrokerError) -> None:
        self.all.append(("lost", error))


def content(kind: int, channel: int, body: bytes, most: int) -> tuple[tuple[object, ...], bytes]:
    """What a listener is to hear of a message, and its frames."""
    name = {frames.DELIVER: "delivered", frames.RETURN: "returned"}[kind]
    method = kind.to_bytes(4, "big") + frames.short("to") + bytes(9) + frames.short("") + frames.short("q")
    header = frames.content_header(channel, len(body), id="one")
    framed = frames.FRAME.pack(frames.METHOD, channel, len(method)) + method + frames.END
    whole = framed + header + b"".join(frames.bodies(channel, body, most))
    return (name, method, header[7:-1], body), whole


MESSAGES = st.tuples(
    st.sampled_from([frames.DELIVER, frames.RETURN]), st.integers(1, 2), st.binary(max_size=40), st.integers(8, 50)
)


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 900), max_size=8))
async def test_what_comes_is_heard_in_its_order_however_it_is_cut(
    sent: list[tuple[int, int, bytes, int]], cuts: list[int]
) -> None:
    tap = Tap(asyncio.get_running_loop(), lambda error, garbage: None)
    heard = {channel: Heard() for channel in (1, 2)}
    tap.listeners |= heard
    stream, wanted = b"", {channel: list[tuple[object, ...]]() for channel in heard}
    for number, (kind, channel, body, most) in enumerate(sent, 1):
        said, whole = content(kind, channel, body, most)
        confirm = frames.acknowledgement(channel, number, multiple=False)
        wanted[channel] += [said, (number, False, True)]
        stream += whole + confirm
    for start, end in pairwise([0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]):
        tap.feed_data(stream[start:end])
    assert {channel: each.all for channel, each in heard.items()} == wanted


IDS = st.one_of(st.none(), st.text(max_size=60))


@given(
    st.sampled_from([None, b"raw", "text", {"a": 1}]),
    st.text(min_size=1, max_size=60),
    IDS,
    IDS,
    st.one_of(st.none(), st.dictionaries(st.sampled_from(["a", "content-type", "amqp-priority"]), st.just("7"))),
    st.builds(
        Publishing,
        persistent=st.booleans(),
        priority=st.one_of(st.none(), st.integers(0, 255)),
        expiration=st.one_of(st.none(), st.floats(0, 1e6)),
    ),
    st.binary(max_size=4).map(lambda part: part * 300),
)
def test_the_frames_of_a_message_have_its_header_and_body(
    body: object,
    id: str,
    correlation_id: str | None,
    reply_to: str | None,
    headers: dict[str, str] | None,
    manner: Publishing,
    raw: bytes,
) -> None:
    origin = Origin(id, correlation_id=correlation_id)
    message = Message(body, raw=raw, headers=headers, reply_to=reply_to, origin=origin)
    message.destination = "q"
    outgoing = Outgoing(3, 1000, lambda destination, key: ("", destination), manner)
    for now in (5, 5, 6):
        told, route, sent, made = outgoing.frames_of(message, 2000, now)
        place = frames.publication(3, "", "q", mandatory=True)
        header = header_of(message, 3, len(raw), id, now, manner)
        assert (told, route, sent) == (id, ("", "q"), raw)
        assert made == place + header + b"".join(frames.bodies(3, raw, 1000))


def test_an_id_that_has_no_room_is_refused() -> None:
    message = Message(b"", raw=b"", origin=Origin("x" * 256))
    message.destination = "q"
    outgoing = Outgoing(1, 1000, lambda destination, key: ("", destination), Publishing())
    with pytest.raises(ValueError, match="256 bytes"):
        outgoing.frames_of(message, 1000, 1)
