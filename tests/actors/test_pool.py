"""`Pool`: workers on one mailbox, of changing number; nothing is lost, and a crash touches only its own worker."""

from collections import defaultdict

import pytest
from anyio import CancelScope, Event, create_task_group
from anyio.lowlevel import checkpoint

from actors import (
    Actor,
    Counts,
    Crash,
    IntensityExceeded,
    Lanes,
    Link,
    Mailbox,
    Message,
    Pool,
    PublishWorker,
    Retries,
    Retry,
    Supervision,
    Worker,
)
from tests.actors.fakes import Bench, Shelf, bodies, logger, message, quiet, running

pytestmark = pytest.mark.anyio

CALM = Supervision(intensity=1000, backoff=0)
STEADY = Retry(attempts=5, first=10, factor=1, jitter=0)


async def resized(pool, size, scope):
    """Resize it, until that scope is cancelled."""
    with scope:
        await pool.resize(size)


class Floor(Bench):
    """A bench with a pool on it. Its handler waits for its gate, if there is one, and notes who handled what."""

    def __init__(self, size, sticky=False, lanes=0, policy=CALM, **options):
        super().__init__(lanes=size if sticky else lanes, **options)
        self.gates: dict = defaultdict(Event)
        self.held_up: set = set()
        """Bodies whose handling waits for its gate."""
        self.crash: set = set()
        """Bodies that crash their worker at the first try."""
        self.in_hand: list = []
        self.by_worker: dict = defaultdict(list)
        self.handled: list = []
        self.late: Event | None = None
        """What workers wait for while they start, if there is one."""
        self.pool = Pool(
            "pool", size, self.make, self.mailbox, [self.behind], policy, self.clock, logger, sticky=sticky
        )

    @property
    def workers(self) -> list[Worker]:
        return [worker for worker in self.pool.workers if isinstance(worker, Worker)]

    def lanes(self) -> Lanes:
        assert isinstance(self.mailbox, Lanes)
        return self.mailbox

    def make(self, number):
        async def handler(each):
            self.in_hand.append(each.body)
            try:
                if each.body in self.held_up:
                    await self.gates[each.body].wait()
                if each.body in self.crash and each.attempt == 1:
                    raise Crash
            finally:
                self.in_hand.remove(each.body)
            self.by_worker[number].append(each.body)
            self.handled.append(each.body)
            return each.body

        return self.worker(handler, actor=lambda: Late(self), name=f"pool/{number}")

    def hold_up(self, *contents):
        self.held_up.update(contents)

    async def let_go(self, *contents):
        for body in contents:
            self.gates[body].set()
        await quiet()

    async def advance(self, seconds=0):
        await quiet()
        self.clock.advance(seconds)
        await quiet()


class Late(Actor):
    def __init__(self, floor):
        self.floor = floor

    async def on_start(self):
        if self.floor.late is not None:
            await self.floor.late.wait()


def first(body):
    return str(body)[0]


# -- draining --------------------------------------------------------------------------------------------------------


async def test_drains_its_mailbox_and_then_detaches_from_those_behind():
    floor = Floor(3)
    floor.put(*range(50))
    async with create_task_group() as tasks:
        tasks.start_soon(floor.pool.run)
        await quiet()
        assert not floor.behind.closed
        floor.mailbox.close()
    assert floor.behind.closed
    assert sorted(floor.results()) == list(range(50))


async def test_stopped_it_detaches_from_nothing_and_puts_back_what_is_in_hand():
    floor = Floor(2)
    floor.hold_up(0, 1)
    floor.put(*range(5))
    async with create_task_group() as tasks:
        tasks.start_soon(floor.pool.run)
        await quiet()
        assert sorted(floor.in_hand) == [0, 1]
        await floor.pool.stop()
    assert not floor.behind.closed
    assert sorted(bodies(floor.mailbox.take_nowait(9)) + floor.results()) == list(range(5))


async def test_stopped_it_can_be_run_again_and_loses_nothing():
    floor = Floor(2)
    floor.hold_up(0, 1)
    floor.put(*range(5))
    async with create_task_group() as tasks:
        tasks.start_soon(floor.pool.run)
        await quiet()
        await floor.pool.stop()
    floor.held_up.clear()
    floor.mailbox.close()
    await floor.pool.run()
    assert sorted(floor.results()) == list(range(5))
    assert floor.behind.closed


# -- blast radius ----------------------------------------------------------------------------------------------------


