"""`Intake`: fetches as much as there is room for, decodes, and loses nothing by stopping, pausing or crashing."""

import pytest
from anyio import Event, create_task_group
from anyio.lowlevel import checkpoint

from actors import DecodeError, Intake, Lanes, Ledger, Mailbox, Message, VirtualClock
from actors.intake import MOST
from actors.ledger import BEHIND
from tests.actors.fakes import Shelf, Wire, bodies, logger, quiet, running

pytestmark = pytest.mark.anyio


def decode(raw: bytes) -> str:
    if raw == b"bad":
        raise ValueError("this is bad")
    return raw.decode()


class Inlet:
    """An intake, its source, its ledger and the mailbox it fills."""

    def __init__(self, *raws: bytes | None, capacity: int = 4, mailbox: Mailbox | None = None, **options) -> None:
        self.clock, self.wire, self.grave = VirtualClock(), Wire(*raws), Shelf("grave")
        self.mailbox = mailbox if mailbox is not None else Mailbox(capacity, "inlet")
        self.ledger = Ledger("wire", self.wire, self.grave, self.clock, logger)
        self.intake = Intake("stage", self.ledger, self.mailbox, options.pop("decode", decode), **options)
        self.mailbox.attach()

    def crowd(self, *contents: str) -> None:
        """Somebody else puts messages into the mailbox, while the intake waits for its source."""
        self.mailbox.put_nowait([Message(body) for body in contents])

    def take(self, limit: int = 100) -> list:
        run = self.mailbox.take_nowait(limit)
        self.mailbox.done(run)
        return bodies(run)


# -- fetching --------------------------------------------------------------------------------------------------------


async def test_hands_on_what_it_decodes_in_order_each_with_a_receipt():
    inlet = Inlet(b"a", b"b")
    async with running(inlet.intake.run):
        run = inlet.mailbox.take_nowait(9)
        assert bodies(run) == ["a", "b"]
        assert list(inlet.ledger.open) == [message.receipt for message in run]
        assert inlet.wire.opened == 1
        inlet.wire.bring(b"c")
        await quiet()
        assert inlet.take() == ["c"]


async def test_fetches_as_many_as_there_is_room_for_and_then_no_more():
    inlet = Inlet(*(b"%d" % at for at in range(20)), capacity=4)
    async with running(inlet.intake.run):
        assert len(inlet.mailbox) == 4
        assert len(inlet.ledger.open) == 4
        inlet.mailbox.take_nowait(3)
        await quiet()
        assert len(inlet.ledger.open) == 7
        assert inlet.wire.limits == [4, 3]


async def test_does_not_fetch_more_than_a_turn_of_the_others_allows():
    inlet = Inlet(*[b"x"] * 10 * MOST, capacity=11 * MOST)
    turns = []

    async def other():
        while len(inlet.mailbox) < 10 * MOST:
            turns.append(len(inlet.mailbox))
            await checkpoint()

    async with create_task_group() as tasks:
        tasks.start_soon(other)
        tasks.start_soon(inlet.intake.run)
        await quiet()
        tasks.cancel_scope.cancel()
    assert inlet.wire.limits[0] == MOST
    assert len(set(turns)) > 2


async def test_a_stream_of_nothing_but_refused_messages_lets_others_have_their_turn_and_stays_bounded():
    inlet = Inlet(*[b"bad"] * 5 * BEHIND, capacity=256)
    inlet.grave.gate = Event()
    async with running(inlet.ledger.run, inlet.intake.run):
        assert BEHIND < len(inlet.ledger.open) <= BEHIND + 256
        inlet.grave.gate.set()
        await quiet()
        assert not inlet.ledger.open
        assert len(inlet.wire.done) == 5 * BEHIND


async def test_counts_what_was_delivered_before():
    inlet = Inlet(b"a", b"b")
    inlet.wire.waiting[1].attempt = 2
    async with running(inlet.intake.run):
        assert (inlet.ledger.counts.received, inlet.ledger.counts.redelivered) == (2, 1)


