"""`Duplicates` and `Sieve`: what was done is not handled again, and nothing else is left out."""

from collections import Counter

import pytest
from anyio import Event
from hypothesis import given
from hypothesis import strategies as st

from actors import (
    BrokerUnavailable,
    Duplicates,
    Failure,
    Intake,
    Ledger,
    Link,
    Mailbox,
    Message,
    Outcome,
    Receipt,
    SeenHere,
    Sieve,
    VirtualClock,
)
from tests.actors.fakes import Completed, Shelf, Wire, bodies, logger, quiet, running

pytestmark = pytest.mark.anyio


class Store(SeenHere):
    """One that can be out of reach, or held up while it writes."""

    down = False
    gate: Event | None = None

    async def known(self, identities):
        self._reach()
        return await super().known(identities)

    async def keep(self, identities):
        if self.gate is not None:
            await self.gate.wait()
        self._reach()
        await super().keep(identities)

    def _reach(self):
        if self.down:
            raise BrokerUnavailable("the store is out of reach")


def first_letter(message: Message) -> bytes | None:
    return message.raw[:1] if message.raw else None


class Stage:
    """An intake with a sieve, its ledger running, and a mailbox that the test handles by hand."""

    def __init__(self, *raws: bytes, identify=first_letter, waiting: int = 100, capacity: int = 100) -> None:
        self.clock, self.wire, self.grave = VirtualClock(), Wire(*raws), Shelf("grave")
        self.store = Store(60, 1000, self.clock)
        self.duplicates = Duplicates(self.store, Link(self.clock, logger, "store"), waiting)
        self.mailbox: Mailbox[Message] = Mailbox(capacity, "stage")
        self.ledger = Ledger("wire", self.wire, self.grave, self.clock, logger, ("", ""), self.duplicates)
        sieve = Sieve("stage", self.ledger, self.duplicates, identify)
        self.intake = Intake("stage", self.ledger, self.mailbox, bytes.decode, sieve=sieve)
        self.mailbox.attach()

    def take(self) -> list[Message]:
        run = self.mailbox.take_nowait(100)
        self.mailbox.done(run)
        return run

    @property
    def count(self) -> int:
        return self.ledger.counts.duplicates


def dead(message: Message) -> None:
    message.receipt.fail(Failure(ValueError("no"), "stage", 1, 0.0, 0.0))


async def test_a_duplicate_of_what_is_done_is_acknowledged_and_counted():
    stage = Stage(b"a1", b"b1")
    async with running(stage.ledger.run, stage.intake.run):
        for each in stage.take():
            each.receipt.acknowledge()
        await quiet()
        stage.wire.bring(b"a2", b"c1", b"b2")
        await quiet()
        assert bodies(stage.take()) == ["c1"]
        assert stage.wire.done == [b"a1", b"b1", b"a2", b"b2"]
        assert stage.count == 2


async def test_after_the_window_it_is_handled():
    stage = Stage(b"a1")
    async with running(stage.ledger.run, stage.intake.run):
        stage.take()[0].receipt.acknowledge()
        await quiet()
        stage.clock.advance(60)
        stage.wire.bring(b"a2")
        await quiet()
        assert bodies(stage.take()) == ["a2"]


async def test_a_duplicate_waits_while_the_first_is_in_hand_and_is_acknowledged_when_that_is_done():
    stage = Stage(b"a1", b"a2", b"b1", b"a3")
    async with running(stage.ledger.run, stage.intake.run):
        first, other = stage.take()
        assert bodies([first, other]) == ["a1", "b1"]
        other.receipt.acknowledge()
        await quiet()
        assert (stage.wire.done, stage.duplicates.waiting) == ([b"b1"], 2)
        first.receipt.acknowledge()
        await quiet()
        assert sorted(stage.wire.done) == [b"a1", b"a2", b"a3", b"b1"]
        assert (stage.count, stage.duplicates.waiting) == (2, 0)
        assert stage.take() == []


async def test_when_the_first_is_dead_the_next_is_handled_and_the_others_wait_for_that():
    stage = Stage(b"a1", b"a2", b"a3")
    async with running(stage.ledger.run, stage.intake.run):
        dead(stage.take()[0])
        await quiet()
        (second,) = stage.take()
        assert (second.body, stage.grave.raws, stage.wire.done) == ("a2", [b"a1"], [b"a1"])
        second.receipt.acknowledge()
        await quiet()
        assert sorted(stage.wire.done) == [b"a1", b"a2", b"a3"]
        assert stage.count == 1
        assert stage.take() == []


