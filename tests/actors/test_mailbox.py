"""`Mailbox`: bounded, in order, taken and put in runs; no wake-up is lost, whoever is cancelled."""

from functools import partial
from random import Random

import pytest
from anyio import CancelScope, create_task_group
from anyio.lowlevel import checkpoint

from actors import Mailbox, MailboxClosed, VirtualClock
from tests.actors.fakes import quiet, running

pytestmark = pytest.mark.anyio


def full(*items: int) -> Mailbox[int]:
    mailbox: Mailbox[int] = Mailbox(len(items), "full")
    mailbox.put_nowait(list(items))
    return mailbox


def empty(capacity: int = 10) -> Mailbox[int]:
    return Mailbox(capacity, "empty")


# -- putting and taking ----------------------------------------------------------------------------------------------


def test_hands_out_in_order_of_arrival():
    mailbox = empty()
    mailbox.put_nowait([1, 2])
    mailbox.put_nowait([3])
    assert mailbox.take_nowait(2) == [1, 2]
    assert mailbox.take_nowait(2) == [3]
    assert mailbox.take_nowait(2) == []


def test_put_nowait_leaves_what_does_not_fit_in_the_run():
    mailbox, run = empty(2), [1, 2, 3]
    mailbox.put_nowait(run)
    assert run == [3]
    assert mailbox.take_nowait(10) == [1, 2]


def test_a_mailbox_that_holds_nothing_is_refused():
    with pytest.raises(ValueError, match="stage: a mailbox of 0 holds nothing; expected at least 1"):
        Mailbox(0, "stage")


async def test_put_waits_for_room_and_keeps_the_order():
    mailbox, run = empty(2), [1, 2, 3, 4, 5]
    async with running(lambda: mailbox.put(run)):
        assert run == [3, 4, 5]
        assert mailbox.take_nowait(1) == [1]
        await quiet()
        assert run == [4, 5]
        assert mailbox.take_nowait(10) == [2, 3]
        await quiet()
        assert mailbox.take_nowait(10) == [4, 5]
        assert run == []


async def test_room_for_several_lets_several_put():
    mailbox, runs = full(1, 2, 3), [[4], [5], [6, 7]]
    async with running(*(partial(mailbox.put, run) for run in runs)):
        mailbox.take_nowait(3)
        await quiet()
        assert runs == [[], [], [7]]
        assert mailbox.take_nowait(9) == [4, 5, 6]


async def test_nobody_jumps_the_line_of_those_who_wait_to_put():
    mailbox, first, second, late = full(0), [1], [2], [3]
    async with running(lambda: mailbox.put(first), lambda: mailbox.put(second)):
        taken = mailbox.take_nowait(1)
        mailbox.put_nowait(late)
        assert late == [3]
        for _ in range(2):
            await quiet()
            taken += mailbox.take_nowait(1)
        assert taken == [0, 1, 2]


async def test_take_waits_for_a_message():
    mailbox, taken = empty(), []

    async def take():
        taken.extend(await mailbox.take(10))

    async with running(take):
        assert taken == []
        mailbox.put_nowait([1, 2])
        await quiet()
        assert taken == [1, 2]


async def test_takers_are_served_in_the_order_they_came():
    mailbox, taken = empty(), []

    async def take(name):
        taken.append((name, await mailbox.take(1)))

    async with create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(take, name)
            await quiet()
        mailbox.put_nowait([1, 2])
        mailbox.put_nowait([3])
    assert taken == [("a", [1]), ("b", [2]), ("c", [3])]


async def test_one_put_serves_as_many_takers_as_it_brings_messages():
    mailbox, taken = empty(), []

    async def take():
        taken.extend(await mailbox.take(1))

    async with running(*[take] * 5):
        mailbox.put_nowait([1, 2, 3])
        await quiet()
        assert taken == [1, 2, 3]
        assert mailbox.statistics().takers_waiting == 2


async def test_a_run_put_back_is_taken_again_first():
    mailbox = full(1, 2, 3, 4)
    run = mailbox.take_nowait(2)
    mailbox.put_back(run)
    assert mailbox.held == 0
    assert mailbox.take_nowait(10) == [1, 2, 3, 4]


