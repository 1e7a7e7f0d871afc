"""`Worker`: takes runs while its handler does not wait, one at a time once it does, and loses nothing by crashing."""

import asyncio
import time
from typing import ClassVar

import pytest
from anyio import CancelScope, Event, create_task_group
from anyio.lowlevel import checkpoint

from actors import Actor, Bound, Crash, Drop, Origin, Reject, Retry
from actors import worker as module
from actors.emitting import RUN
from actors.turn import Turn
from actors.worker import STRIDE
from tests.actors.fakes import Bench, bodies, drained, quiet, running

pytestmark = pytest.mark.anyio

STEADY = Retry(attempts=3, first=10, factor=1, jitter=0)


async def echo(message):
    return message.body


class Held:
    """A handler that waits until it is told, message by message, and knows which it has in hand."""

    def __init__(self):
        self.gates: dict = {}
        self.begun: list = []
        self.cancelled: list = []

    async def __call__(self, message):
        gate = self.gates[message.body] = Event()
        self.begun.append(message.body)
        try:
            await gate.wait()
        except BaseException:
            self.cancelled.append(message.body)
            raise
        finally:
            del self.gates[message.body]
        return message.body

    @property
    def in_hand(self):
        return list(self.gates)

    async def let_go(self, *which):
        for body in which:
            self.gates[body].set()
        await quiet()


# -- handling --------------------------------------------------------------------------------------------------------


async def test_passes_on_what_its_handler_returns_in_order():
    bench = Bench()
    bench.put(*range(500))
    await drained(bench, bench.worker(echo))
    assert bench.results() == list(range(500))
    assert set(bench.owner.outcomes.values()) == {"DONE"}
    assert (len(bench.owner), bench.counts.handled, bench.mailbox.held) == (500, 500, 0)


async def test_nothing_returned_goes_nowhere_and_is_acknowledged():
    bench = Bench()
    bench.put(1)

    async def handler(message):
        return None

    await drained(bench, bench.worker(handler))
    assert bench.results() == []
    assert bench.owner.outcomes == {1: "DONE"}


async def test_a_failure_concerns_only_its_own_message():
    bench = Bench()
    bench.put(*range(6))

    async def handler(message):
        if message.body == 1:
            raise ValueError("no")
        if message.body == 2:
            raise Reject("never")
        if message.body == 3:
            raise Drop("not needed")
        return message.body

    await drained(bench, bench.worker(handler))
    assert bench.results() == [0, 4, 5]
    assert bench.owner.outcomes == {0: "DONE", 1: "DEAD", 2: "DEAD", 3: "DONE", 4: "DONE", 5: "DONE"}
    assert (bench.counts.handled, bench.counts.failed, bench.counts.dropped) == (6, 2, 1)


async def test_a_result_that_cannot_be_passed_on_is_a_failure_of_its_message():
    bench = Bench()
    bench.put(1, 2)
    worker = bench.worker(echo)
    pass_on = worker.pass_on

    def picky(message, result):
        if result == 1:
            raise TypeError("does not fit")
        pass_on(message, result)

    worker.pass_on = picky
    await drained(bench, worker)
    assert bench.results() == [2]
    assert bench.owner.outcomes == {1: "DEAD", 2: "DONE"}


async def test_a_failed_message_is_tried_again_and_each_try_is_counted():
    bench = Bench(retry=STEADY)
    bench.put("a", "b")

    async def handler(message):
        if message.body == "a" and message.attempt < 3:
            raise ValueError("not yet")
        return message.body

    worker = bench.worker(handler)
    async with running(worker.run):
        assert bench.results() == ["b"]
        for _ in range(2):
            bench.clock.advance(10)
            await quiet()
        assert bench.results() == ["a"]
    assert (bench.counts.handled, bench.counts.failed, bench.counts.retried) == (4, 2, 2)


async def test_drained_it_waits_for_the_last_try_of_the_last_message():
    bench = Bench(retry=STEADY)
    bench.put("last")
    bench.mailbox.close()

    async def handler(message):
        if message.attempt < 3:
            raise ValueError("not yet")
        return message.body

    async with create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(bench.worker(handler, name=name).run)
        for _ in range(2):
            await quiet()
            assert not bench.mailbox.drained
            bench.clock.advance(10)
    assert bench.results() == ["last"]
    assert bench.owner.outcomes == {"last": "DONE"}


