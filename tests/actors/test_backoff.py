"""`Link`: waits for what is out of reach, without end."""

import pytest
from anyio import create_task_group

from actors import BrokerError, BrokerRefused, BrokerUnavailable, Link, VirtualClock
from actors.backoff import RECONNECT
from tests.actors.fakes import logger, quiet, running

pytestmark = pytest.mark.anyio


class Call:
    """Fails so many times as if its broker was out of reach, and then returns."""

    def __init__(self, failures: int, error: BrokerError | None = None) -> None:
        self.error = error or BrokerUnavailable("connection refused")
        self.clock = VirtualClock()
        self.link = Link(self.clock, logger, "broker")
        self.failures = failures
        self.times: list[float] = []
        self.results: list[str] = []

    async def attempt(self) -> str:
        self.times.append(self.clock.now())
        if len(self.times) <= self.failures:
            raise self.error
        return "result"

    async def run(self) -> None:
        self.results.append(await self.link.insist(self.attempt))


async def test_returns_what_the_attempt_does():
    call = Call(0)
    await call.run()
    assert call.results == ["result"]
    assert call.link.connected


async def test_tries_again_and_again_longer_each_time_up_to_the_cap(caplog):
    call = Call(12)
    async with create_task_group() as tasks:
        tasks.start_soon(call.run)
        await quiet()
        assert not call.link.connected
        while not call.results:
            assert len(call.times) == call.link.failures
            call.clock.advance((call.clock.next_due() or 0.0) - call.clock.now())
            await quiet()
    assert (call.link.connected, call.link.failures) == (True, 0)
    waits = [after - before for before, after in zip(call.times, call.times[1:], strict=False)]
    for at, wait in enumerate(waits, start=1):
        assert RECONNECT.delay(at, 1) <= wait <= RECONNECT.delay(at) + 1e-9
    assert waits[-1] > RECONNECT.cap / 2 - 1e-9
    assert all(record.message.startswith("broker: ") for record in caplog.records)
    assert "connection refused" in caplog.text


async def test_what_was_refused_is_tried_again_too_for_somebody_may_mend_it(caplog):
    refused = BrokerRefused("wrong password")
    call = Call(1, refused)
    async with running(call.run):
        assert call.link.error is refused
        call.clock.advance(1)
        await quiet()
        assert call.results == ["result"]
        assert call.link.error is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_any_other_error_is_raised():
    async def attempt():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await Call(0).link.insist(attempt)


async def test_cancelled_it_waits_no_longer():
    call = Call(1000)
    async with running(call.run):
        pass
    assert call.clock.next_due() is None
    assert not call.link.connected


async def test_after_a_failure_an_attempt_that_goes_on_is_connected_once_it_says_so():
    call, reached = Call(1000), False
    call.link.up = lambda: reached
    reached = True
    assert not call.link.connected  # nothing was attempted yet
    reached = False
    async with running(call.run):
        assert not call.link.connected
        reached = True
        assert call.link.connected
