"""`Retries`: a failed message waits for its next try, holding back its own key and nothing else, or is dead."""

import pytest
from anyio import create_task_group
from hypothesis import given
from hypothesis import strategies as st

from actors import Counts, Crash, DecodeError, Drop, Lanes, Mailbox, Reject, Retries, Retry, VirtualClock
from tests.actors.fakes import Completed, Shelf, bodies, logger, message, quiet, running

pytestmark = pytest.mark.anyio

STEADY = Retry(attempts=3, first=10, factor=1, jitter=0)


class Stage:
    """The retries of a stage, with its mailbox, its clock and the owner of its receipts."""

    def __init__(self, policy: Retry | None = STEADY, mailbox: Mailbox | None = None, **options) -> None:
        self.clock, self.owner, self.counts = VirtualClock(), Completed(), Counts()
        self.mailbox = mailbox if mailbox is not None else Mailbox(100)
        self.retries = Retries("stage", self.mailbox, self.clock, self.counts, logger, policy, **options)

    def take(self, *contents, lane=None) -> list:
        """Put messages with those bodies into the mailbox, and take all there is."""
        self.mailbox.put_nowait([message(body, self.owner, lane and lane(body)) for body in contents])
        return self.mailbox.take_nowait(100)

    def fail(self, failed, error: BaseException | None = None) -> bool:
        """Have it fail as a worker does."""
        waits = self.retries.failed(failed, error or ValueError("no"))
        if not waits:
            self.mailbox.done([failed])
        return waits


def by_letter(body: str) -> str:
    return body[0]


# -- one message -----------------------------------------------------------------------------------------------------


def test_a_failed_message_is_tried_again_after_its_delay_and_counts_one_try_more():
    stage = Stage()
    (failed,) = stage.take("a")
    assert stage.fail(failed)
    assert (len(stage.retries), stage.mailbox.held, failed.attempt) == (1, 1, 2)
    stage.clock.advance(9.9)
    assert stage.mailbox.take_nowait(1) == []
    stage.clock.advance(0.1)
    assert stage.mailbox.take_nowait(1) == [failed]
    assert (len(stage.retries), stage.mailbox.held) == (0, 1)
    assert not stage.owner


def test_after_its_last_try_it_is_dead_and_tells_its_first_failure_and_its_last():
    grave = Shelf()
    stage = Stage(dead_letters=grave)
    (failed,) = stage.take("a")
    for reason in ("first", "second"):
        assert stage.fail(failed, ValueError(reason))
        stage.clock.advance(10)
        stage.mailbox.take_nowait(1)
    assert not stage.fail(failed, ValueError("third"))
    assert stage.owner.outcomes == {"a": "DEAD"}
    failure = failed.receipt.failure
    assert (str(failure.error), failure.attempts, failure.stage) == ("third", 3, "stage")
    assert failure.first <= failure.last
    assert failure.dead_letter is grave
    assert (stage.counts.failed, stage.counts.retried) == (3, 2)


def test_without_a_policy_a_failure_is_final_unless_a_worker_crashed():
    stage = Stage(None)
    plain, crashed = stage.take("a", "b")
    assert not stage.fail(plain)
    assert stage.fail(crashed, Crash())
    assert stage.owner.outcomes == {"a": "DEAD"}


@pytest.mark.parametrize("error", [Reject("bad"), DecodeError("bad")])
def test_what_trying_again_cannot_help_is_dead_at_once(error):
    stage = Stage()
    (failed,) = stage.take("a")
    assert not stage.fail(failed, error)
    assert stage.owner.outcomes == {"a": "DEAD"}


def test_what_is_dropped_is_acknowledged_and_counted_and_is_no_failure():
    stage = Stage()
    (dropped,) = stage.take("a")
    assert not stage.fail(dropped, Drop("not needed"))
    assert stage.owner.outcomes == {"a": "DONE"}
    assert (stage.counts.dropped, stage.counts.failed) == (1, 0)


def test_what_asks_for_a_time_waits_so_long():
    stage = Stage()
    (failed,) = stage.take("a")
    assert stage.fail(failed, Retry.after(33))
    stage.clock.advance(32.9)
    assert len(stage.retries) == 1
    stage.clock.advance(0.1)
    assert len(stage.retries) == 0
    assert stage.counts.asked_to_wait == 1


def test_an_outcome_raised_inside_a_task_group_counts_as_if_it_was_raised_outside():
    stage = Stage()
    (dropped,) = stage.take("a")
    assert not stage.fail(dropped, ExceptionGroup("tasks", [ExceptionGroup("more", [Drop("not needed")])]))
    assert stage.owner.outcomes == {"a": "DONE"}


# -- the cap ---------------------------------------------------------------------------------------------------------


def test_past_the_cap_of_waiting_messages_what_fails_is_dead():
    stage = Stage(Retry(attempts=3, first=10, factor=1, jitter=0, waiting=2))
    waits = [stage.fail(each) for each in stage.take(*"abc")]
    assert waits == [True, True, False]
    assert stage.owner.outcomes == {"c": "DEAD"}
    stage.clock.advance(10)
    assert all(stage.fail(each) for each in stage.mailbox.take_nowait(9))


def test_the_cap_counts_every_waiting_message_of_a_key():
    stage = Stage(Retry(attempts=3, first=10, waiting=2), Lanes(100))
    assert [stage.fail(each) for each in stage.take("a1", "a2", "a3", lane=by_letter)] == [True, True, False]
    assert len(stage.retries) == 2


# -- order by key ----------------------------------------------------------------------------------------------------