async def test_drained_it_ends_when_its_last_message_dies():
    bench = Bench(retry=STEADY)
    bench.put("last")
    bench.mailbox.close()

    async def handler(message):
        raise ValueError("never")

    async with create_task_group() as tasks:
        tasks.start_soon(bench.worker(handler).run)
        tasks.start_soon(bench.worker(handler).run)
        for _ in range(2):
            await quiet()
            bench.clock.advance(10)
    assert bench.owner.outcomes == {"last": "DEAD"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_that_nobody_here_asked_for_is_a_failure_of_the_message():
    bench = Bench()
    bench.put(1, 2)

    async def handler(message):
        if message.body == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return message.body

    await drained(bench, bench.worker(handler))
    assert bench.results() == [2]
    assert bench.owner.outcomes == {1: "DEAD", 2: "DONE"}


# -- how much it takes -----------------------------------------------------------------------------------------------


def counting(mailbox):
    """Note how many messages each take brings."""
    sizes, take_nowait = [], mailbox.take_nowait

    def counted(limit, lane=0):
        run = take_nowait(limit, lane)
        if run:
            sizes.append(len(run))
        return run

    mailbox.take_nowait = counted
    return sizes


async def test_while_its_handler_does_not_wait_it_takes_runs():
    bench = Bench(capacity=5 * RUN, behind=10 * RUN)
    sizes = counting(bench.mailbox)
    bench.put(*range(5 * RUN))
    await drained(bench, bench.worker(echo))
    assert sizes[0] == 1
    assert max(sizes) == RUN
    assert len(sizes) < 20


async def test_it_takes_no_more_than_the_mailbox_may_hold():
    bench = Bench(capacity=4)
    worker = bench.worker(echo)
    assert worker.take == 4


async def test_once_its_handler_waits_it_takes_one_at_a_time_and_leaves_the_rest_to_others():
    bench, waiting = Bench(), Held()
    worker = bench.worker(waiting)
    worker.limit = RUN
    bench.put(*range(4))
    async with running(worker.run):
        assert waiting.in_hand == [0]
        assert len(bench.mailbox) == 3
        for body in range(4):
            assert waiting.in_hand == [body]
            await waiting.let_go(body)
        assert bench.results() == [0, 1, 2, 3]
        for _ in range(3):
            bench.put("more")
            await quiet()
            await waiting.let_go("more")
        assert worker.limit == 1


@pytest.mark.parametrize("limit", [1, RUN])
async def test_a_handler_that_waits_has_all_workers_at_once(limit):
    bench, waiting = Bench(), Held()
    workers = [bench.worker(waiting, name=str(at)) for at in range(10)]
    for worker in workers:
        worker.limit = limit
    async with running(*[worker.run for worker in workers]):
        bench.put(*range(25))
        await quiet()
        assert waiting.in_hand == list(range(10))
        await waiting.let_go(*range(10))
        assert waiting.in_hand == list(range(10, 20))
        await waiting.let_go(12, 17)
        assert waiting.begun == list(range(22))


async def test_alone_it_keeps_what_it_has_taken_and_still_handles_one_at_a_time():
    bench, waiting = Bench(), Held()
    worker = bench.worker(waiting, alone=True)
    worker.limit = RUN
    bench.put(*range(4))
    async with running(worker.run):
        assert (waiting.in_hand, len(bench.mailbox)) == ([0], 0)
        await waiting.let_go(0)
        assert waiting.in_hand == [1]
        assert worker.limit == RUN


async def test_what_is_made_goes_on_while_the_handler_waits_for_another():
    bench, waiting = Bench(), Held()

    async def handler(message):
        return await waiting(message) if message.body == "slow" else message.body

    worker = bench.worker(handler)
    worker.limit = RUN
    bench.put("quick", "slow", "last")
    async with running(worker.run):
        assert bench.results() == ["quick"]
        assert bench.owner.outcomes == {"quick": "DONE"}
        assert bodies(bench.mailbox.take_nowait(9)) == ["last"]


async def test_the_keys_of_what_is_made_are_free_while_the_handler_waits_for_another():
    bench, waiting = Bench(lanes=1), Held()

    async def handler(message):
        return await waiting(message) if message.body == "slow" else message.body

    workers = [bench.worker(handler, name=str(at)) for at in range(2)]
    workers[0].limit = RUN
    async with running(workers[0].run, workers[1].run):
        bench.put("quick", "slow", lane=lambda body: body)
        await quiet()
        bench.put("quick", lane=lambda body: body)
        await quiet()
        assert bench.results() == ["quick", "quick"]
        assert bench.mailbox.held == 1


async def test_while_it_waits_for_room_behind_what_it_was_made_of_is_not_done():
    bench = Bench(behind=2)
    bench.put(*range(5))
    worker = bench.worker(echo)
    worker.limit = RUN
    async with running(worker.run):
        assert (len(bench.behind), bench.mailbox.held) == (2, 5)
        assert bench.results() == [0, 1]
        await quiet()
        assert bench.results() == [2, 3]
        await quiet()
        assert bench.results() == [4]
        await quiet()
        assert bench.mailbox.held == 0


async def test_a_slow_handler_that_never_waits_lets_the_others_run(monkeypatch):
    bench, turns, now = Bench(), [], [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])

    async def handler(message):
        now[0] += 1.0
        turns.append("message")

    async def other():
        while not bench.mailbox.drained:
            turns.append("other")
            await checkpoint()

    bench.put(*range(300))
    worker = bench.worker(handler)
    worker.limit = RUN
    bench.mailbox.close()
    async with create_task_group() as tasks:
        tasks.start_soon(other)
        tasks.start_soon(worker.run)
    stretches = [len(stretch) for stretch in "".join("m" if turn == "message" else " " for turn in turns).split()]
    # Trio draws lots for who goes first, so that a worker may have two turns in a row.
    assert max(stretches) <= 3 * STRIDE
    assert max(stretches[10:]) <= 3
    assert worker.limit == 1


