"""`by_result`: a router's handler says where a message goes; all of it, or nothing."""

import pytest

from actors import Mailbox, Message, Outbox, Outlet, RoutingError, Send, by_result
from tests.actors.fakes import Completed, bodies, message


def check(order):
    """A stage, as a router may name it."""


class Desk:
    """A router with three targets; the last of them takes numbers only, keyed by their last digit."""

    def __init__(self) -> None:
        self.owner = Completed()
        self.outbox = Outbox(
            [
                Outlet("urgent", Mailbox[Message](9)),
                Outlet("check", Mailbox[Message](9)),
                Outlet("numbers", Mailbox[Message](9), int, lambda each: each.body % 10),
            ]
        )
        self.pass_on = by_result(self.outbox, {"urgent": 0, check: 1, "numbers": 2}, "by_priority")

    def route(self, result, body="12") -> Message:
        handled = message(body, self.owner, key="k")
        handled.headers = {"trace": "1"}
        self.pass_on(handled, result)
        return handled

    @property
    def made(self) -> list[list]:
        return [bodies(buffer) for buffer in self.outbox.buffers]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("result", "made"),
    [
        ("urgent", [["12"], [], []]),
        (check, [[], ["12"], []]),
        ("numbers", [[], [], [12]]),
        (["urgent", "numbers"], [["12"], [], [12]]),
        (("urgent", "urgent"), [["12", "12"], [], []]),
        (Send(check, "other"), [[], ["other"], []]),
        ([Send("urgent", "a"), check, Send("numbers", "7")], [["a"], ["12"], [7]]),
        (None, [[], [], []]),
        ([], [[], [], []]),
    ],
)
def test_a_message_goes_where_its_router_says_and_is_done_when_all_of_it_is(desk, result, made):
    handled = desk.route(result)
    assert desk.made == made
    count = sum(map(len, made))
    assert bool(desk.owner) == (count == 0)
    for buffer in desk.outbox.buffers:
        for each in buffer:
            assert each.receipt is handled.receipt
            each.receipt.acknowledge()
    assert desk.owner == [handled.receipt]


@pytest.mark.parametrize(
    "wrong", ["elsewhere", ["urgent", "elsewhere"], Send("elsewhere", 1), {"a": 1}, ["urgent", {}]]
)
def test_a_target_that_is_not_declared_fails_the_message_whole(desk, wrong):
    handled = message("12", desk.owner)
    with pytest.raises(RoutingError, match=r"^router by_priority returned .*; declared are check, numbers, urgent$"):
        desk.pass_on(handled, wrong)
    assert desk.made == [[], [], []]
    assert handled.receipt.pending == 1


def test_what_does_not_fit_one_target_goes_to_none(desk):
    handled = message("twelve", desk.owner)
    with pytest.raises(ValueError, match="invalid literal"):
        desk.pass_on(handled, ["urgent", "numbers"])
    assert desk.made == [[], [], []]
    assert handled.receipt.pending == 1


def test_what_goes_on_takes_over_key_and_headers(desk):
    desk.route(["urgent", check])
    for buffer in desk.outbox.buffers[:2]:
        (each,) = buffer
        assert (each.key, each.headers) == ("k", {"trace": "1"})


def test_what_is_sent_may_have_key_and_headers_of_its_own(desk):
    desk.route([Send("urgent", "a", key="other"), Send(check, "b", headers={"a": "b"}), Send("urgent", "c")])
    (a, c), (b,), _ = desk.outbox.buffers
    assert (a.key, a.headers) == ("other", {"trace": "1"})
    assert (b.key, b.headers) == ("k", {"a": "b"})
    assert (c.key, c.headers) == ("k", {"trace": "1"})


def test_a_message_that_is_sent_keeps_what_it_sets(desk):
    desk.route(Send("urgent", Message("a", key="inner", headers={"a": "b"}, id="new"), key="outer"))
    ((each,), _, _) = desk.outbox.buffers
    assert (each.body, each.key, each.headers, each.id) == ("a", "outer", {"a": "b"}, "new")


def test_the_key_of_the_stage_behind_is_that_of_what_it_gets(desk):
    desk.route([Send("numbers", "37"), "numbers"])
    assert [each.lane for each in desk.outbox.buffers[2]] == [7, 2]