async def test_a_crash_puts_back_only_what_was_in_that_workers_hands():
    floor = Floor(4, retry=STEADY)
    floor.hold_up(*range(8))
    floor.crash.add(2)
    floor.put(*range(8))
    async with running(floor.pool.run):
        assert sorted(floor.in_hand) == [0, 1, 2, 3]
        await floor.let_go(2)
        assert {0, 1, 3} <= set(floor.in_hand)
        assert floor.pool.supervisor.restarts == 1
        assert len(floor.retries) == 1
        await floor.advance()
        assert sorted(floor.in_hand) == [0, 1, 3, 4]
        assert floor.results() == []
        await floor.let_go(*range(8))
        await floor.advance(10)
        assert sorted(floor.results()) == list(range(8))
    assert floor.counts.failed == 1


async def test_the_run_in_the_hands_of_a_crashed_worker_goes_to_the_others():
    floor = Floor(2, retry=STEADY)
    floor.crash.add("crash")
    floor.workers[0].limit = 64
    floor.put("crash", *range(20))
    async with running(floor.pool.run):
        assert sorted(floor.results()) == list(range(20))
        assert floor.mailbox.held == 1


async def test_a_pool_that_gave_up_has_lost_nothing_when_it_is_run_again():
    floor = Floor(3, retry=STEADY, policy=Supervision(intensity=1, backoff=0))
    floor.crash.update({3, 7})
    floor.put(*range(10))
    gave_up = Event()

    async def run():
        with pytest.raises(IntensityExceeded):
            await floor.pool.run()
        gave_up.set()

    async with create_task_group() as tasks:
        tasks.start_soon(run)
        while not gave_up.is_set():
            await floor.advance()
    floor.mailbox.close()
    async with create_task_group() as tasks:
        tasks.start_soon(floor.pool.run)
        while not floor.mailbox.drained:
            await floor.advance(10)
    assert sorted(floor.results()) == list(range(10))
    assert len(floor.owner) == 10


# -- changing its size -----------------------------------------------------------------------------------------------


async def test_grows_while_it_runs():
    floor = Floor(1)
    floor.hold_up(*range(10))
    floor.put(*range(10))
    async with running(floor.pool.run):
        assert len(floor.in_hand) == 1
        await floor.pool.resize(4)
        await quiet()
        assert floor.pool.size == len(floor.pool.workers) == 4
        floor.put(10)
        await floor.let_go(floor.in_hand[0])
        assert len(floor.in_hand) == 4
        assert floor.pool.busy == 4
        assert repr(floor.pool) == "<Pool pool: 4 workers, 4 busy>"


async def test_shrinks_while_it_runs_and_those_that_leave_finish_what_they_have():
    floor = Floor(4)
    floor.hold_up(*range(12))
    floor.put(*range(12))
    async with running(floor.pool.run):
        assert sorted(floor.in_hand) == [0, 1, 2, 3]
        await floor.pool.resize(1)
        assert floor.pool.size == 1
        assert sorted(floor.in_hand) == [0, 1, 2, 3]
        await floor.let_go(0, 1, 2, 3)
        assert len(floor.in_hand) == 1
        assert sorted(floor.results()) == [0, 1, 2, 3]
        await floor.let_go(*range(4, 12))
        assert sorted(floor.results()) == list(range(4, 12))


async def test_idle_workers_leave_at_once():
    floor = Floor(5)
    async with running(floor.pool.run):
        await floor.pool.resize(2)
        await quiet()
        assert floor.mailbox.statistics().takers_waiting == 2
        await floor.pool.resize(3)
        assert len(floor.pool.supervisor.children) == 3


async def test_a_worker_that_crashes_while_it_leaves_loses_nothing():
    floor = Floor(2, retry=STEADY)
    floor.hold_up(0, 1)
    floor.crash.add(1)
    floor.put(0, 1)
    async with running(floor.pool.run):
        await floor.pool.resize(1)
        await floor.let_go(0, 1)
        await floor.advance()
        await floor.advance(10)
        assert sorted(floor.results()) == [0, 1]
        assert sum(str(child.life.state) == "running" for child in floor.pool.supervisor.children) == 1


async def test_a_pool_of_nobody_is_refused():
    floor = Floor(2)
    with pytest.raises(ValueError, match="pool: a pool of 0 workers would never be drained; expected at least 1"):
        await floor.pool.resize(0)


async def test_a_pool_may_be_resized_before_it_runs():
    floor = Floor(3, sticky=True)
    await floor.pool.resize(1)
    await floor.pool.resize(2)
    floor.put(*"abcdef", lane=first)
    floor.mailbox.close()
    await floor.pool.run()
    assert sorted(floor.results()) == list("abcdef")
    assert floor.by_worker.keys() <= {0, 1}