async def test_a_handler_found_slow_at_its_first_message_never_gets_a_long_run(monkeypatch):
    bench, now = Bench(), [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    sizes = counting(bench.mailbox)

    async def handler(message):
        now[0] += 1.0

    bench.put(*range(20))
    await drained(bench, bench.worker(handler))
    assert sizes == [1] * 20


async def test_a_long_run_of_messages_lets_others_have_their_turn():
    bench, turns = Bench(capacity=20 * RUN, behind=20 * RUN), []
    bench.put(*range(20 * RUN))

    async def other():
        while not bench.mailbox.drained:
            turns.append(len(bench.mailbox))
            await checkpoint()

    bench.mailbox.close()
    async with create_task_group() as tasks:
        tasks.start_soon(other)
        tasks.start_soon(bench.worker(echo).run)
    assert len(set(turns)) > 15


# -- order by key ----------------------------------------------------------------------------------------------------


async def test_what_is_in_hand_of_a_key_waits_behind_its_failed_message():
    bench = Bench(lanes=1, retry=STEADY)
    bench.put("a1", "b1", "a2", "b2", "a3", lane=lambda body: body[0])

    async def handler(message):
        if message.body == "a1" and message.attempt == 1:
            raise ValueError("not yet")
        return message.body

    worker = bench.worker(handler)
    worker.limit = RUN
    async with running(worker.run):
        assert bench.results() == ["b1", "b2"]
        bench.clock.advance(10)
        await quiet()
        assert bench.results() == ["a1", "a2", "a3"]


async def test_what_is_in_hand_of_a_key_goes_back_with_its_message_at_the_end_of_a_drain():
    bench = Bench(lanes=1, retry=STEADY)
    bench.put("a1", "b1", "a2", lane=lambda body: body[0])

    async def handler(message):
        if message.body == "a1":
            raise ValueError("not in time")
        return message.body

    bench.retries.drain(5)
    worker = bench.worker(handler)
    worker.limit = RUN
    await drained(bench, worker)
    assert bench.results() == ["b1"]
    assert bench.owner.outcomes == {"a1": "RETURNED", "a2": "RETURNED", "b1": "DONE"}


@pytest.mark.parametrize("waits", [False, True])
async def test_order_by_key_is_kept_by_many_workers_through_retries_and_crashes(waits):
    bench, seen = Bench(lanes=1, retry=Retry(attempts=20, first=1, factor=1)), []
    names = [f"{at % 7}{at:03}" for at in range(210)]
    bench.put(*names, lane=lambda body: body[0])

    async def handler(message):
        for _ in range(hash(message.body) % 3 if waits else 0):
            await checkpoint()
        number = int(message.body[1:])
        if number % 11 == 0 and message.attempt < 3:
            raise ValueError("not yet")
        if number % 13 == 0 and message.attempt < 2:
            raise Crash
        seen.append(message.body)

    async def restarted(worker):
        while True:
            try:
                await worker.run()
            except Crash:
                continue
            return

    bench.mailbox.close()
    async with create_task_group() as tasks:
        for at in range(5):
            tasks.start_soon(restarted, bench.worker(handler, name=str(at)))
        while not bench.mailbox.drained:
            await quiet()
            bench.clock.advance(1)
    assert sorted(seen) == sorted(names)
    for key in "0123456":
        of_key = [body for body in seen if body[0] == key]
        assert of_key == sorted(of_key)


# -- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Crash("lost the connection"), SystemExit(1)])
async def test_a_crash_puts_back_what_is_in_hand_and_its_own_message_counts_one_try_more(error):
    bench = Bench(retry=STEADY)
    bench.put(*range(5))

    async def handler(message):
        if message.body == 2 and message.attempt == 1:
            raise error
        return message.body

    worker = bench.worker(handler)
    worker.limit = RUN
    with pytest.raises(type(error)):
        await worker.run()
    assert worker.busy_since is None
    assert len(bench.retries) == 1
    assert bodies(list(bench.mailbox._items)) == [3, 4]
    async with running(worker.run):
        assert bench.results() == [0, 1, 3, 4]
        bench.clock.advance(10)
        await quiet()
        assert bench.results() == [2]
    assert bench.bound == 2
    assert bench.counts.handled == 6


async def test_a_message_that_crashes_its_worker_every_time_is_dead_in_the_end():
    bench = Bench()
    bench.put("poison")

    async def handler(message):
        raise Crash

    worker = bench.worker(handler)
    for _ in range(3):
        with pytest.raises(Crash):
            await worker.run()
        bench.clock.advance(60)
    assert bench.owner.outcomes == {"poison": "DEAD"}


async def test_what_was_made_before_a_crash_is_passed_on_after_the_restart():
    bench = Bench(behind=1, retry=STEADY)
    bench.put("a", "b", "c", "crash")

    async def handler(message):
        if message.body == "crash":
            raise Crash
        return message.body

    worker = bench.worker(handler)
    worker.limit = RUN
    with pytest.raises(Crash):
        await worker.run()
    assert bench.mailbox.held == 4
    async with running(worker.run):
        for body in "abc":
            assert bench.results() == [body]
            await quiet()
        assert bench.mailbox.held == 1


# -- actors with a life ----------------------------------------------------------------------------------------------


class Counter(Actor):
    made: ClassVar[list] = []

    def __init__(self):
        self.log: list[str] = []
        self.total = 0
        Counter.made.append(self)

    async def on_start(self):
        self.log.append("start")

    async def receive(self, body):
        if body == "crash":
            raise Crash
        self.total += body
        return self.total

    async def on_stop(self):
        self.log.append("stop")


@pytest.fixture
def counters():
    Counter.made = []
    return Counter.made


async def test_an_actor_keeps_its_state_and_is_made_anew_after_a_crash(counters):
    bench = Bench(retry=STEADY)
    bench.put(1, 2, "crash", 3)
    worker = bench.worker(actor=Counter)
    with pytest.raises(Crash):
        await worker.run()
    bench.retries.drain(0)
    await drained(bench, worker)
    assert bench.results() == [1, 3, 3]
    assert [each.log for each in counters] == [["start", "stop"]] * 2


async def test_an_actor_is_ready_only_when_it_has_started(counters):
    bench, log = Bench(), []

    class Slow(Counter):
        async def on_start(self):
            await checkpoint()
            log.append("on_start")

    worker = bench.worker(actor=Slow)
    async with running(lambda: worker.run(lambda: log.append("started"))):
        assert log == ["on_start", "started"]


async def test_an_actor_that_fails_to_start_has_crashed_and_takes_nothing(counters):
    bench = Bench()
    bench.put(1)

    class Broken(Counter):
        async def on_start(self):
            raise RuntimeError("no connection")

    with pytest.raises(RuntimeError, match="no connection"):
        await bench.worker(actor=Broken).run()
    assert len(bench.mailbox) == 1
    assert counters[0].log == []


async def test_an_actor_is_stopped_even_when_its_worker_is_cancelled(counters):
    bench, stopped = Bench(), []

    class Thorough(Counter):
        async def on_stop(self):
            await checkpoint()
            stopped.append(self)

    async with running(bench.worker(actor=Thorough).run):
        pass
    assert stopped == counters


async def test_an_actor_that_fails_to_stop_is_logged_and_no_crash(counters, caplog):
    bench = Bench()
    bench.put(1)

    class Messy(Counter):
        async def on_stop(self):
            raise RuntimeError("cannot say goodbye")

    await drained(bench, bench.worker(actor=Messy))
    assert bench.results() == [1]
    assert "on_stop of Messy failed" in caplog.text


async def test_an_actor_that_fails_to_stop_does_not_hide_why_it_crashed(counters, caplog):
    bench = Bench()
    bench.put("crash")

    class Messy(Counter):
        async def on_stop(self):
            raise RuntimeError("cannot say goodbye")

    with pytest.raises(Crash):
        await bench.worker(actor=Messy).run()


async def test_an_actor_that_never_stops_is_cut_short(counters, caplog, monkeypatch):
    monkeypatch.setattr("actors.bound.FAREWELL", 0.01)
    bench = Bench()

    class Endless(Counter):
        async def on_stop(self):
            await Event().wait()

    await drained(bench, bench.worker(actor=Endless))
    assert "on_stop of Endless took longer than 0.01 s" in caplog.text


# -- timeouts --------------------------------------------------------------------------------------------------------


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_message_failed():
    bench, waiting = Bench(), Held()
    bench.put("slow", "quick")

    async def handler(message):
        return await waiting(message) if message.body == "slow" else message.body

    async with running(bench.worker(handler, timeout=5).run):
        bench.clock.advance(4.9)
        await quiet()
        assert waiting.in_hand == ["slow"]
        bench.clock.advance(0.1)
        await quiet()
        assert waiting.cancelled == ["slow"]
        assert bench.results() == ["quick"]
    assert bench.owner.outcomes == {"slow": "DEAD", "quick": "DONE"}
    assert bench.owner.reasons == ["the handler took longer than timeout=5 s"]
    assert bench.clock.next_due() is None


async def test_a_handler_that_ends_as_its_time_does_has_ended():
    bench, waiting = Bench(), Held()
    bench.put("a")
    async with running(bench.worker(waiting, timeout=5).run):
        waiting.gates["a"].set()
        bench.clock.advance(5)
        await quiet()
        assert bench.results() == ["a"] or bench.owner.outcomes == {"a": "DEAD"}
        assert bench.mailbox.held == 0


async def test_a_timeout_of_the_handlers_own_is_a_failure_like_any_other():
    bench = Bench()
    bench.put("a")

    async def handler(message):
        raise TimeoutError("its own")

    await drained(bench, bench.worker(handler, timeout=5))
    assert bench.owner.reasons == ["its own"]


async def test_cancelled_within_its_time_it_puts_its_message_back():
    bench, waiting = Bench(), Held()
    bench.put("a")
    async with running(bench.worker(waiting, timeout=5).run):
        assert waiting.in_hand == ["a"]
    assert bodies(bench.mailbox.take_nowait(9)) == ["a"]
    assert bench.clock.next_due() is None


# -- generators ------------------------------------------------------------------------------------------------------


def spreading(emit):
    """A generator handler as it is made ready: each item of the body goes on by itself."""

    async def invoke(message):
        for item in message.body:
            if item == "fail":
                raise ValueError("half way")
            await emit(message, item)

    return invoke


async def test_each_item_goes_on_and_the_message_is_done_when_all_of_them_are():
    bench = Bench()
    (whole,) = bench.put("abc")
    bench.mailbox.close()
    await bench.worker(emitting=spreading).run()
    run = bench.behind.take_nowait(9)
    assert bodies(run) == ["a", "b", "c"]
    for each in run:
        assert not bench.owner
        each.receipt.acknowledge()
    assert bench.owner == [whole.receipt]


async def test_nothing_emitted_is_acknowledged():
    bench = Bench()
    bench.put("")
    await drained(bench, bench.worker(emitting=spreading))
    assert bench.owner.outcomes == {"": "DONE"}


async def test_what_was_emitted_before_a_failure_stays_and_the_message_is_dead():
    bench = Bench()
    bench.put(["a", "b", "fail"])
    bench.mailbox.close()
    await bench.worker(emitting=spreading).run()
    assert not bench.owner
    assert bench.results() == ["a", "b"]
    assert [receipt.outcome.name for receipt in bench.owner] == ["DEAD"]


async def test_a_generator_of_many_items_feels_the_bound_behind_it():
    bench = Bench(behind=4)
    bench.put(range(10 * RUN))
    worker = bench.worker(emitting=spreading)
    async with running(worker.run):
        assert len(bench.behind) == 4
        assert len(worker.outbox) < RUN
        count = 0
        while count < 10 * RUN:
            count += len(bench.results())
            await quiet()
    assert [receipt.outcome.name for receipt in bench.owner] == ["DONE"]


async def test_an_item_that_is_to_go_on_at_once_does_as_far_as_there_is_room():
    bench, gate, emitted = Bench(behind=2), Event(), []

    def in_a_thread(emit):
        async def invoke(message):
            async def item_by_item():
                await gate.wait()
                for item in message.body:
                    await emit(message, item, True)
                    emitted.append(item)
                await forever.wait()

            async with create_task_group() as tasks:
                tasks.start_soon(item_by_item)

        return invoke

    forever = Event()
    bench.put("abc")
    async with running(bench.worker(emitting=in_a_thread).run):
        gate.set()
        await quiet()
        assert emitted == ["a", "b", "c"]
        assert bench.results() == ["a", "b"]
        forever.set()
        await quiet()
        assert bench.results() == ["c"]
    assert bench.owner.outcomes == {"abc": "DONE"}


async def test_an_item_that_cannot_be_passed_on_fails_the_message_and_leaves_no_branch_open():
    bench = Bench()
    bench.put("abc")
    worker = bench.worker(emitting=spreading)
    pass_on = worker.pass_on

    def picky(message, result):
        if result == "b":
            raise TypeError("does not fit")
        pass_on(message, result)

    worker.pass_on = picky
    await drained(bench, worker)
    assert bench.results() == ["a"]
    assert bench.owner.outcomes == {"abc": "DEAD"}


async def test_a_generator_cancelled_half_way_gives_everything_again():
    bench = Bench()
    (whole,) = bench.put("ab")
    gate = Event()

    def halting(emit):
        async def invoke(message):
            for item in message.body:
                await emit(message, item)
                await gate.wait()

        return invoke

    worker = bench.worker(emitting=halting)
    async with running(worker.run):
        assert bench.results() == ["a"]
    gate.set()
    await drained(bench, worker)
    assert bench.results() == ["a", "b"]
    assert bench.owner == [whole.receipt]


@pytest.mark.parametrize("used", [0, 3])
async def test_the_time_of_a_generator_stands_while_it_waits_for_room_behind_it(used):
    bench = Bench(behind=RUN)

    def filling(emit):
        async def invoke(message):
            await bench.clock.sleep(used)
            for item in range(3 * RUN):
                await emit(message, item)
            await bench.clock.sleep(4 - used)

        return invoke

    bench.put("a")
    async with running(bench.worker(emitting=filling, timeout=5).run):
        bench.clock.advance(used)
        await quiet()
        for _ in range(2):
            assert bench.behind.statistics().putters_waiting == 1
            bench.clock.advance(100)
            await quiet()
            assert len(bench.results()) == RUN
            await quiet()
        assert len(bench.results()) == RUN
        bench.clock.advance(4 - used)
        await quiet()
        assert bench.owner.outcomes == {"a": "DONE"}
    assert bench.clock.next_due() is None


async def test_a_generator_that_takes_too_long_fails_whether_or_not_it_had_to_wait_for_room():
    bench = Bench(behind=RUN)

    def filling(emit):
        async def invoke(message):
            await bench.clock.sleep(3)
            for item in range(2 * RUN):
                await emit(message, item)
            await bench.clock.sleep(3)

        return invoke

    bench.put("a")
    async with running(bench.worker(emitting=filling, timeout=5).run):
        bench.clock.advance(3)
        await quiet()
        bench.clock.advance(100)
        await quiet()
        bench.results()
        await quiet()
        bench.clock.advance(1.9)
        await quiet()
        assert bench.mailbox.held == 1
        bench.clock.advance(0.1)
        await quiet()
        assert bench.mailbox.held == 0
        bench.results()
    assert bench.owner.reasons == ["the handler took longer than timeout=5 s"]
    assert bench.clock.next_due() is None


async def test_a_generator_that_is_stopped_while_it_waits_for_room_leaves_no_timer():
    bench = Bench(behind=1)
    bench.put(range(10 * RUN))
    async with running(bench.worker(emitting=spreading, timeout=5).run):
        assert bench.behind.statistics().putters_waiting == 1
    assert bench.mailbox.held == 0
    assert len(bench.mailbox) == 1
    assert bench.clock.next_due() is None


def as_it_is(emit):
    """A generator handler that passes its message on as it finds it, and then fails at its first try."""

    async def invoke(message):
        await emit(message, message.body)
        if message.attempt == 1:
            raise ValueError("once")

    return invoke


def of_the_message(bench):
    """Have results be derived of what they are made of, as a router does, and tell what that was."""
    seen = []
    worker = bench.worker(emitting=as_it_is)

    def pass_on(message, result):
        if result is None:
            message.receipt.acknowledge()
            return
        seen.append((message.body, message.headers, message.origin.id))
        worker.outbox.buffers[0].append(message.derive(message.body))

    worker.pass_on = pass_on
    return worker, seen


@pytest.mark.parametrize("id", [None, "x1"])
async def test_what_a_generator_yields_at_a_later_try_is_made_of_the_message_as_it_is_then(id):
    bench = Bench(retry=Retry(attempts=2, first=10, jitter=0))
    (each,) = bench.put("abc")
    each.origin = Origin(id=id, source="in")

    def renew(message):
        message.headers = {"try": "second"}
        message.origin = Origin(id=id, source="again")

    bench.retries.renew = renew
    worker, seen = of_the_message(bench)
    async with running(worker.run):
        bench.clock.advance(10)
        await quiet()
        assert seen == [("abc", None, None), ("abc", {"try": "second"}, None)]
        assert [made.origin.source for made in bench.behind.take_nowait(2)] == ["in", "again"]


@pytest.mark.parametrize("id", [None, "x1"])
async def test_what_a_generator_yields_is_made_of_the_body_that_its_message_has_then(id):
    bench = Bench()
    (each,) = bench.put("abc")
    each.origin = Origin(id=id, source="in")

    def changing(emit):
        async def invoke(message):
            await emit(message, 1)
            message.body = "xyz"
            await emit(message, 2)

        return invoke

    worker, seen = of_the_message(bench)
    worker.bind = lambda emit: Bound(changing(emit), None)
    await drained(bench, worker)
    assert [body for body, *_ in seen] == ["abc", "xyz"]


# -- cancellation ----------------------------------------------------------------------------------------------------


async def test_cancelled_it_puts_back_what_is_in_hand_in_order():
    bench, waiting = Bench(), Held()

    async def handler(message):
        return await waiting(message) if message.body == 2 else message.body

    worker = bench.worker(handler, alone=True)
    worker.limit = RUN
    bench.put(*range(5))
    async with running(worker.run):
        assert waiting.in_hand == [2]
    assert bodies(list(bench.mailbox._items)) == [2, 3, 4]
    assert bench.mailbox.held == 0
    assert worker.busy_since is None
    assert bench.results() == [0, 1]


async def test_cancelled_while_it_waits_for_room_behind_it_passes_on_after_the_restart():
    bench = Bench(behind=2)
    bench.put(*range(6))
    worker = bench.worker(echo)
    worker.limit = RUN
    async with running(worker.run):
        pass
    assert bench.mailbox.held == 6
    bench.mailbox.close()
    async with create_task_group() as tasks:
        tasks.start_soon(worker.run)
        seen = []
        while not bench.mailbox.drained:
            seen += bench.results()
            await quiet()
    assert seen + bench.results() == list(range(6))
    assert bench.owner.outcomes == dict.fromkeys(range(6), "DONE")


async def test_cancelled_while_idle_it_takes_nothing():
    bench = Bench()
    worker = bench.worker(echo)
    async with running(worker.run):
        pass
    bench.put(1)
    assert len(bench.mailbox) == 1
    assert worker.idle is None


@pytest.mark.parametrize("turns", range(1, 40))
async def test_cancelled_at_any_turn_and_restarted_it_loses_nothing_and_doubles_nothing_settled(turns):
    bench = Bench(behind=3, lanes=1, retry=Retry(attempts=9, first=0, jitter=0))
    bench.put(*(f"{at % 3}{at}" for at in range(12)), lane=lambda body: body[0])
    bench.mailbox.close()

    async def handler(message):
        if int(message.body) % 4 == 0:
            await checkpoint()
        if int(message.body) % 5 == 0 and message.attempt == 1:
            raise ValueError("not yet")
        return message.body

    workers = [bench.worker(handler, name=str(at)) for at in range(2)]
    seen: list = []

    async def restarted(worker):
        while not bench.mailbox.drained:
            with CancelScope() as scope:
                scopes.append(scope)
                await worker.run()
            await checkpoint()

    async def disturb():
        for turn in range(400):
            await checkpoint()
            bench.clock.advance(0)
            if turn % 2:
                seen.extend(bench.results())
            if turn % turns == 0 and turn < 200 and scopes:
                scopes.pop(0).cancel()

    scopes: list[CancelScope] = []
    async with create_task_group() as tasks:
        for worker in workers:
            tasks.start_soon(restarted, worker)
        tasks.start_soon(disturb)
    seen += bench.results()
    assert sorted(set(seen)) == sorted({f"{at % 3}{at}" for at in range(12)})
    assert len(bench.owner) == 12
    assert bench.mailbox.held == 0


# -- leaving ---------------------------------------------------------------------------------------------------------


async def test_told_to_leave_while_idle_it_ends():
    bench = Bench()
    worker = bench.worker(echo)
    async with create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await quiet()
        worker.leave()
    bench.put(1)
    assert len(bench.mailbox) == 1


async def test_told_to_leave_it_finishes_what_is_in_hand():
    bench, waiting = Bench(), Held()
    worker = bench.worker(waiting, alone=True)
    worker.limit = RUN
    bench.put(1, 2)
    async with create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await quiet()
        bench.put(3)
        worker.leave()
        await quiet()
        await waiting.let_go(1)
        await waiting.let_go(2)
    assert bench.results() == [1, 2]
    assert len(bench.mailbox) == 1


async def test_told_to_leave_as_it_was_given_a_message_it_handles_it_or_leaves_it_to_others():
    bench = Bench()
    worker = bench.worker(echo)
    async with create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await quiet()
        bench.put(1)
        worker.leave()
    assert bench.results() or bodies(bench.mailbox.take_nowait(1)) == [1]


def test_says_what_it_has_in_hand():
    assert repr(Bench().worker(echo, name="stage/1")) == "<stage/1: 0 in hand, takes up to 1>"


# -- handlers that keep the event loop ---------------------------------------------------------------------------------


async def test_workers_whose_handler_keeps_the_event_loop_take_a_turn_each_with_all_others_in_between():
    bench, turn, seen, turns = Bench(), Turn(), [], [0]

    def slow(number):
        async def handler(message):
            time.sleep(2 * module.SLICE)  # noqa: ASYNC251 - that it blocks is the point
            seen.append((turns[0], number))

        return bench.worker(handler, turn=turn)

    async def count():
        while True:
            turns[0] += 1
            await checkpoint()

    bench.put(*range(80))  # trio wakes in any order: of fewer one worker might get none by chance
    workers = [slow(number) for number in range(4)]
    async with create_task_group() as tasks:
        tasks.start_soon(count)
        await drained(bench, *workers)
        tasks.cancel_scope.cancel()
    each = [at for at, _ in seen[4:]]  # at first nobody knows that it is slow
    assert max(each.count(at) for at in each) <= 2  # one on asyncio; trio wakes who counts before some and after others
    assert {number for _, number in seen[4:]} == {0, 1, 2, 3}


async def test_a_handler_that_becomes_slow_in_the_middle_of_a_run_does_not_keep_the_event_loop_for_the_rest_of_it():
    bench, seen, turns = Bench(), [], [0]

    async def handler(message):
        if message.body >= 200:
            time.sleep(module.SLICE)  # noqa: ASYNC251 - that it blocks is the point
            seen.append(turns[0])

    async def count():
        while True:
            turns[0] += 1
            await checkpoint()

    bench.put(*range(220))
    async with create_task_group() as tasks:
        tasks.start_soon(count)
        await drained(bench, bench.worker(handler))
        tasks.cancel_scope.cancel()
    assert max(seen.count(turn) for turn in seen) <= STRIDE