async def test_what_is_dead_is_not_done_so_that_it_is_handled_when_it_comes_again():
    stage = Stage(b"a1")
    async with running(stage.ledger.run, stage.intake.run):
        dead(stage.take()[0])
        await quiet()
        assert stage.grave.raws == [b"a1"]
        stage.wire.bring(b"a1")
        await quiet()
        assert bodies(stage.take()) == ["a1"]


async def test_when_the_first_goes_back_so_do_those_behind_it():
    stage = Stage(b"a1", b"a2")
    async with running(stage.ledger.run, stage.intake.run):
        stage.take()[0].receipt.give_back()
        await quiet()
        assert sorted(stage.wire.returned) == [b"a1", b"a2"]
        stage.wire.bring(b"a1")
        await quiet()
        assert bodies(stage.take()) == ["a1"]


async def test_what_is_done_is_written_down_before_it_is_acknowledged():
    stage = Stage(b"a1", b"a2")
    stage.store.gate = Event()
    async with running(stage.ledger.run, stage.intake.run):
        stage.take()[0].receipt.acknowledge()
        await quiet()
        assert stage.wire.done == []
        stage.store.gate.set()
        await quiet()
        assert stage.wire.done == [b"a1", b"a2"]


async def test_while_the_store_is_out_of_reach_everything_waits_and_nothing_is_lost():
    stage = Stage(b"a1", b"b1")
    async with running(stage.ledger.run, stage.intake.run):
        first, other = stage.take()
        stage.store.down = True
        first.receipt.acknowledge()
        stage.wire.bring(b"a2", b"c1")
        await quiet()
        assert not stage.duplicates.link.connected
        assert stage.wire.done == []
        assert stage.take() == []
        stage.store.down = False
        for _ in range(3):
            stage.clock.advance(15)
            await quiet()
        other.receipt.acknowledge()
        await quiet()
        assert bodies(stage.take()) == ["c1"]
        assert sorted(stage.wire.done) == [b"a1", b"a2", b"b1"]


async def test_stopped_without_its_store_it_hands_on_what_it_could_not_look_up():
    stage = Stage(b"a1", b"b1", b"a2")
    stage.store.down = True
    async with running(stage.ledger.run, stage.intake.run):
        assert stage.take() == []
        stage.intake.stop()
        await quiet()
        assert bodies(stage.take()) == ["a1", "b1"]
        assert stage.mailbox.closed


async def test_at_the_end_what_is_done_is_acknowledged_even_without_the_store():
    stage = Stage(b"a1", b"a2", b"b1")
    async with running(stage.intake.run):
        first, _ = stage.take()
        first.receipt.acknowledge()
    stage.store.down = True
    assert await stage.ledger.give_back() == 2
    assert (stage.wire.done, sorted(stage.wire.returned)) == ([b"a1"], [b"a2", b"b1"])


async def test_dead_after_the_intake_has_ended_those_behind_go_back():
    stage = Stage(b"a1", b"a2")
    async with running(stage.ledger.run, stage.intake.run):
        (first,) = stage.take()
        stage.intake.stop()
        await quiet()
        dead(first)
        await quiet()
        assert (stage.grave.raws, stage.wire.done, stage.wire.returned) == ([b"a1"], [b"a1"], [b"a2"])


async def test_a_flood_of_duplicates_stops_the_fetching_until_the_first_is_settled():
    stage = Stage(*[b"a"] * 50, waiting=10, capacity=5)
    async with running(stage.ledger.run, stage.intake.run):
        (first,) = stage.take()
        await quiet()
        assert 10 <= stage.duplicates.waiting < 15
        assert stage.wire.pending() > 30
        first.receipt.acknowledge()
        await quiet()
        assert (len(stage.wire.done), stage.count) == (50, 49)


async def test_dead_in_a_flood_the_next_one_is_handled_all_the_same():
    stage = Stage(*[b"a"] * 20, waiting=4, capacity=2)
    async with running(stage.ledger.run, stage.intake.run):
        for _ in range(5):
            dead(stage.take()[0])
            await quiet()
        stage.take()[0].receipt.acknowledge()
        await quiet()
        assert (len(stage.grave.raws), stage.count, len(stage.wire.done)) == (5, 14, 20)


