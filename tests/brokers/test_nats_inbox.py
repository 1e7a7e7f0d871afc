"""What a sink of JetStream makes of what comes to its inbox, without a server."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.nats.confirms import Part, Run
from engine.nats.inbox import PIECE, Inbox
from tests.brokers.contract import message

MOST = 1024 * 1024


class Post:
    """An inbox, and a server that answers to what is written in the order that the test wants."""

    def __init__(self, takes: str = "elsewhere") -> None:
        self.inbox = Inbox(takes)
        self.inbox.begin("_INBOX.a", "nats somewhere")

    def write(self, run: Run) -> list[str]:
        """Where the answers to a run are expected."""
        return [reply for piece in self.inbox.pieces(run, MOST) for _, reply, _, _ in piece]

    def confirm(self, reply: str, stream: str = "S", **more: object) -> None:
        said = json.dumps({"stream": stream, "seq": 1, **more}, separators=(",", ":"))
        assert self.inbox.take(reply.encode(), b"", said.encode(), None)

    def refuse(self, reply: str, code: int) -> None:
        said = {"error": {"code": 400, "err_code": code, "description": "no"}, "stream": "S", "seq": 0}
        assert self.inbox.take(reply.encode(), b"", json.dumps(said).encode(), None)

    def nobody(self, reply: str) -> None:
        """No stream has taken it."""
        assert not self.inbox.take(reply.encode(), b"", b"", {"Status": "503"})
        self.inbox.told(reply, b"", {"Status": "503"})


def run_of(count: int, raw: bytes = b"1") -> Run:
    return Run([Part(index, message(raw, "s"), "s", raw, {"Nats-Msg-Id": str(index)}) for index in range(count)])


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_a_run_is_through_when_the_last_of_it_is_confirmed_in_whatever_order(one: list[int], other: list[int]) -> None:
    post, runs = Post(), [run_of(6), run_of(6)]
    replies = [post.write(run) for run in runs]
    for first, second in zip(one, other, strict=True):
        assert not any(run.news.is_set() for run in runs)
        post.confirm(replies[0][first])
        post.confirm(replies[1][second])
    assert all(run.news.is_set() and not run.left and not run.refused for run in runs)
    assert not post.inbox.waiting


def test_what_somebody_says_late_that_no_stream_takes_is_of_no_account_when_it_is_written_again() -> None:
    post, run = Post(), run_of(3)
    before = post.write(run)
    post.nobody(before[0])
    assert run.missing == 1
    run.missing += 1  # the stream was made anew
    again = post.write(run)
    post.nobody(before[1])
    post.nobody(before[2])
    assert not run.refused
    for reply in again:
        post.confirm(reply)
    assert not run.left
    assert not run.refused


def test_what_no_stream_takes_though_it_was_looked_for_is_refused() -> None:
    post, run = Post(), run_of(2)
    post.nobody(post.write(run)[0])
    run.missing += 1
    again = post.write(run)
    post.confirm(again[0])
    post.nobody(again[1])
    assert "no stream takes s" in str(run.refused[1])
    assert run.news.is_set()


def test_what_its_stream_is_there_for_is_not_refused_however_often_it_has_no_leader() -> None:
    post, run = Post(takes="s"), run_of(1)
    for _ in range(3):
        post.nobody(post.write(run)[0])
        assert run.missing == 1
        assert run.news.is_set()
        run.missing += 1  # it was looked for, and found
    assert not run.refused
    post.confirm(post.write(run)[0])
    assert not run.left


def test_a_run_that_is_over_leaves_what_another_writes_meanwhile_expected() -> None:
    post, large, small = Post(), run_of(3, b"x" * PIECE), run_of(1)
    pieces = post.inbox.pieces(large, MOST)
    replies = [next(pieces)[0][1]]
    post.write(small)
    post.inbox.drop(small)
    replies += [reply for piece in pieces for _, reply, _, _ in piece]
    assert len(replies) == 3
    for reply in replies:
        post.confirm(reply)
    assert not large.left
    assert not post.inbox.waiting


@pytest.mark.parametrize("name", ["error", "duplicate"])
def test_a_stream_may_have_any_name(name: str) -> None:
    post, run = Post(), run_of(1)
    post.confirm(post.write(run)[0], stream=name, domain=name)
    assert not run.refused
    assert not run.left
    assert post.inbox.said_twice() == 0


def test_what_is_there_already_is_confirmed_and_counted() -> None:
    post, run = Post(), run_of(2)
    first, second = post.write(run)
    post.confirm(first)
    post.confirm(second, duplicate=True)
    assert not run.left
    assert post.inbox.said_twice() == 1
    assert post.inbox.said_twice() == 0


def test_what_is_against_one_message_is_told_of_it_and_what_is_against_all_of_the_run() -> None:
    post, run = Post(), run_of(2)
    first, second = post.write(run)
    post.refuse(first, 10060)
    assert "no (10060)" in str(run.refused[0])
    assert not run.news.is_set()
    post.refuse(second, 10077)
    assert "refuses for now" in str(run.against)
    assert run.news.is_set()
    assert list(run.left) == [1]


@given(st.permutations(range(9)), st.integers(0, 9))
def test_ahead_of_the_end_of_a_run_is_what_it_waits_for_and_what_was_written_before(
    order: list[int], said: int
) -> None:
    post, runs = Post(), [run_of(3) for _ in range(3)]
    replies = [reply for run in runs for reply in post.write(run)]
    for at in order[:said]:
        post.confirm(replies[at])
    left = order[said:]
    assert [post.inbox.ahead(run) for run in runs] == [sum(at < end for at in left) for end in (3, 6, 9)]


def test_nothing_is_ahead_of_what_was_never_written() -> None:
    post = Post()
    post.write(run_of(3))
    assert post.inbox.ahead(run_of(3)) == 0


def test_what_nobody_waits_for_any_more_is_let_go() -> None:
    post, run = Post(), run_of(2)
    first, second = post.write(run)
    post.inbox.drop(run)
    assert not post.inbox.waiting
    post.confirm(first)
    post.nobody(second)
    assert list(run.left) == [0, 1]
