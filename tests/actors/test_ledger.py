"""`Ledger`: settles in runs, dead letters before their originals, and gives back what is open in the end."""

import pytest
from anyio import CancelScope, Event, create_task_group
from anyio.lowlevel import checkpoint

from actors import Failure, Ledger, Message, PublishError, VirtualClock
from actors.burials import BURY_AGAIN
from actors.ledger import BEHIND
from tests.actors.fakes import Shelf, Wire, logger, quiet, running

pytestmark = pytest.mark.anyio


class Books:
    """A ledger, the source it settles with, and its dead letters."""

    def __init__(self) -> None:
        self.clock, self.wire, self.grave = VirtualClock(), Wire(), Shelf("grave")
        self.ledger = Ledger("wire", self.wire, self.grave, self.clock, logger, ("memory", "wire"))

    def issue(self, *raws: bytes) -> list[Message]:
        run = [Message(raw=raw, source="wire", key="k", offset=at) for at, raw in enumerate(raws)]
        self.ledger.issue(run)
        return run

    def issue_letters(self, letters: str) -> list[Message]:
        return self.issue(*(letter.encode() for letter in letters))

    async def after(self, seconds: float) -> None:
        await quiet()
        self.clock.advance(seconds)
        await quiet()


def die(message, reason: str = "no", sink=None, attempts: int = 1) -> None:
    message.receipt.fail(Failure(ValueError(reason), "stage", attempts, 0.0, 60.0, sink))


@pytest.fixture
def books() -> Books:
    return Books()


# -- settling --------------------------------------------------------------------------------------------------------


async def test_what_is_complete_is_settled_in_one_call(books):
    run = books.issue_letters("abcd")
    async with running(books.ledger.run):
        run[0].receipt.acknowledge()
        run[2].receipt.acknowledge()
        run[1].receipt.give_back()
        await quiet()
    assert (books.wire.done, books.wire.returned, books.wire.runs) == ([b"a", b"c"], [b"b"], [3])
    counts = books.ledger.counts
    assert (counts.received, counts.settled, counts.returned, len(books.ledger.open)) == (4, 2, 1, 1)
    assert repr(books.ledger) == "<Ledger of wire: 1 open, 2 settled>"


async def test_what_becomes_complete_while_it_settles_is_settled_next(books):
    first, second, third = books.issue_letters("abc")
    books.wire.down = 1
    async with running(books.ledger.run):
        first.receipt.acknowledge()
        await quiet()
        second.receipt.acknowledge()
        third.receipt.acknowledge()
        await quiet()
        assert books.wire.runs == []
        await books.after(20)
        assert books.wire.runs == [1, 2]


async def test_ends_when_all_that_was_issued_is_settled(books):
    (message,) = books.issue(b"a")
    async with create_task_group() as tasks:
        tasks.start_soon(books.ledger.run)
        await quiet()
        books.ledger.end()
        await quiet()
        assert books.wire.done == []
        message.receipt.acknowledge()
    assert books.wire.done == [b"a"]


async def test_ends_at_once_when_nothing_was_issued(books):
    books.ledger.end()
    await books.ledger.run()


async def test_a_settled_message_and_its_receipt_let_each_other_go(books):
    (message,) = books.issue(b"a")
    receipt = message.receipt
    receipt.acknowledge()
    await books.ledger.settle()
    assert receipt.message is None


async def test_a_broker_out_of_reach_is_waited_for_and_never_counted(books):
    (message,) = books.issue(b"a")
    books.wire.down = 3
    message.receipt.acknowledge()
    async with running(books.ledger.run):
        assert not books.ledger.link.connected
        for _ in range(3):
            await books.after(20)
        assert books.wire.done == [b"a"]
        assert books.ledger.link.connected


async def test_after_a_crash_in_settling_the_same_run_is_settled_again(books):
    run = books.issue_letters("ab")
    books.wire.broken = RuntimeError("a bug in the adapter")
    for message in run:
        message.receipt.acknowledge()
    with pytest.raises(RuntimeError):
        await books.ledger.run()
    books.ledger.end()
    await books.ledger.run()
    assert books.wire.done == [b"a", b"b"]


async def test_tells_the_age_of_the_oldest_and_how_long_settling_took(books):
    assert books.ledger.oldest is None
    first, _ = books.issue_letters("ab")
    books.clock.advance(3)
    assert books.ledger.oldest == 3
    first.receipt.acknowledge()
    await books.ledger.settle()
    assert list(books.ledger.latency.samples) == [3]


# -- dead letters ----------------------------------------------------------------------------------------------------