async def test_a_broker_out_of_reach_is_waited_for():
    opened: list[bool] = []
    inlet = Inlet(b"a", on_open=lambda: opened.append(True))
    inlet.wire.down = 2
    async with running(inlet.intake.run):
        assert not inlet.intake.link.connected
        for _ in range(2):
            assert inlet.take() == []
            assert not opened
            inlet.clock.advance(1)
            await quiet()
        assert inlet.take() == ["a"]
        assert inlet.intake.link.connected
        assert opened == [True]


# -- decoding --------------------------------------------------------------------------------------------------------


async def test_what_does_not_decode_is_dead_on_arrival_and_the_stream_goes_on():
    inlet = Inlet(b"a", b"bad", b"b", refusal=lambda error: DecodeError(f"refused: {error}"))
    async with running(inlet.ledger.run, inlet.intake.run):
        assert inlet.take() == ["a", "b"]
        assert inlet.grave.raws == [b"bad"]
        assert inlet.grave.headers["headrace-reason"] == "refused: this is bad"
        assert inlet.wire.done == [b"bad"]


@pytest.mark.parametrize("error", [SystemExit(1), RecursionError()])
async def test_whatever_decoding_raises_concerns_that_message_alone(error):
    def fatal(raw):
        if raw == b"bad":
            raise error
        return raw

    inlet = Inlet(b"a", b"bad", b"b", decode=fatal)
    async with running(inlet.intake.run):
        assert inlet.take() == [b"a", b"b"]
        assert len(inlet.ledger.open) == 3


async def test_a_body_over_the_limit_is_not_even_decoded():
    seen: list[bytes] = []
    inlet = Inlet(b"123", b"1234", decode=seen.append, max_body=3)
    async with running(inlet.ledger.run, inlet.intake.run):
        assert seen == [b"123"]
        assert inlet.grave.headers["headrace-reason"] == "a body of 4 bytes is over the limit of max_body=3"


async def test_a_tombstone_is_decoded_as_no_bytes_and_stays_none():
    inlet = Inlet(None)
    async with running(inlet.intake.run):
        (message,) = inlet.mailbox.take_nowait(1)
        assert (message.raw, message.body) == (None, "")


async def test_a_key_is_taken_where_order_is_kept_and_one_that_cannot_be_is_refused():
    def lane(message):
        return [] if message.body == "x" else message.body[0]

    inlet = Inlet(b"a1", b"x", b"a2", mailbox=Lanes(10), lane=lane)
    async with running(inlet.ledger.run, inlet.intake.run):
        held = inlet.mailbox.take_nowait(1)
        assert bodies(held) == ["a1"]
        assert inlet.mailbox.take_nowait(1) == []
        assert inlet.grave.raws == [b"x"]


# -- stopping --------------------------------------------------------------------------------------------------------


async def test_stopped_it_closes_the_mailbox_behind_what_it_fetched_and_ends_the_ledger():
    inlet = Inlet(b"a", b"b")
    async with create_task_group() as tasks:
        tasks.start_soon(inlet.ledger.run)
        tasks.start_soon(inlet.intake.run)
        await quiet()
        inlet.intake.stop()
        await quiet()
        assert inlet.mailbox.closed
        for message in inlet.mailbox.take_nowait(9):
            message.receipt.acknowledge()
    assert inlet.wire.done == [b"a", b"b"]


async def test_stopped_while_its_mailbox_is_full_it_still_hands_on_what_is_in_hand():
    inlet = Inlet(capacity=2)
    async with create_task_group() as tasks:
        tasks.start_soon(inlet.intake.run)
        await quiet()
        inlet.crowd("x", "y")
        inlet.wire.bring(b"a", b"b")
        await quiet()
        inlet.intake.stop()
        await quiet()
        assert not inlet.mailbox.closed
        assert inlet.take(1) == ["x"]
        await quiet()
        assert inlet.take(2) == ["y", "a"]
    assert inlet.mailbox.closed
    assert inlet.take() == ["b"]


async def test_stopped_before_it_runs_it_fetches_nothing():
    inlet = Inlet(b"a")
    inlet.intake.stop()
    await inlet.intake.run()
    assert inlet.mailbox.closed
    assert inlet.wire.limits == []


async def test_stopped_while_the_broker_is_out_of_reach_it_ends():
    inlet = Inlet(b"a")
    inlet.wire.down = 1000
    async with create_task_group() as tasks:
        tasks.start_soon(inlet.intake.run)
        await quiet()
        inlet.intake.stop()
    assert inlet.mailbox.closed


