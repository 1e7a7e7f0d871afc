"""`BatchWorker`: has each batch handled as one message, and settles its parts each by itself."""

import pytest
from anyio import Event, create_task_group

from actors import Batch, BatchError, Crash, Reject, Retry
from tests.actors.fakes import Bench, bodies, drained, quiet, running

pytestmark = pytest.mark.anyio

STEADY = Retry(attempts=3, first=10, factor=1, jitter=0)


def gather(batches):
    async def handler(joint):
        batches.append(joint.body)
        assert [each.body for each in joint.record] == joint.body
        return joint.body

    return handler


async def test_a_batch_is_handled_as_one_and_its_parts_are_done_when_its_result_is():
    bench, batches = Bench(), list[list]()
    bench.put(*range(5))
    bench.mailbox.close()
    await bench.worker(gather(batches), batch=Batch(2, 10)).run()
    assert batches == [[0, 1], [2, 3], [4]]
    assert not bench.owner
    assert bench.results() == batches
    assert bench.owner.outcomes == dict.fromkeys(range(5), "DONE")


async def test_a_batch_waits_by_the_clock_of_the_engine():
    bench, batches = Bench(), list[list]()
    async with running(bench.worker(gather(batches), batch=Batch(3, 10)).run):
        bench.put("a", "b")
        await quiet()
        bench.clock.advance(9)
        await quiet()
        assert batches == []
        bench.clock.advance(1)
        await quiet()
        assert batches == [["a", "b"]]
        bench.put(*"cde")
        await quiet()
        assert batches[1:] == [["c", "d", "e"]]


async def test_a_partial_batch_is_flushed_by_the_drain():
    bench, batches = Bench(), list[list]()
    async with create_task_group() as tasks:
        tasks.start_soon(bench.worker(gather(batches), batch=Batch(100, 3600)).run)
        bench.put("a", "b")
        await quiet()
        bench.mailbox.close()
    assert batches == [["a", "b"]]


async def test_of_a_batch_only_those_fail_that_are_named():
    bench = Bench(retry=STEADY)
    bench.put(*"abc")
    errors = [{0: Reject("bad"), 2: ValueError("later")}]

    async def handler(joint):
        if errors:
            raise BatchError(errors.pop())
        return joint.body

    async with running(bench.worker(handler, batch=Batch(3, 0)).run):
        assert bench.owner.outcomes == {"a": "DEAD", "b": "DONE"}
        bench.clock.advance(10)
        await quiet()
        bench.clock.advance(0)
        await quiet()
        assert bench.results() == [["c"]]
    assert bench.owner.outcomes == {"a": "DEAD", "b": "DONE", "c": "DONE"}
    assert bench.mailbox.held == 0


async def test_a_batch_error_that_names_what_is_not_there_fails_the_whole_batch():
    bench = Bench()
    bench.put(*"ab")

    async def handler(joint):
        raise BatchError({5: ValueError()})

    await drained(bench, bench.worker(handler, batch=Batch(2, 0)))
    assert bench.owner.outcomes == {"a": "DEAD", "b": "DEAD"}
    assert bench.owner.reasons == ["BatchError names index 5, the batch has 2 messages"] * 2


@pytest.mark.parametrize("wrong", ["no such customer", ValueError])
async def test_a_batch_error_with_what_is_no_error_fails_the_whole_batch(wrong):
    bench = Bench()
    bench.put(*"ab")

    async def handler(joint):
        raise BatchError({1: wrong})

    await drained(bench, bench.worker(handler, batch=Batch(2, 0)))
    assert bench.owner.outcomes == {"a": "DEAD", "b": "DEAD"}
    assert all("index 1 has" in reason for reason in bench.owner.reasons)


async def test_a_batch_that_fails_is_tried_again_in_order():
    bench, batches = Bench(lanes=1, retry=Retry(attempts=9, first=10, jitter=1)), []
    bench.put("a1", "b1", "a2", "b2", "a3", lane=lambda body: body[0])
    bench.mailbox.close()

    async def handler(joint):
        if min(each.attempt for each in joint.record) < 3:
            raise ValueError("not yet")
        batches.extend(joint.body)
        return joint.body

    async with create_task_group() as tasks:
        tasks.start_soon(bench.worker(handler, batch=Batch(5, 1)).run)
        while not bench.mailbox.drained:
            await quiet()
            bench.clock.advance(1)
    assert [body for body in batches if body[0] == "a"] == ["a1", "a2", "a3"]
    assert [body for body in batches if body[0] == "b"] == ["b1", "b2"]


async def test_a_crash_in_a_batch_is_a_failed_try_of_each_of_its_messages():
    bench = Bench(retry=STEADY)
    bench.put(*"abc")

    async def handler(joint):
        if joint.record[0].attempt == 1:
            raise Crash
        return joint.body

    worker = bench.worker(handler, batch=Batch(3, 1))
    with pytest.raises(Crash):
        await worker.run()
    assert worker.busy_since is None
    assert (len(bench.retries), len(bench.mailbox), bench.mailbox.held) == (3, 0, 3)
    bench.clock.advance(10)
    await drained(bench, worker)
    assert [sorted(batch) for batch in bench.results()] == [["a", "b", "c"]]
    assert bench.owner.outcomes == dict.fromkeys("abc", "DONE")


async def test_a_cancelled_batch_is_put_back_whole_and_unsettled():
    bench, waiting = Bench(), Event()
    run = bench.put(*"abc")

    async def handler(joint):
        await waiting.wait()
        return joint.body

    worker = bench.worker(handler, batch=Batch(2, 1))
    async with running(worker.run):
        assert bench.mailbox.held == 2
    assert worker.busy_since is None
    assert not bench.owner
    assert bodies(list(bench.mailbox._items)) == ["a", "b", "c"]
    assert [each.receipt.pending for each in run] == [1, 1, 1]
    waiting.set()
    await drained(bench, worker)
    assert bench.results() == [["a", "b"], ["c"]]
    assert bench.owner.outcomes == dict.fromkeys("abc", "DONE")


async def test_a_batch_may_emit_and_fail():
    bench = Bench()
    bench.put(*"ab")

    def emitting(emit):
        async def invoke(joint):
            await emit(joint, "first")
            raise BatchError({1: Reject("bad")})

        return invoke

    bench.mailbox.close()
    await bench.worker(emitting=emitting, batch=Batch(2, 0)).run()
    assert not bench.owner
    assert bench.results() == ["first"]
    assert bench.owner.outcomes == {"a": "DONE", "b": "DEAD"}


async def test_a_batch_that_takes_too_long_fails_whole():
    bench = Bench()
    bench.put(*"ab")
    async with running(bench.worker(lambda joint: Event().wait(), batch=Batch(2, 0), timeout=5).run):
        bench.clock.advance(5)
        await quiet()
    assert bench.owner.outcomes == {"a": "DEAD", "b": "DEAD"}


async def test_batches_of_held_keys_do_not_end_their_worker():
    bench, waiting = Bench(lanes=1), Event()

    async def handler(joint):
        await waiting.wait()
        return joint.body

    workers = [bench.worker(handler, batch=Batch(2, 1), name=str(at)) for at in range(2)]
    ended = []

    async def run(worker):
        await worker.run()
        ended.append(worker)

    async with running(lambda: run(workers[0]), lambda: run(workers[1])):
        bench.put("a1", "a2", "a3", "a4", lane=lambda body: body[0])
        await quiet()
        assert not ended
        waiting.set()
        await quiet()
        assert bench.results() == [["a1", "a2"], ["a3", "a4"]]
