"""Publishing from outside, seen from the adapter: what is opened when, and closed."""

from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from actors import BrokerError, Capabilities, Message
from engine import Memory
from engine.brokers.endpoint import Enterable, Reachable

pytestmark = pytest.mark.anyio


class Sink:
    """Says what is done to it; opening takes until it is allowed."""

    def __init__(self, broker: "Recorder") -> None:
        self.broker = broker
        self.destination = "there"

    async def open(self) -> None:
        await self.broker.allowed.wait()
        self.broker.log.append("open")

    async def publish(self, run: list[Message]) -> None:
        self.broker.log += [message.raw for message in run]

    async def close(self) -> None:
        self.broker.log.append("close")


@dataclass(eq=False)
class Recorder(Enterable):
    log: list[Any] = field(default_factory=list)
    allowed: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True)
class Place(Reachable):
    broker: Any
    name: str
    capabilities: Capabilities = field(default_factory=Capabilities)

    def sink(self) -> Sink:
        return Sink(self.broker)


async def test_publishers_share_a_sink_which_is_opened_once_and_closed_with_the_broker() -> None:
    recorder = Recorder()
    place: Any = Place(recorder, "there")
    async with recorder:
        async with recorder, anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(place.publish, number)
            await anyio.wait_all_tasks_blocked()
            assert recorder.log == []
            recorder.allowed.set()
        assert recorder.log == ["open", b"0", b"1", b"2"]
        await place.publish(3)
        async with recorder:
            await place.publish(4)
    assert recorder.log == ["open", b"0", b"1", b"2", b"3", b"4", "close"]


async def test_endpoints_of_another_kind_have_a_sink_of_their_own() -> None:
    recorder = Recorder()
    recorder.allowed.set()
    here: Any = Place(recorder, "here")
    there: Any = Place(recorder, "there")
    async with recorder:
        await here.publish("a")
        await there.publish("b")
    assert recorder.log == ["open", b"a", "open", b"b", "close", "close"]


async def test_what_cannot_be_answered_cannot_be_asked() -> None:
    place: Any = Place(Recorder(), "there")
    async with place.broker:
        with pytest.raises(BrokerError, match="does not carry replies"):
            await place.request("text")


async def test_a_body_that_cannot_be_encoded_says_so() -> None:
    memory = Memory()
    async with memory:
        with pytest.raises(TypeError, match="object cannot be published"):
            await memory.topic("orders").publish(object())
    assert memory.messages("orders") == []
