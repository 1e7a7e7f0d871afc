"""`PublishWorker` on a sink that has several runs on their way: none is lost, none overtakes one that has failed."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from anyio import Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from actors import BrokerUnavailable, Counts, Link, Mailbox, Message, PublishError, PublishWorker, Retries, VirtualClock
from actors import publisher as publisher_module
from actors.publisher import WORTH
from tests.actors.fakes import Completed, Shelf, bodies, logger, message, quiet, running

pytestmark = pytest.mark.anyio


class Parcel:
    """A run on its way, until the test says what became of it."""

    def __init__(self, run: Sequence[Message]) -> None:
        self.bodies = bodies(run)
        self.forgotten = False
        self._run = run
        self._known = Event()
        self.callbacks: list[Callable[[], object]] = []
        self._outcome: bool | Exception = True

    def land(self, outcome: bool | Exception = True) -> None:
        self._outcome = outcome
        self._known.set()
        for callback in self.callbacks:
            callback()

    def then(self, callback: Callable[[], object]) -> None:
        self.callbacks.append(callback)
        if self._known.is_set():
            callback()

    async def confirmed(self) -> bool:
        await self._known.wait()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def forget(self) -> None:
        self.forgotten = True


class Chute(Shelf):
    """A shelf that runs may be on their way to."""

    in_flight = 2

    def __init__(self) -> None:
        super().__init__()
        self.parcels: list[Parcel] = []
        self.barred: Exception | bool = False

    async def send(self, run: Sequence[Message]) -> Parcel | None:
        if isinstance(self.barred, Exception):
            raise self.barred
        if self.barred:
            return None
        self.parcels.append(Parcel(run))
        return self.parcels[-1]


def encoded(body: object) -> bytes:
    if body == "poison":
        raise ValueError("no text")
    return str(body).encode()


class Outlet:
    """A publisher of runs of two, its mailbox and its sink."""

    def __init__(self, sink: Shelf | None = None, take: int = 2) -> None:
        self.clock, self.owner, self.counts = VirtualClock(), Completed(), Counts()
        self.chute = Chute()
        self.mailbox: Mailbox[Message] = Mailbox(100, "outlet")
        self.link = Link(self.clock, logger, "chute")
        retries = Retries("to:chute", self.mailbox, self.clock, self.counts, logger)
        self.worker = PublishWorker(
            "to:chute",
            self.mailbox,
            sink or self.chute,
            encoder_of=lambda kind: encoded,
            unpublishable=lambda body, error: error if isinstance(error, Exception) else TypeError(),
            retries=retries,
            link=self.link,
            counts=self.counts,
            destination="chute",
            take=take,
        )
        self.run = self.worker.run

    async def put(self, *contents: object) -> None:
        self.mailbox.put_nowait([message(body, self.owner) for body in contents])
        await quiet()

    async def land(self, at: int, outcome: bool | Exception = True) -> None:
        self.chute.parcels[at].land(outcome)
        await quiet()

    @property
    def sent(self) -> list[list[object]]:
        return [parcel.bodies for parcel in self.chute.parcels]

    @property
    def done(self) -> list[object]:
        return [receipt.message.body for receipt in self.owner]


def listen(parcel: Parcel, asked: Event) -> None:
    """Have it tell when somebody asks what became of it."""
    confirmed = parcel.confirmed

    async def told() -> bool:
        asked.set()
        return await confirmed()

    parcel.confirmed = told  # type: ignore[method-assign]


async def test_the_next_run_is_sent_before_the_one_ahead_is_confirmed_and_no_more_than_the_sink_takes():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcdef")
        assert outlet.sent == [["a", "b"], ["c", "d"]]
        assert (outlet.done, outlet.mailbox.held) == ([], 4)
        await outlet.land(0)
        assert outlet.sent == [["a", "b"], ["c", "d"], ["e", "f"]]
        assert outlet.done == ["a", "b"]
        await outlet.land(1)
        await outlet.land(2)
        assert (outlet.done, outlet.mailbox.held) == (list("abcdef"), 0)
        assert outlet.worker.busy_since is None
    assert outlet.chute.runs == []
    assert (outlet.counts.handled, outlet.counts.published) == (6, 6)


async def test_what_comes_while_a_run_is_on_its_way_is_sent_at_once():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put("a", "b")
        await outlet.put("c")
        assert outlet.sent == [["a", "b"], ["c"]]


async def test_what_comes_while_a_small_run_is_on_its_way_goes_together_when_it_is_confirmed():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put("a")
        await outlet.put("b")
        await outlet.put("c")
        assert outlet.sent == [["a"]]
        await outlet.land(0)
        assert outlet.sent == [["a"], ["b", "c"]]


async def test_so_many_are_worth_another_behind_them_however_many_it_may_take():
    outlet = Outlet(take=256)
    async with running(outlet.run):
        await outlet.put(*range(WORTH - 1))
        await outlet.put("b")
        assert len(outlet.sent) == 1
        await outlet.land(0)
        await outlet.land(1)
        await outlet.put(*range(WORTH))
        await outlet.put("d")
        assert outlet.sent[3:] == [["d"]]


async def test_a_run_is_settled_when_it_is_confirmed_though_nothing_comes_behind_it():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put("a")
        await outlet.land(0)
        assert outlet.done == ["a"]
        await outlet.put("b")
        await outlet.land(1)
        assert outlet.done == ["a", "b"]


async def test_a_run_that_is_confirmed_first_waits_for_the_one_ahead():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcd")
        await outlet.land(1)
        assert outlet.done == []
        await outlet.land(0)
        assert outlet.done == list("abcd")


async def test_of_a_run_that_nothing_is_heard_of_is_asked_though_nothing_comes_behind_it(monkeypatch):
    monkeypatch.setattr(publisher_module, "PATIENCE", 0.01)
    outlet = Outlet()
    asked = Event()
    async with running(outlet.run):
        await outlet.put("a", "b")
        listen(outlet.chute.parcels[0], asked)
        with fail_after(5):
            await asked.wait()


async def test_it_is_asked_though_what_comes_behind_it_cannot_be_sent(monkeypatch):
    monkeypatch.setattr(publisher_module, "PATIENCE", 0.05)
    outlet = Outlet()
    asked = Event()
    async with running(outlet.run):
        await outlet.put("a", "b")
        listen(outlet.chute.parcels[0], asked)
        with fail_after(5):
            while not asked.is_set():  # sooner each time than it is patient
                await outlet.put("poison")
        assert len(outlet.chute.parcels[0].callbacks) == 1


async def test_a_run_counts_as_handled_when_its_time_counts_as_busy():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put("poison", "a", "b", "c")
        assert (outlet.counts.handled, outlet.counts.failed, outlet.counts.busy_seconds) == (1, 1, 0.0)
        await outlet.land(0)
        await outlet.land(1)
        assert outlet.counts.handled == 4
        assert outlet.counts.busy_seconds > 0


async def test_what_came_to_nothing_is_published_when_what_is_behind_it_has_ended_and_in_order():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcd")
        await outlet.land(0, False)
        assert outlet.chute.raws == []
        await outlet.land(1, False)
        assert outlet.chute.raws == [b"a", b"b", b"c", b"d"]
        assert outlet.done == list("abcd")
        await outlet.put(*"ef")
        assert outlet.sent[2:] == [["e", "f"]]


async def test_what_was_confirmed_behind_one_that_failed_is_not_published_again():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcd")
        await outlet.land(0, False)
        await outlet.land(1)
        assert outlet.chute.raws == [b"a", b"b"]
        assert outlet.done == list("abcd")


async def test_a_broker_that_goes_is_waited_for_with_both_runs_in_hand():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcdef")
        await outlet.land(0, BrokerUnavailable("gone"))
        await outlet.land(1, BrokerUnavailable("gone"))
        assert (outlet.done, outlet.link.connected, outlet.mailbox.held) == ([], False, 4)
        outlet.clock.advance(20)
        await quiet()
        assert outlet.chute.raws == [b"a", b"b", b"c", b"d"]
        assert outlet.sent[2:] == [["e", "f"]]
        assert outlet.done == list("abcd")


@pytest.mark.parametrize("barred", [True, BrokerUnavailable("gone"), PublishError({0: ValueError("wrong")})])
async def test_what_cannot_be_sent_is_published_when_the_one_ahead_is_through(barred):
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"ab")
        outlet.chute.barred = barred
        await outlet.put(*"cdef")
        assert outlet.chute.runs == []
        outlet.chute.barred = False
        await outlet.land(0)
        assert outlet.chute.raws == [b"c", b"d"]
        assert outlet.done == list("abcd")
        assert outlet.sent == [["a", "b"], ["e", "f"]]


async def test_what_the_broker_refuses_of_a_run_on_its_way_fails_alone():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcd")
        await outlet.land(1, PublishError({1: ValueError("too long")}))
        await outlet.land(0, PublishError({0: ValueError("too long")}))
        outcomes = {"a": "DEAD", "b": "DONE", "c": "DONE", "d": "DEAD"}
        assert outlet.owner.outcomes == outcomes
        assert (outlet.counts.published, outlet.counts.failed, outlet.mailbox.held) == (2, 2, 0)
    assert outlet.chute.runs == []


async def test_what_was_refused_behind_one_that_failed_fails_as_well():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcd")
        await outlet.land(0, False)
        await outlet.land(1, PublishError({1: ValueError("too long")}))
        assert outlet.owner.outcomes == {"a": "DONE", "b": "DONE", "c": "DONE", "d": "DEAD"}


async def test_cancelled_it_puts_back_all_that_is_on_its_way_in_order():
    outlet = Outlet()
    async with running(outlet.run):
        await outlet.put(*"abcde")
    assert [parcel.forgotten for parcel in outlet.chute.parcels] == [True, True]
    assert (outlet.mailbox.held, outlet.done) == (0, [])
    assert bodies(outlet.mailbox.take_nowait(9)) == list("abcde")


async def test_cancelled_it_settles_what_is_known_to_be_through():
    outlet = Outlet()
    async with running(outlet.run):
        outlet.chute.down = 1_000
        await outlet.put(*"abcde")
        await outlet.land(0, False)
        await outlet.land(1, PublishError({1: ValueError("too long")}))
        assert outlet.done == []
    assert outlet.owner.outcomes == {"c": "DONE", "d": "DEAD"}
    assert (outlet.counts.published, outlet.mailbox.held, outlet.link.using) == (1, 0, 0)
    assert bodies(outlet.mailbox.take_nowait(9)) == ["a", "b", "e"]


async def test_its_link_is_not_idle_while_something_is_on_its_way():
    outlet = Outlet()
    outlet.link.ping = checkpoint
    async with running(outlet.run):
        assert outlet.link.idle
        await outlet.put("a", "b")
        assert not outlet.link.idle
        await outlet.put("poison")
        await outlet.land(0)
        assert outlet.link.idle


async def test_told_to_leave_it_ends_when_what_is_on_its_way_has():
    outlet = Outlet()
    async with create_task_group() as tasks:
        tasks.start_soon(outlet.run)
        await outlet.put("a")
        outlet.worker.leave()
        await outlet.put("b")
        await outlet.land(0)
    assert outlet.done == ["a"]
    assert len(outlet.mailbox) == 1


async def test_drained_it_ends_when_what_is_on_its_way_has():
    outlet = Outlet()
    async with create_task_group() as tasks:
        tasks.start_soon(outlet.run)
        await outlet.put("a")
        outlet.mailbox.close()
        await quiet()
        assert not outlet.mailbox.drained
        await outlet.land(0)
    assert outlet.done == ["a"]


class Line(Shelf):
    """A broker behind lines that break: what is written on one arrives in order up to where it breaks, and no further.

    What has arrived is confirmed later, unless the line breaks before.
    """

    in_flight = 2

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.chance = chance
        self.line: list[Parcel] | None = []

    async def send(self, run: Sequence[Message]) -> Parcel | None:
        await checkpoint()
        if self.line is None:
            return None
        whole = self._arrive(run)
        parcel = Parcel(run)
        if whole and self.line is not None:
            self.line.append(parcel)
        else:
            parcel.land(BrokerUnavailable("the line broke"))
        return parcel

    async def publish(self, run: Sequence[Message]) -> None:
        await checkpoint()
        self.line = [] if self.line is None else self.line
        if not self._arrive(run) or self.chance.random() < 0.2:
            self.snap()
            raise BrokerUnavailable("the line broke")

    def _arrive(self, run: Sequence[Message]) -> bool:
        most = len(run) if self.chance.random() < 0.8 else self.chance.randrange(len(run) + 1)
        self.published += run[:most]
        if most < len(run):
            self.snap()
        return most == len(run)

    def snap(self) -> None:
        parcels, self.line = self.line or [], None
        for parcel in parcels:
            parcel.land(BrokerUnavailable("the line broke"))

    def confirm(self) -> None:
        if self.line:
            self.line.pop(0).land()


@given(seed=st.integers(0, 2**32), take=st.integers(1, 4))
async def test_whatever_breaks_each_message_arrives_and_none_before_those_ahead_of_it(seed, take):
    chance = Random(seed)
    line = Line(chance)
    outlet = Outlet(line, take)
    for number in range(20):
        outlet.mailbox.put_nowait([message(number, outlet.owner)])
    outlet.mailbox.close()
    while not outlet.mailbox.drained:
        async with create_task_group() as tasks:
            tasks.start_soon(outlet.run)
            for _ in range(chance.randrange(5, 60)):
                await checkpoint()
                outlet.clock.advance(5)
                if chance.random() < 0.5:
                    line.confirm()
                if chance.random() < 0.05:
                    line.snap()
            tasks.cancel_scope.cancel()
        line.snap()  # a publisher that is restarted has a new sink, or the same one on another line
    firsts = list(dict.fromkeys(bodies(line.published)))
    assert firsts == list(range(20))
    assert sorted(outlet.done) == list(range(20))  # type: ignore[type-var]