async def test_a_dead_letter_is_confirmed_before_its_original_is_acknowledged(books):
    (message,) = books.issue(b"a")
    books.grave.gate = Event()
    async with running(books.ledger.run):
        die(message)
        await quiet()
        assert books.grave.runs == [1]
        assert books.wire.done == []
        books.grave.gate.set()
        await quiet()
        assert books.grave.raws == [b"a"]
        assert books.wire.done == [b"a"]
    assert (books.ledger.counts.dead, books.ledger.counts.settled) == (1, 1)


async def test_the_dead_of_a_run_are_buried_in_one_call_a_sink(books):
    other = Shelf("other")
    run = books.issue_letters("abcd")
    for message, sink in zip(run, [None, other, None, other], strict=True):
        die(message, sink=sink)
    await books.ledger.settle()
    assert (books.grave.runs, books.grave.raws) == ([2], [b"a", b"c"])
    assert (other.runs, other.raws) == ([2], [b"b", b"d"])
    assert [each.destination for each in other.published] == ["other", "other"]
    assert books.wire.done == [b"a", b"b", b"c", b"d"]


async def test_a_refused_dead_letter_is_tried_again_and_its_original_kept_until_then(books, caplog):
    good, bad, done = books.issue_letters("abc")
    books.grave.refuse.add(b"b")
    async with running(books.ledger.run):
        die(good)
        die(bad)
        done.receipt.acknowledge()
        await quiet()
        assert books.wire.done == [b"a", b"c"]
        assert "a dead letter was refused, tried again within 5 s" in caplog.text
        await books.after(BURY_AGAIN)
        assert books.wire.done == [b"a", b"c"]
        books.grave.refuse.clear()
        await books.after(BURY_AGAIN)
        assert books.wire.done == [b"a", b"c", b"b"]
        assert books.grave.raws == [b"a", b"b"]
    assert books.ledger.counts.dead == 2
    assert not books.ledger.open


async def test_it_does_not_end_while_a_dead_letter_is_refused(books):
    (bad,) = books.issue(b"a")
    books.grave.refuse.add(b"a")
    die(bad)
    books.ledger.end()
    async with create_task_group() as tasks:
        tasks.start_soon(books.ledger.run)
        await books.after(BURY_AGAIN)
        assert len(books.ledger.open) == 1
        books.grave.refuse.clear()
        await books.after(BURY_AGAIN)
    assert books.wire.done == [b"a"]


async def test_settling_that_fails_after_the_burial_buries_nobody_twice(books):
    good, bad = books.issue_letters("ab")
    books.grave.refuse.add(b"b")
    books.wire.broken = RuntimeError("a bug in the adapter")
    die(good)
    die(bad)
    with pytest.raises(RuntimeError):
        await books.ledger.run()
    async with running(books.ledger.run):
        assert books.wire.done == [b"a"]
        books.grave.refuse.clear()
        await books.after(BURY_AGAIN)
        await books.after(BURY_AGAIN)
        assert books.wire.done == [b"a", b"b"]
    assert books.grave.raws == [b"a", b"b"]
    assert books.ledger.counts.dead == 2


async def test_a_letter_that_waits_to_be_tried_again_is_not_tried_before_whatever_crashes_beside_it(books):
    other = Shelf("other")
    bad, lost = books.issue_letters("ab")
    books.grave.refuse.add(b"a")
    other.broken = RuntimeError("a bug in the adapter")
    die(bad)
    die(lost, sink=other)
    with pytest.raises(RuntimeError):
        await books.ledger.run()
    async with running(books.ledger.run):
        assert books.grave.runs == [1]
        assert books.wire.done == [b"b"]
        await books.after(BURY_AGAIN)
        assert books.grave.runs == [1, 1]
        books.grave.refuse.clear()
        await books.after(BURY_AGAIN)
        assert books.wire.done == [b"b", b"a"]
    assert books.ledger.counts.dead == 2


async def test_a_grave_out_of_reach_is_waited_for_and_does_not_count_as_the_source(books):
    (message,) = books.issue(b"a")
    books.grave.down = 2
    await books.ledger.link.insist(books.wire.open)
    async with running(books.ledger.run):
        die(message)
        await quiet()
        assert books.ledger.link.connected
        await books.after(20)
        await books.after(20)
        assert books.grave.raws == [b"a"]
        assert books.wire.done == [b"a"]


async def test_cancelled_in_a_burial_it_buries_again_after_the_restart(books):
    (message,) = books.issue(b"a")
    books.grave.gate = Event()
    async with running(books.ledger.run):
        die(message)
        await quiet()
    books.grave.gate.set()
    books.ledger.end()
    await books.ledger.run()
    assert books.grave.raws == [b"a"]
    assert books.wire.done == [b"a"]


async def test_a_message_that_does_not_decode_is_dead_on_arrival(books):
    (message,) = books.issue(b"not json")
    books.ledger.reject(message, ValueError("no json"), "stage")
    await books.ledger.settle()
    assert books.grave.headers["headrace-reason"] == "no json"
    assert books.grave.headers["headrace-attempts"] == "1"