async def test_two_intakes_of_one_mailbox_close_it_together():
    one = Inlet(b"a")
    two = Inlet(b"b", mailbox=one.mailbox)
    async with create_task_group() as tasks:
        tasks.start_soon(one.intake.run)
        tasks.start_soon(two.intake.run)
        await quiet()
        one.intake.stop()
        await quiet()
        assert not one.mailbox.closed
        two.wire.bring(b"c")
        await quiet()
        two.intake.stop()
    assert sorted(one.take()) == ["a", "b", "c"]


# -- cancelled and crashed -------------------------------------------------------------------------------------------


async def test_cancelled_with_messages_in_hand_it_hands_them_on_after_the_restart():
    inlet = Inlet(capacity=2)
    async with running(inlet.intake.run):
        inlet.crowd("x")
        inlet.wire.bring(b"a", b"b")
        await quiet()
    assert inlet.take() == ["x", "a"]
    async with running(inlet.intake.run):
        assert inlet.take() == ["b"]
    assert len(inlet.ledger.open) == 2


async def test_a_crash_of_the_source_loses_nothing_and_does_not_open_it_twice():
    inlet = Inlet()
    async with create_task_group() as tasks:
        tasks.start_soon(inlet.intake.run)
        await quiet()
        tasks.cancel_scope.cancel()
    inlet.wire.broken = RuntimeError("a bug in the adapter")
    with pytest.raises(RuntimeError):
        await inlet.intake.run()
    inlet.wire.bring(b"a")
    async with running(inlet.intake.run):
        assert inlet.take() == ["a"]
        assert inlet.wire.opened == 1


async def test_stopped_after_a_crash_it_is_stopped():
    inlet = Inlet(b"a")
    inlet.wire.broken = RuntimeError("a bug in the adapter")
    with pytest.raises(RuntimeError):
        await inlet.intake.run()
    inlet.intake.stop()
    await inlet.intake.run()
    assert inlet.mailbox.closed


# -- pausing ---------------------------------------------------------------------------------------------------------


async def test_paused_it_fetches_nothing_until_resumed():
    inlet = Inlet(b"a")
    async with running(inlet.intake.run):
        assert inlet.take() == ["a"]
        inlet.intake.pause()
        inlet.intake.pause()
        assert inlet.intake.paused
        inlet.wire.bring(b"b")
        await quiet()
        assert inlet.take() == []
        inlet.intake.resume()
        inlet.intake.resume()
        assert not inlet.intake.paused
        await quiet()
        assert inlet.take() == ["b"]


async def test_paused_it_can_be_stopped():
    inlet = Inlet(b"a")
    inlet.intake.pause()
    async with create_task_group() as tasks:
        tasks.start_soon(inlet.intake.run)
        await quiet()
        inlet.intake.stop()
    assert inlet.wire.limits == []


async def test_paused_it_has_its_source_let_go_of_what_was_read_ahead_however_often_that_takes():
    inlet, released = Inlet(b"a"), []

    async def release() -> None:
        inlet.wire._reach()
        released.append(len(inlet.wire.limits))

    setattr(inlet.wire, "release", release)  # noqa: B010  # which the others have not
    async with running(inlet.intake.run):
        assert inlet.take() == ["a"]
        assert released == []
        inlet.wire.down = 1
        inlet.intake.pause()
        await quiet()
        assert released == []
        assert not inlet.intake.link.connected
        inlet.clock.advance(10)
        await quiet()
        assert released == [len(inlet.wire.limits)]
        assert inlet.intake.link.connected
        inlet.wire.bring(b"b")
        inlet.intake.resume()
        await quiet()
        assert inlet.take() == ["b"]
        assert len(released) == 1


async def test_resumed_and_paused_again_at_once_it_stays_paused():
    inlet = Inlet(b"a")
    inlet.intake.pause()
    async with running(inlet.intake.run):
        inlet.intake.resume()
        inlet.intake.pause()
        await quiet()
        assert inlet.take() == []
        inlet.intake.resume()
        await quiet()
        assert inlet.take() == ["a"]
