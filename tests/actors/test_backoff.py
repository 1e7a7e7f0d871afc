"""`Link`: waits for what is out of reach, without end."""

import pytest
from anyio import Event, create_task_group, sleep_forever

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


class Server:
    """Answers, or does not."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.asked = 0
        self.link = Link(VirtualClock(), logger, "broker", lambda: True, self.ping)

    async def ping(self) -> None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble

    async def use(self) -> None:
        if self.trouble is not None:
            raise self.trouble


async def test_what_was_never_connected_or_cannot_be_asked_is_not_idle():
    server = Server()
    assert not server.link.idle
    await server.link.insist(server.use)
    assert server.link.idle
    silent = Link(VirtualClock(), logger, "broker")
    await silent.insist(server.use)
    assert not silent.idle


@pytest.mark.parametrize("trouble", [BrokerUnavailable("gone"), BrokerRefused("no"), OSError("gone")])
async def test_an_idle_link_learns_by_asking_that_its_broker_is_gone_and_that_it_is_back(trouble, caplog):
    server = Server()
    await server.link.insist(server.use)
    server.trouble = trouble
    for _ in range(3):
        await server.link.look(5)
        assert not server.link.connected
        assert str(trouble) in str(server.link.error)
    assert len(caplog.records) == 1
    server.trouble = None
    await server.link.look(5)
    assert (server.link.connected, server.link.error, server.link.failures) == (True, None, 0)


async def test_a_broker_that_does_not_answer_in_time_is_gone():
    server = Server()
    await server.link.insist(server.use)
    server.link.ping = sleep_forever
    await server.link.look(0.01)
    assert not server.link.connected
    assert "no answer within 0.01 s" in str(server.link.error)


async def test_who_uses_a_link_knows_better_than_who_asked():
    server, using, asked = Server(), Event(), Event()
    await server.link.insist(server.use)

    async def use() -> None:
        using.set()
        await asked.wait()

    async def ping() -> None:
        await using.wait()
        raise BrokerUnavailable("gone")

    server.link.ping = ping
    async with create_task_group() as tasks:
        tasks.start_soon(server.link.look, 5)
        await quiet()
        tasks.start_soon(server.link.insist, use)
        await quiet()
        assert not server.link.idle
        assert server.link.connected
        asked.set()


async def test_a_link_that_was_lost_while_idle_is_up_again_when_who_uses_it_is_let_in():
    server = Server()
    await server.link.insist(server.use)
    server.trouble = BrokerUnavailable("gone")
    await server.link.look(5)
    async with running(lambda: server.link.insist(sleep_forever)):
        assert server.link.connected  # nothing to bring, and yet it has reached the broker