async def test_put_back_never_waits_and_wakes_a_taker():
    mailbox, taken = full(1, 2), []
    run = mailbox.take_nowait(2)
    mailbox.put_nowait([3, 4])
    mailbox.put_back(run)
    assert mailbox.room == -2
    assert mailbox.take_nowait(4) == [1, 2, 3, 4]

    async def take():
        taken.extend(await mailbox.take(1))

    async with running(take):
        mailbox.put_back([1])
        await quiet()
        assert taken == [1]


# -- cancellation ----------------------------------------------------------------------------------------------------


async def test_cancelling_take_takes_nothing():
    mailbox = empty()
    async with create_task_group() as tasks:
        tasks.start_soon(mailbox.take, 1)
        await quiet()
        tasks.cancel_scope.cancel()
    mailbox.put_nowait([1])
    assert mailbox.take_nowait(1) == [1]
    assert mailbox.statistics().takers_waiting == 0


async def test_a_cancelled_put_leaves_in_the_run_what_was_not_put():
    mailbox, run = empty(2), [1, 2, 3, 4]
    async with create_task_group() as tasks:
        tasks.start_soon(mailbox.put, run)
        await quiet()
        tasks.cancel_scope.cancel()
    assert run == [3, 4]
    assert mailbox.take_nowait(10) == [1, 2]
    assert mailbox.statistics().putters_waiting == 0


async def test_a_taker_cancelled_when_it_was_just_woken_takes_or_passes_its_turn_on():
    mailbox, taken, scope = empty(), [], CancelScope()

    async def first():
        with scope:
            taken.append(await mailbox.take(1))

    async def second():
        taken.append(await mailbox.take(1))

    async with running(first, second):
        mailbox.put_nowait([1])
        scope.cancel()
        await quiet()
        assert taken == [[1]]


async def test_a_putter_cancelled_when_it_was_just_woken_puts_or_passes_its_turn_on():
    mailbox, scope, one, two = full(0), CancelScope(), [1], [2]

    async def first():
        with scope:
            await mailbox.put(one)

    async with running(first, lambda: mailbox.put(two)):
        assert mailbox.take_nowait(1) == [0]
        scope.cancel()
        await quiet()
        assert sorted(one + two + mailbox.take_nowait(1)) == [1, 2]


async def test_whoever_waits_for_room_and_is_cancelled_passes_its_turn_on():
    mailbox, scope, run = full(0), CancelScope(), [1]

    async def first():
        with scope:
            await mailbox.wait_for_room()

    async with running(first, lambda: mailbox.put(run)):
        assert mailbox.take_nowait(1) == [0]
        scope.cancel()
        await quiet()
        assert mailbox.take_nowait(1) == [1]


@pytest.mark.parametrize("seed", range(10))
async def test_nothing_is_lost_or_doubled_whoever_is_cancelled_when(seed):
    random, mailbox = Random(seed), Mailbox[tuple[int, int]](random_capacity(seed), "storm")
    unput, taken, givers = [], [], 4

    async def give(number):
        mailbox.attach()
        left = [(number, at) for at in range(60)]
        while left:
            run = left[: random.randint(1, 9)]
            del left[: len(run)]
            with CancelScope() as scope:
                scopes.append(scope)
                await mailbox.put(run)
            unput.extend(run)
            await checkpoint()
        mailbox.detach()

    async def take():
        while not mailbox.drained:
            run = []
            with CancelScope() as scope:
                scopes.append(scope)
                run = await mailbox.take(random.randint(1, 5))
            await checkpoint()
            if random.random() < 0.3:
                mailbox.put_back(run)
            else:
                taken.extend(run)
                mailbox.done(run)

    async def disturb():
        while not mailbox.drained:
            if scopes and random.random() < 0.4:
                scopes.pop(random.randrange(len(scopes))).cancel()
            await checkpoint()

    scopes: list[CancelScope] = []
    async with create_task_group() as tasks:
        for number in range(givers):
            tasks.start_soon(give, number)
        for _ in range(3):
            tasks.start_soon(take)
        tasks.start_soon(disturb)
    assert sorted(taken + unput) == [(number, at) for number in range(givers) for at in range(60)]
    assert mailbox.held == 0