async def test_of_two_resizings_at_once_the_later_decides():
    floor = Floor(1, sticky=True)
    async with running(floor.pool.run) as tasks:
        tasks.start_soon(floor.pool.resize, 6)
        await checkpoint()
        tasks.start_soon(floor.pool.resize, 2)
        await quiet()
        assert floor.pool.size == len(floor.lanes()._lanes) == 2
        assert [worker.lane for worker in floor.workers] == [0, 1]


async def test_cancelled_while_it_shrinks_it_first_sees_off_those_that_leave():
    floor = Floor(4, sticky=True)
    floor.hold_up(3)
    async with running(floor.pool.run) as tasks:
        floor.put(3, lane=lambda body: body)
        impatient = CancelScope()
        tasks.start_soon(resized, floor.pool, 2, impatient)
        await quiet()
        impatient.cancel()
        await quiet()
        assert floor.in_hand == [3]
        await floor.let_go(3)
        assert floor.pool.size == len(floor.lanes()._lanes) == 2
        floor.put(*range(10, 20), lane=lambda body: body)
        await quiet()
        assert sorted(floor.results()) == [3, *range(10, 20)]


@pytest.mark.parametrize("sticky", [False, True])
async def test_cancelled_while_it_grows_it_has_a_worker_for_every_key(sticky):
    floor = Floor(1, sticky=sticky)
    async with running(floor.pool.run) as tasks:
        floor.late = Event()
        impatient = CancelScope()
        tasks.start_soon(resized, floor.pool, 4, impatient)
        await quiet()
        impatient.cancel()
        await quiet()
        floor.late.set()
        await quiet()
        assert floor.pool.size == 2
        assert [worker.alone for worker in floor.workers] == [sticky] * 2
        floor.put(*range(20), lane=lambda body: body)
        await quiet()
        assert sorted(floor.results()) == list(range(20))


async def test_while_it_grows_the_keys_are_dealt_anew_once_however_long_a_worker_takes_to_start():
    floor = Floor(1, sticky=True)
    async with running(floor.pool.run) as tasks:
        floor.late = Event()
        tasks.start_soon(floor.pool.resize, 4)
        await quiet()
        assert len(floor.lanes()._lanes) == floor.pool.size == 4
        floor.put(*range(20), lane=lambda body: body)
        floor.late.set()
        await quiet()
        assert sorted(floor.results()) == list(range(20))
        assert [worker.lane for worker in floor.workers] == [0, 1, 2, 3]


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("waits", [False, True])
async def test_resized_up_and_down_all_the_time_it_loses_nothing_and_keeps_the_order_of_each_key(sticky, waits):
    floor = Floor(2, sticky=sticky, lanes=1, retry=Retry(attempts=9, first=1, factor=1), behind=10, capacity=30)
    seen, names = [], [f"{at % 10}{at:03}" for at in range(300)]
    floor.crash.update(names[::17])
    if waits:
        for body in names[::5]:
            floor.hold_up(body)
            floor.gates[body].set()
    floor.mailbox.attach()

    async def feed():
        run = []
        for body in names:
            run.append(message(body, floor.owner, first(body)))
            if len(run) == 20:
                await floor.mailbox.put(run)
        floor.mailbox.detach()

    async def drain_behind():
        while run := await floor.behind.take(7):
            seen.extend(bodies(run))
            for each in run:
                each.receipt.acknowledge()
            floor.behind.done(run)
            await checkpoint()

    async with create_task_group() as tasks:
        tasks.start_soon(feed)
        tasks.start_soon(drain_behind)
        tasks.start_soon(floor.pool.run)
        at = 0
        while not floor.mailbox.drained:
            at += 1
            await floor.pool.resize((1, 4, 2, 7, 3)[at % 5])
            for _ in range(3):
                await checkpoint()
            floor.clock.advance(0.5)
    assert sorted(seen) == sorted(names)
    assert set(floor.owner.outcomes.values()) == {"DONE"}
    for key in "0123456789":
        of_key = [body for body in floor.handled if body[0] == key]
        assert of_key == [body for body in names if body[0] == key]


# -- lanes -----------------------------------------------------------------------------------------------------------


async def test_in_sticky_lanes_a_key_always_meets_the_same_worker():
    floor = Floor(4, sticky=True)
    async with running(floor.pool.run):
        for round_ in range(5):
            floor.put(*(f"{key}{round_}" for key in "abcdefghijkl"), lane=first)
            await quiet()
        met = defaultdict(set)
        for number, contents in floor.by_worker.items():
            for body in contents:
                met[first(body)].add(number)
        assert len(met) == 12
        assert all(len(workers) == 1 for workers in met.values())


