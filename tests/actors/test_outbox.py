"""`Outbox`, `Outlet` and `passed_on`: what a worker made, on its way to the mailboxes behind."""

import pytest
from anyio import create_task_group

from actors import Lanes, Mailbox, MailboxClosed, Message, Origin, Outbox, Outlet
from actors.outbox import passed_on
from tests.actors.fakes import Completed, bodies, message, quiet, running

pytestmark = pytest.mark.anyio


def outbox(*capacities: int) -> tuple[Outbox, list[Mailbox[Message]]]:
    mailboxes: list[Mailbox[Message]] = [Mailbox(capacity, f"behind {at}") for at, capacity in enumerate(capacities)]
    return Outbox([Outlet(mailbox.name, mailbox) for mailbox in mailboxes]), mailboxes


def fill(made: Outbox, *contents: str) -> None:
    for buffer in made.buffers:
        buffer.extend(Message(body) for body in contents)


# -- flushing --------------------------------------------------------------------------------------------------------


async def test_puts_everything_waiting_for_room_in_each_mailbox():
    made, (small, large) = outbox(1, 10)
    fill(made, "a", "b")
    assert len(made) == 4
    async with running(made.flush):
        assert (len(small), len(large), len(made)) == (1, 0, 3)
        assert bodies(small.take_nowait(1)) == ["a"]
        await quiet()
        assert (len(small), len(large), len(made)) == (1, 2, 0)


async def test_without_waiting_it_puts_what_fits_and_keeps_the_rest():
    made, (small, large) = outbox(1, 10)
    fill(made, "a", "b")
    made.flush_nowait()
    assert (len(small), len(large), len(made)) == (1, 2, 1)
    small.take_nowait(1)
    made.flush_nowait()
    assert bodies(small.take_nowait(1)) == ["b"]


async def test_cancelled_it_keeps_what_was_not_put_and_goes_on_with_it():
    made, (small,) = outbox(2)
    fill(made, *"abcde")
    async with create_task_group() as tasks:
        tasks.start_soon(made.flush)
        await quiet()
        tasks.cancel_scope.cancel()
    assert bodies(made.buffers[0]) == ["c", "d", "e"]
    seen = bodies(small.take_nowait(9))
    async with running(made.flush):
        for _ in range(3):
            seen += bodies(small.take_nowait(9))
            await quiet()
    assert seen == list("abcde")


async def test_what_is_added_while_it_waits_goes_out_behind():
    made, (small,) = outbox(1)
    fill(made, "a", "b")
    async with running(made.flush):
        fill(made, "c")
        made.flush_nowait()
        seen = []
        for _ in range(3):
            seen += bodies(small.take_nowait(9))
            await quiet()
        assert seen == ["a", "b", "c"]


async def test_a_closed_mailbox_is_an_error_and_nothing_is_lost():
    made, (small,) = outbox(1)
    fill(made, "a")
    small.close()
    with pytest.raises(MailboxClosed):
        await made.flush()
    assert len(made) == 1


async def test_without_its_last_outlet_it_shares_the_other_buffers():
    made, _ = outbox(1, 1)
    part = made.without_last()
    part.buffers[0].append(Message("a"))
    assert [len(buffer) for buffer in made.buffers] == [1, 0]


# -- fitting ---------------------------------------------------------------------------------------------------------


def test_an_outlet_makes_of_a_body_what_the_stage_behind_takes_and_its_key():
    outlet = Outlet("behind", Lanes(5), int, lambda each: each.body % 2)
    made = outlet.fit(Message("7"))
    assert (made.body, made.lane) == (7, 1)
    assert not outlet.plain
    assert Outlet("behind", Mailbox(5)).plain


@pytest.mark.parametrize("wrong", [{"adapt": int}, {"lane": lambda each: []}])
def test_what_does_not_fit_raises(wrong):
    with pytest.raises((ValueError, TypeError)):
        Outlet("behind", Lanes(1), **wrong).fit(Message("seven"))


# -- results ---------------------------------------------------------------------------------------------------------


def handled() -> Message:
    made = message("body", Completed(), key="key")
    made.headers = {"trace": "1"}
    made.reply_to = "inbox"
    made.origin = Origin(id="id", source="source", offset=7, correlation_id="c")
    return made


def test_a_bare_result_takes_over_receipt_origin_key_and_headers():
    of = handled()
    made = passed_on(of, "result")
    assert (made.body, made.key, made.headers, made.origin) == ("result", "key", {"trace": "1"}, of.origin)
    assert made.receipt is of.receipt
    assert (made.attempt, made.raw, made.reply_to) == (1, None, None)


def test_a_message_as_result_sets_what_it_names_and_takes_over_the_rest():
    of = handled()
    result = Message("result", key="other", headers={"a": "b"}, reply_to="elsewhere", id="new id")
    made = passed_on(of, result)
    assert (made.body, made.key, made.headers, made.reply_to) == ("result", "other", {"a": "b"}, "elsewhere")
    assert (made.id, made.source, made.offset, made.correlation_id) == ("new id", "source", 7, "c")
    assert of.id == "id"
    assert made.receipt is of.receipt
    kept = passed_on(of, Message("result"))
    assert (kept.key, kept.headers, kept.origin) == ("key", {"trace": "1"}, of.origin)


def test_the_handled_message_itself_as_result_goes_on_as_a_new_one():
    of = handled()
    of.attempt = 3
    made = passed_on(of, of)
    assert made is not of
    assert (made.body, made.attempt, made.reply_to) == ("body", 1, None)