def random_capacity(seed: int) -> int:
    return Random(seed).randint(1, 12)


# -- waiting for room ------------------------------------------------------------------------------------------------


async def test_waiting_for_room_returns_how_much_there_is():
    mailbox, rooms = full(1, 2, 3), []

    async def wait():
        rooms.append(await mailbox.wait_for_room())

    async with running(wait):
        assert rooms == []
        mailbox.take_nowait(2)
        await quiet()
        assert rooms == [2]
    assert await mailbox.wait_for_room() == 2


async def test_whoever_waits_for_room_is_not_starved_by_those_who_put():
    mailbox, rooms = full(0), []

    async def put_for_ever():
        while True:
            await mailbox.put([1])

    async def wait():
        rooms.append(await mailbox.wait_for_room())

    async with running(put_for_ever, put_for_ever, wait):
        for _ in range(5):
            mailbox.take_nowait(1)
            await quiet()
        assert rooms == [1]


# -- closing ---------------------------------------------------------------------------------------------------------


async def test_closes_behind_the_last_sender():
    mailbox = empty()
    mailbox.attach()
    mailbox.attach()
    mailbox.put_nowait([1])
    mailbox.detach()
    assert not mailbox.closed
    mailbox.detach()
    assert mailbox.closed
    assert await mailbox.take(10) == [1]
    with pytest.raises(MailboxClosed, match="empty takes nothing more"):
        mailbox.put_nowait([2])


async def test_closing_wakes_those_who_wait_to_put():
    mailbox, runs, refused = full(0), [[1], [2]], []

    async def put(run):
        with pytest.raises(MailboxClosed):
            await mailbox.put(run)
        refused.append(run)

    async def wait():
        with pytest.raises(MailboxClosed):
            await mailbox.wait_for_room()
        refused.append("room")

    async with create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(put, run)
        tasks.start_soon(wait)
        await quiet()
        mailbox.close()
    assert sorted(refused, key=str) == [[1], [2], "room"]
    assert mailbox.take_nowait(5) == [0]


async def test_waiting_for_room_in_a_closed_mailbox_raises():
    mailbox = empty()
    mailbox.close()
    with pytest.raises(MailboxClosed):
        await mailbox.wait_for_room()


async def test_every_taker_is_told_that_it_is_drained():
    mailbox, runs = full(1, 2), []

    async def take():
        while run := await mailbox.take(1):
            mailbox.done(run)
        runs.append(run)

    async with create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take)
        await quiet()
        assert not mailbox.ended.is_set()
        mailbox.close()
    assert runs == [[], [], []]
    assert mailbox.drained
    assert mailbox.ended.is_set()


async def test_closing_an_empty_mailbox_drains_it_at_once():
    mailbox = empty()
    async with create_task_group() as tasks:
        tasks.start_soon(mailbox.take, 1)
        tasks.start_soon(mailbox.ended.wait)
        await quiet()
        mailbox.close()
    assert mailbox.drained


async def test_is_not_drained_while_something_taken_may_still_come_back():
    mailbox, runs = full(1), []
    held = mailbox.take_nowait(1)
    mailbox.close()

    async def take():
        while run := await mailbox.take(1):
            runs.append(run)
            mailbox.done(run)

    async with create_task_group() as tasks:
        tasks.start_soon(take)
        tasks.start_soon(take)
        await quiet()
        assert not mailbox.drained
        mailbox.put_back(held)
    assert runs == [[1]]


async def test_what_goes_back_to_its_broker_is_not_waited_for():
    mailbox = full(1)
    (held,) = mailbox.take_nowait(1)
    mailbox.close()
    mailbox.abandon(held)
    assert mailbox.drained


# -- batches ---------------------------------------------------------------------------------------------------------


class Batches(list):
    """What a taker of batches of three got, waiting ten seconds at most."""

    def __init__(self, mailbox, clock):
        super().__init__()
        self.mailbox, self.clock = mailbox, clock

    async def take(self):
        while run := await self.mailbox.take_batch(3, 10.0, self.clock):
            self.append(run)
            self.mailbox.done(run)


