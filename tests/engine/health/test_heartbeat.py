"""An event loop that is held up is told while it is, with the handler that holds it."""

import logging
import time
from threading import Event

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.health.heartbeat import BEAT, LATE, held_up
from headrace import Engine, Memory, Topology

pytestmark = pytest.mark.anyio


class Told(logging.Handler):
    """Wakes whoever waits for a line, in whatever thread it is logged."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part
        self.event = Event()
        self.line = ""

    def emit(self, record: logging.LogRecord) -> None:
        if self.part in record.getMessage() and not self.event.is_set():
            self.line = record.getMessage()
            self.event.set()


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_process_that_did_not_run_is_no_loop_that_is_held_up(silence: float, slept: float) -> None:
    assert held_up(silence, slept) == (silence > BEAT + LATE and slept < BEAT + LATE / 2)


async def test_the_handler_that_holds_the_loop_is_named_while_it_does_and_its_end_is_told() -> None:
    memory = Memory()
    topology = Topology("shop")
    still, again = Told("has stood still"), Told("turns again")
    silences: list[float] = []

    @topology.subscriber(memory.topic("orders"))
    async def compute(body: dict[str, int]) -> None:
        until = time.monotonic() + 20
        while not still.event.is_set() and time.monotonic() < until:
            pass

    engine = Engine(topology.graph(), stalled_after=0.2)
    logger = logging.getLogger("headrace")
    logger.addHandler(still)
    logger.addHandler(again)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            await engine.healthy(5)
            assert engine.health().alive
            async with memory:
                await memory.topic("orders").publish({"id": 1})
            await anyio.to_thread.run_sync(again.event.wait, 20)
            silences.append(engine.loop_lag)
            engine.drain()
    finally:
        logger.removeHandler(still)
        logger.removeHandler(again)
    assert "the handler of compute/1 is at test_heartbeat.py:" in still.line
    assert ", in compute" in still.line
    assert "turns again, after" in again.line
    assert silences[0] > LATE


async def test_another_thread_sees_an_engine_whose_loop_is_held_up_as_not_alive() -> None:
    memory = Memory()
    topology = Topology("shop")
    asked = Event()
    begun = Event()
    seen: list[tuple[bool, tuple[str, ...]]] = []

    @topology.subscriber(memory.topic("orders"))
    async def compute(body: dict[str, int]) -> None:
        begun.set()
        asked.wait(20)

    engine = Engine(topology.graph(), stalled_after=0.2)

    def probe() -> None:
        begun.wait(20)
        until = time.monotonic() + 20
        while (health := engine.health()).alive and time.monotonic() < until:
            pass
        seen.append((health.alive, health.reasons))
        asked.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.healthy(5)
        tasks.start_soon(anyio.to_thread.run_sync, probe)
        async with memory:
            await memory.topic("orders").publish({"id": 1})
        await anyio.to_thread.run_sync(asked.wait, 20)
        engine.drain()
    assert seen[0][0] is False
    assert "event loop has stood still" in seen[0][1][0]