async def test_a_message_like_no_other_is_always_handled_and_the_first_such_is_told_of(caplog):
    stage = Stage(b"", b"", b"", identify=first_letter)
    async with running(stage.ledger.run, stage.intake.run):
        assert bodies(stage.take()) == ["", "", ""]
    assert [record.message for record in caplog.records if "without an id" in record.message] != []
    assert sum("without an id" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("error", [KeyError("payment"), SystemExit("payment")])
async def test_what_cannot_be_told_is_dead_and_not_lost(error):
    def identify(message):
        raise error

    stage = Stage(b"a1", identify=identify)
    async with running(stage.ledger.run, stage.intake.run):
        assert stage.take() == []
        assert stage.grave.raws == [b"a1"]
        reason = f"whether it is a duplicate cannot be told: {type(error).__name__}: {error}"
        assert stage.grave.headers["headrace-reason"] == reason


async def test_paused_while_it_looks_up_it_goes_on_with_the_same_run():
    stage = Stage(b"a1", b"b1")
    stage.store.down = True
    async with running(stage.ledger.run, stage.intake.run):
        stage.intake.pause()
        await quiet()
        stage.store.down = False
        stage.intake.resume()
        stage.clock.advance(10)
        await quiet()
        assert bodies(stage.take()) == ["a1", "b1"]
        assert stage.wire.limits[0] == 100


async def test_paused_while_it_looks_up_it_hands_on_what_was_fetched_and_fetches_no_more():
    stage = Stage(b"a1", b"b1", b"a2")
    stage.store.down = True
    async with running(stage.ledger.run, stage.intake.run):
        stage.intake.pause()
        await quiet()
        stage.store.down = False
        stage.clock.advance(10)
        await quiet()
        fetches = len(stage.wire.limits)
        stage.wire.bring(b"c1")
        await quiet()
        first, other = stage.take()
        assert bodies([first, other]) == ["a1", "b1"]
        dead(first)
        await quiet()
        assert bodies(stage.take()) == ["a2"]
        assert stage.intake.paused
        assert len(stage.wire.limits) == fetches
        stage.intake.resume()
        await quiet()
        assert bodies(stage.take()) == ["c1"]


# -- every order in which things may happen --------------------------------------------------------------------------


class Inlet:
    """Tells what it was told."""

    def __init__(self) -> None:
        self.hands: list[Message] = []

    def drop(self, message: Message) -> None:
        message.receipt.acknowledge()

    def again(self, message: Message) -> None:
        self.hands.append(message)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.integers(0, 2)),
            st.tuples(st.sampled_from([Outcome.DONE, Outcome.DEAD, Outcome.RETURNED]), st.integers(0, 5)),
        ),
        max_size=40,
    )
)
async def test_each_message_is_handled_or_its_like_was_done(steps):
    """The model: by identity whether it was done. A message that was never handled must be of one that was."""
    clock, owner, inlet = VirtualClock(), Completed(), Inlet()
    duplicates = Duplicates(SeenHere(60, 1000, clock), Link(clock, logger, "store"), 100)
    done: set[bytes] = set()
    handled: Counter[Message] = Counter()
    everything: list[Message] = []

    async def come(number: int) -> None:
        message, identity = Message(number), b"%d" % number
        message.receipt = Receipt(owner, message)
        everything.append(message)
        if duplicates.first(message, identity, inlet):
            if (await duplicates.seen.known([identity]))[0]:
                assert identity in done
                duplicates.known(message)
                inlet.drop(message)
            else:
                inlet.hands.append(message)

    async def settle(outcome: Outcome, which: int) -> None:
        message = inlet.hands.pop(which % len(inlet.hands))
        identity = b"%d" % message.body
        assert identity not in done  # what was done is never handled again
        handled[message] += 1
        message.receipt.outcome, message.receipt.pending = outcome, 0
        if outcome is Outcome.DONE:
            done.add(identity)
        await duplicates.settled([message.receipt])

    for what, value in steps:
        if what == "come":
            await come(value)
        elif inlet.hands:
            await settle(what, value)
    while inlet.hands:
        await settle(Outcome.DONE, 0)
    assert duplicates.waiting == 0
    for message in everything:
        receipt = message.receipt
        if not handled[message] and receipt.outcome is Outcome.DONE:
            assert b"%d" % message.body in done
        assert receipt.pending == 0
        assert handled[message] <= 1
    assert repr(duplicates) == "<duplicates: 0 in hand, 0 wait for what becomes of them>"