async def test_a_worker_that_is_restarted_keeps_its_lane():
    floor = Floor(3, sticky=True, retry=STEADY)
    async with running(floor.pool.run):
        keys = "abcdefghi"
        floor.put(*(f"{key}1" for key in keys), lane=first)
        await quiet()
        before = {first(body): number for number, contents in floor.by_worker.items() for body in contents}
        floor.crash.update(f"{key}2" for key in keys)
        floor.put(*(f"{key}2" for key in keys), lane=first)
        for _ in range(20):
            await floor.advance(1)
        assert len(floor.results()) == 18
        assert floor.pool.supervisor.restarts == 9
        after = {first(body): number for number, contents in floor.by_worker.items() for body in contents[-9:]}
        assert before == after


async def test_a_worker_added_to_sticky_lanes_serves_its_own_lane_from_the_start():
    floor = Floor(1, sticky=True)
    async with running(floor.pool.run):
        await floor.pool.resize(3)
        lines = [len(line) for line in floor.lanes()._lines]
        assert lines == [1, 1, 1]
        floor.put(*range(9), lane=lambda body: body)
        await quiet()
        assert {number: sorted(contents) for number, contents in floor.by_worker.items()} == {
            0: [0, 3, 6],
            1: [1, 4, 7],
            2: [2, 5, 8],
        }


async def test_after_shrinking_sticky_lanes_every_key_is_still_served():
    floor = Floor(4, sticky=True)
    async with running(floor.pool.run):
        floor.hold_up(3)
        floor.put(3, lane=lambda body: body)
        await quiet()
        async with create_task_group() as tasks:
            tasks.start_soon(floor.pool.resize, 2)
            await quiet()
            floor.put(7, *range(8, 16), lane=lambda body: body % 4)
            await floor.let_go(3)
        await quiet()
        assert sorted(floor.results()) == [3, *range(7, 16)]
        assert floor.pool.size == 2


async def test_a_worker_alone_in_its_lane_keeps_its_run_and_one_of_many_does_not():
    assert [worker.alone for worker in Floor(3).workers] == [False] * 3
    assert [worker.alone for worker in Floor(3, sticky=True).workers] == [True] * 3
    floor = Floor(1)
    assert floor.workers[0].alone
    async with running(floor.pool.run):
        await floor.pool.resize(2)
        assert [worker.alone for worker in floor.workers] == [False, False]
        await floor.pool.resize(1)
        assert [worker.alone for worker in floor.workers] == [True]


async def test_state_that_an_actor_keeps_by_key_sees_all_of_the_key():
    class Total(Actor):
        def __init__(self):
            self.by_key: dict = defaultdict(int)

        async def receive(self, body):
            key, amount = body
            self.by_key[key] += amount
            return key, self.by_key[key]

    bench = Bench(lanes=4)
    pool = Pool(
        "totals",
        4,
        lambda number: bench.worker(actor=Total),
        bench.mailbox,
        [bench.behind],
        CALM,
        bench.clock,
        logger,
        sticky=True,
    )
    bench.put(*((key, 1) for _ in range(10) for key in range(20)), lane=lambda body: body[0])
    bench.mailbox.close()
    await pool.run()
    assert sorted(body for body in bench.results() if body[1] == 10) == [(key, 10) for key in range(20)]


# -- publishers ------------------------------------------------------------------------------------------------------


async def test_a_pool_of_publishers_grows_and_shrinks_too():
    bench, shelf = Bench(), Shelf()
    shelf.gate = Event()
    counts, link = Counts(), Link(bench.clock, logger, "shelf")

    def make(number):
        retries = Retries("publisher", bench.mailbox, bench.clock, counts, logger)
        return PublishWorker(
            "to:shelf", bench.mailbox, shelf, lambda kind: str.encode, wrong, retries, link, counts, take=1
        )

    pool = Pool("to:shelf", 3, make, bench.mailbox, [], CALM, bench.clock, logger)
    async with running(pool.run):
        assert bench.mailbox.statistics().takers_waiting == 3
        await pool.resize(1)
        await quiet()
        assert bench.mailbox.statistics().takers_waiting == 1
        await pool.resize(2)
        bench.put(*"abc")
        await quiet()
        assert (shelf.runs, len(bench.mailbox)) == ([1, 1], 1)
        shelf.gate.set()
        await quiet()
        assert sorted(shelf.raws) == [b"a", b"b", b"c"]


def wrong(body, error):
    return error


def test_a_pool_needs_no_more_than_run_and_leave_of_its_workers():
    class Idle:
        left = False

        async def run(self, started=lambda: None):
            started()

        def leave(self):
            self.left = True

    mailbox: Mailbox[Message] = Lanes(5)
    pool = Pool("idle", 2, lambda number: Idle(), mailbox, [], CALM, Bench().clock, logger)
    assert (pool.size, pool.busy) == (2, 0)