async def test_an_error_that_cannot_be_written_down_kills_nobody(books):
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("even this fails")

    (message,) = books.issue(b"a")
    message.receipt.fail(Failure(Unspeakable(), "stage", 1, 0.0, 0.0))
    await books.ledger.settle()
    assert books.grave.headers["headrace-reason"] == "its text cannot be had: RuntimeError"
    assert books.wire.done == [b"a"]


# -- giving back -----------------------------------------------------------------------------------------------------


async def test_gives_back_what_is_open_in_its_order_and_settles_what_is_done(books):
    run = books.issue_letters("abcdef")
    run[2].receipt.acknowledge()
    run[4].receipt.split(1)
    run[4].receipt.acknowledge()
    assert await books.ledger.give_back() == 5
    assert books.wire.done == [b"c"]
    assert books.wire.returned == [b"a", b"b", b"d", b"e", b"f"]
    assert not books.ledger.open
    assert books.ledger.counts.returned == 5


async def test_gives_back_what_was_being_settled(books):
    first, second = books.issue_letters("ab")
    books.wire.down = 1
    async with running(books.ledger.run):
        first.receipt.acknowledge()
        await quiet()
        second.receipt.give_back()
    assert await books.ledger.give_back() == 1
    assert (books.wire.done, books.wire.returned) == ([b"a"], [b"b"])


async def test_gives_back_the_dead_whose_letter_is_not_confirmed_and_waits_for_no_grave(books):
    refused, unburied = books.issue_letters("ab")
    books.grave.refuse.add(b"a")
    die(refused)
    async with running(books.ledger.run):
        books.grave.down = 1_000_000
        die(unburied)
        await quiet()
    assert await books.ledger.give_back() == 2
    assert sorted(books.wire.returned) == [b"a", b"b"]
    books.grave.down = 0
    books.clock.advance(100)
    await books.ledger.settle()
    assert (books.wire.done, books.ledger.counts.dead) == ([], 0)


async def test_gives_back_nothing_when_nothing_is_open(books):
    assert await books.ledger.give_back() == 0
    assert books.wire.runs == []


# -- keeping pace ----------------------------------------------------------------------------------------------------


async def test_the_intake_is_held_back_while_the_grave_is_out_of_reach(books):
    books.grave.down = 1
    for message in books.issue(*(b"%d" % at for at in range(BEHIND + 1))):
        die(message)
    went_on = []

    async def fetch():
        await books.ledger.keep_pace()
        went_on.append(True)

    async with running(books.ledger.run, fetch):
        assert books.ledger.behind
        assert not went_on
        await books.after(20)
        assert went_on
        assert not books.ledger.behind


async def test_the_intake_is_held_back_by_letters_that_are_refused_again_and_again(books):
    run = books.issue(*(b"%d" % at for at in range(BEHIND + 1)))
    books.grave.refuse.update(message.raw for message in run)
    for message in run:
        die(message)
    async with running(books.ledger.run, books.ledger.keep_pace):
        assert books.ledger.behind
        books.grave.refuse.clear()
        await books.after(BURY_AGAIN)
        assert not books.ledger.behind


async def test_with_little_to_settle_nobody_is_held_back(books):
    for message in books.issue_letters("abc"):
        message.receipt.acknowledge()
    with CancelScope() as scope:
        await books.ledger.keep_pace()
    assert not scope.cancelled_caught


@pytest.mark.parametrize("turns", range(4, 16))
async def test_cancelled_at_any_turn_and_restarted_it_settles_each_message_once(books, turns):
    run = books.issue_letters("abcdefgh")
    books.ledger.end()

    async def decide():
        for at, message in enumerate(run):
            await checkpoint()
            if at % 3 == 0:
                die(message)
            elif at % 3 == 1:
                message.receipt.acknowledge()
            else:
                message.receipt.give_back()

    async def slow_settle(done, returned):
        await checkpoint()
        books.wire.done += [message.raw for message in done]
        books.wire.returned += [message.raw for message in returned]

    books.wire.settle = slow_settle
    async with create_task_group() as tasks:
        tasks.start_soon(decide)
        while books.ledger.open:
            with CancelScope() as scope:
                async with create_task_group() as lives:
                    lives.start_soon(books.ledger.run)
                    for _ in range(turns):
                        await checkpoint()
                    scope.cancel()
    assert sorted(books.wire.done) == [b"a", b"b", b"d", b"e", b"g", b"h"]
    assert sorted(books.wire.returned) == [b"c", b"f"]
    assert set(books.grave.raws) == {b"a", b"d", b"g"}


def test_a_refusal_says_how_many_and_why():
    assert str(PublishError({3: ValueError("too large")})) == "1 messages were refused; the first: too large"