async def test_a_batch_waits_for_its_size():
    mailbox, clock = empty(), VirtualClock()
    batches = Batches(mailbox, clock)
    async with running(batches.take):
        mailbox.put_nowait([1, 2])
        await quiet()
        assert batches == []
        mailbox.put_nowait([3, 4])
        await quiet()
        assert batches == [[1, 2, 3]]


async def test_a_batch_waits_so_long_from_its_first_message_on():
    mailbox, clock = empty(), VirtualClock()
    batches = Batches(mailbox, clock)
    async with running(batches.take):
        clock.advance(100)
        mailbox.put_nowait([1])
        await quiet()
        clock.advance(9)
        mailbox.put_nowait([2])
        await quiet()
        assert batches == []
        clock.advance(1)
        await quiet()
        assert batches == [[1, 2]]
        mailbox.put_nowait([3])
        await quiet()
        clock.advance(9)
        await quiet()
        assert batches == [[1, 2]]
        clock.advance(1)
        await quiet()
        assert batches == [[1, 2], [3]]


async def test_one_put_serves_as_many_takers_as_it_brings_batches():
    mailbox, clock = empty(), VirtualClock()
    one, two = Batches(mailbox, clock), Batches(mailbox, clock)

    async def take_once(batches):
        batches.append(await mailbox.take_batch(3, 10.0, clock))

    async with running(lambda: take_once(one), lambda: take_once(two)):
        mailbox.put_nowait([1, 2, 3, 4, 5, 6])
        await quiet()
        assert (one, two) == ([[1, 2, 3]], [[4, 5, 6]])


async def test_a_full_mailbox_does_not_wait_for_a_larger_batch():
    mailbox, clock = empty(2), VirtualClock()
    batches = Batches(mailbox, clock)
    async with running(batches.take):
        mailbox.put_nowait([1, 2])
        await quiet()
        assert batches == [[1, 2]]


async def test_a_closed_mailbox_gives_its_partial_batch_at_once():
    mailbox, clock = empty(), VirtualClock()
    batches = Batches(mailbox, clock)
    async with create_task_group() as tasks:
        tasks.start_soon(batches.take)
        mailbox.put_nowait([1, 2])
        await quiet()
        mailbox.close()
    assert batches == [[1, 2]]
    assert clock.next_due() is None


async def test_a_cancelled_batch_takes_nothing_and_leaves_its_turn_and_no_timer():
    mailbox, clock = empty(), VirtualClock()
    batches = Batches(mailbox, clock)
    async with running(batches.take):
        mailbox.put_nowait([1, 2])
        await quiet()
        async with create_task_group() as tasks:
            tasks.start_soon(mailbox.take_batch, 3, 1.0, clock)
            await quiet()
            tasks.cancel_scope.cancel()
        mailbox.put_nowait([3])
        await quiet()
        assert batches == [[1, 2, 3]]
    assert clock.next_due() is None


async def test_a_batch_whose_messages_another_took_waits_anew():
    mailbox, clock = empty(), VirtualClock()
    batches = Batches(mailbox, clock)
    async with running(batches.take):
        mailbox.put_nowait([1])
        await quiet()
        mailbox.done(mailbox.take_nowait(1))
        clock.advance(10)
        await quiet()
        mailbox.put_nowait([2])
        await quiet()
        clock.advance(9)
        await quiet()
        assert batches == []
        clock.advance(1)
        await quiet()
        assert batches == [[2]]


# -- saying how it is ------------------------------------------------------------------------------------------------


async def test_says_how_full_it_is_and_who_waits():
    mailbox = full(1, 2)
    mailbox.take_nowait(1)
    mailbox.put_nowait([3])
    async with running(lambda: mailbox.put([4])):
        statistics = mailbox.statistics()
        assert (statistics.depth, statistics.capacity, statistics.held, statistics.put) == (2, 2, 1, 3)
        assert (statistics.takers_waiting, statistics.putters_waiting, statistics.closed) == (0, 1, False)
        assert repr(mailbox) == "<full: 2 of 2, 1 held>"
        mailbox.take_nowait(2)
        await quiet()
        mailbox.close()
        assert repr(mailbox) == "<full: 1 of 2, 3 held, closed>"