def test_a_waiting_message_holds_back_its_own_key_and_no_other():
    stage = Stage(mailbox=Lanes(100))
    (failed,) = stage.take("a1", lane=by_letter)
    stage.fail(failed)
    assert bodies(stage.take("a2", "b1", "a3", "b2", lane=by_letter)) == ["b1", "b2"]
    stage.clock.advance(10)
    assert bodies(stage.mailbox.take_nowait(9)) == ["a1", "a2", "a3"]


def test_of_one_key_in_one_batch_all_that_failed_wait_for_the_last_of_them_and_keep_their_order():
    stage = Stage(mailbox=Lanes(100))
    first, second, other = stage.take("a1", "a2", "b1", lane=by_letter)
    stage.fail(first, Retry.after(1))
    stage.fail(other, Retry.after(2))
    stage.fail(second, Retry.after(3))
    assert len(stage.retries) == 3
    stage.clock.advance(1)
    assert stage.mailbox.take_nowait(9) == []
    stage.clock.advance(1)
    assert bodies(stage.mailbox.take_nowait(9)) == ["b1"]
    stage.clock.advance(1)
    assert bodies(stage.mailbox.take_nowait(9)) == ["a1", "a2"]
    assert len(stage.retries) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10)), max_size=12), st.integers(0, 12))
def test_whatever_the_delays_a_key_comes_again_in_its_order(failures, size):
    stage = Stage(Retry(attempts=2), Lanes(100))
    names = [f"{letter}{at:02}" for at, (letter, _) in enumerate(failures)]
    for each, (_, delay) in zip(stage.take(*names, lane=by_letter), failures, strict=True):
        assert stage.fail(each, Retry.after(delay))
    seen = []
    while (due := stage.clock.next_due()) is not None:
        stage.clock.advance(due - stage.clock.now())
        while run := stage.mailbox.take_nowait(max(1, size)):
            seen += bodies(run)
            stage.mailbox.done(run)
    assert sorted(seen) == sorted(names)
    for letter in "abc":
        of_letter = [name for name in seen if name[0] == letter]
        assert of_letter == sorted(of_letter)


# -- a body made anew ------------------------------------------------------------------------------------------------


def test_its_body_is_made_anew_before_each_try():
    stage = Stage(renew=lambda each: setattr(each, "body", ["fresh"]))
    (failed,) = stage.take("spoilt")
    stage.fail(failed)
    assert failed.body == "spoilt"
    stage.clock.advance(10)
    assert failed.body == ["fresh"]


def test_a_body_that_cannot_be_made_anew_is_a_failed_try_and_harms_neither_clock_nor_neighbours():
    def renew(each):
        if each.body == "bad":
            raise DecodeError("no longer to be read")

    stage = Stage(renew=renew)
    for each in stage.take("bad", "good"):
        stage.fail(each)
    stage.clock.advance(10)
    assert bodies(stage.mailbox.take_nowait(9)) == ["good"]
    assert stage.owner.outcomes == {"bad": "DEAD"}
    assert (stage.mailbox.held, stage.counts.failed, stage.counts.retried) == (1, 3, 1)


# -- draining --------------------------------------------------------------------------------------------------------


def test_what_would_come_only_after_the_drain_is_given_back_and_the_rest_is_tried():
    stage = Stage()
    soon, late = stage.take("soon", "late")
    stage.fail(soon, Retry.after(5))
    stage.fail(late, Retry.after(50))
    stage.retries.drain(25)
    assert stage.owner.outcomes == {"late": "RETURNED"}
    assert (len(stage.retries), stage.mailbox.held, stage.counts.retried) == (1, 1, 0)
    stage.clock.advance(5)
    assert stage.counts.retried == 1
    assert bodies(stage.mailbox.take_nowait(9)) == ["soon"]
    stage.clock.advance(100)
    assert len(stage.owner) == 1


def test_what_fails_during_the_drain_is_given_back_where_its_next_try_would_be_too_late():
    stage = Stage()
    late, soon = stage.take("late", "soon")
    stage.retries.drain(20)
    assert stage.fail(late, Retry.after(21))
    assert stage.fail(soon, Retry.after(20))
    assert stage.owner.outcomes == {"late": "RETURNED"}
    assert (len(stage.retries), stage.mailbox.held) == (1, 1)
    stage.clock.advance(30)
    assert (stage.counts.failed, stage.counts.retried) == (2, 1)


def test_what_is_behind_a_message_given_back_goes_back_too():
    stage = Stage(mailbox=Lanes(100))
    first, second, other = stage.take("a1", "a2", "b1", lane=by_letter)
    stage.fail(first, Retry.after(100))
    stage.fail(second, Retry.after(100))
    stage.mailbox.done([other])
    stage.take("a3", lane=by_letter)
    stage.retries.drain(20)
    assert bodies(stage.take("a4", "b2", lane=by_letter)) == ["b2"]
    assert list(stage.owner.outcomes) == ["a1", "a2", "a3", "a4"]
    assert set(stage.owner.outcomes.values()) == {"RETURNED"}


async def test_a_mailbox_closed_by_all_its_senders_waits_for_its_last_message_to_be_tried_again():
    stage, handled = Stage(), []
    (failed,) = stage.take("last")
    stage.mailbox.attach()
    stage.fail(failed)

    async def work():
        while run := await stage.mailbox.take(9):
            handled.extend(bodies(run))
            stage.mailbox.done(run)

    async with create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(work)
        await quiet()
        stage.mailbox.detach()
        await quiet()
        assert not stage.mailbox.drained
        stage.clock.advance(10)
    assert handled == ["last"]


async def test_giving_back_the_last_message_drains_the_mailbox():
    stage = Stage()
    (failed,) = stage.take("last")
    stage.fail(failed)
    stage.mailbox.close()
    async with running() as tasks:
        tasks.start_soon(stage.mailbox.take, 9)
        await quiet()
        stage.retries.drain(5)
        assert stage.mailbox.drained
