"""`to_all`: a result goes to every stage and publisher behind, each with a branch of the receipt."""

import pytest

from actors import Mailbox, Message, Outbox, Outlet, to_all
from tests.actors.fakes import Completed, bodies, message


class Desk:
    """A subscriber's way of passing on, with so many outlets; the last may be for answers."""

    def __init__(self, outlets: int, replies: bool = False, **fitting) -> None:
        self.owner = Completed()
        self.outbox = Outbox([Outlet(f"behind {at}", Mailbox[Message](10), **fitting) for at in range(outlets)])
        self.pass_on = to_all(self.outbox, replies)

    def handle(self, result, body="asked", reply_to=None) -> Message:
        handled = message(body, self.owner, key="k")
        handled.reply_to = reply_to
        self.pass_on(handled, result)
        return handled

    @property
    def made(self) -> list[list]:
        return [bodies(buffer) for buffer in self.outbox.buffers]

    def acknowledge(self) -> None:
        for buffer in self.outbox.buffers:
            for each in buffer:
                each.receipt.acknowledge()
            buffer.clear()


@pytest.mark.parametrize("outlets", [0, 1, 2, 3])
def test_a_result_goes_to_everyone_behind_and_is_done_when_they_all_are(outlets):
    desk = Desk(outlets)
    handled = desk.handle("result")
    assert desk.made == [["result"]] * outlets
    assert bool(desk.owner) == (outlets == 0)
    desk.acknowledge()
    assert desk.owner == [handled.receipt]


@pytest.mark.parametrize("outlets", [0, 1, 2])
def test_nothing_goes_nowhere_and_is_acknowledged(outlets):
    desk = Desk(outlets)
    handled = desk.handle(None)
    assert desk.made == [[]] * outlets
    assert desk.owner == [handled.receipt]


@pytest.mark.parametrize("outlets", [1, 2])
def test_a_message_as_result_sets_key_and_headers(outlets):
    desk = Desk(outlets)
    desk.handle(Message("result", key="other", headers={"a": "b"}))
    for buffer in desk.outbox.buffers:
        assert [(each.body, each.key, each.headers) for each in buffer] == [("result", "other", {"a": "b"})]


@pytest.mark.parametrize("empty", [0, "", [], False, {}])
def test_an_empty_result_is_a_result(empty):
    desk = Desk(1)
    desk.handle(empty)
    assert desk.made == [[empty]]


@pytest.mark.parametrize("outlets", [1, 2])
def test_a_result_is_made_to_fit_the_stage_behind(outlets):
    desk = Desk(outlets, adapt=int, lane=lambda each: each.body % 10)
    desk.handle("42")
    assert [(each.body, each.lane) for buffer in desk.outbox.buffers for each in buffer] == [(42, 2)] * outlets


@pytest.mark.parametrize(("outlets", "replies"), [(1, False), (2, False), (2, True), (3, True)])
def test_what_does_not_fit_raises_before_anything_is_passed_on(outlets, replies):
    def picky(body):
        raise TypeError("does not fit")

    desk = Desk(outlets, replies, adapt=picky)
    handled = message("asked", desk.owner)
    handled.reply_to = "inbox"
    with pytest.raises(TypeError):
        desk.pass_on(handled, "result")
    assert desk.made == [[]] * outlets
    assert handled.receipt.pending == 1


# -- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outlets", [1, 2, 3])
def test_whoever_asked_is_answered_and_the_rest_goes_on_as_always(outlets):
    desk = Desk(outlets, replies=True)
    handled = desk.handle("answer", reply_to="inbox")
    assert desk.made == [["answer"]] * outlets
    (answer,) = desk.outbox.buffers[-1]
    assert (answer.destination, answer.reply_to) == ("inbox", None)
    assert bool(desk.owner) is False
    desk.acknowledge()
    assert desk.owner == [handled.receipt]


@pytest.mark.parametrize("outlets", [1, 2])
def test_who_did_not_ask_is_not_answered(outlets):
    desk = Desk(outlets, replies=True)
    desk.handle("result")
    assert desk.outbox.buffers[-1] == []
    desk.acknowledge()
    assert len(desk.owner) == 1


def test_nothing_is_no_answer():
    desk = Desk(2, replies=True)
    desk.handle(None, reply_to="inbox")
    assert desk.made == [[], []]
    assert len(desk.owner) == 1
