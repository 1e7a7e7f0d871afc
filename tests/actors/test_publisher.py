"""`PublishWorker`: encodes and publishes in runs; what is refused is a failure, what is out of reach is waited for."""

from typing import Any

import pytest
from anyio import Event, create_task_group
from anyio.lowlevel import checkpoint

from actors import (
    Counts,
    DecodeError,
    HeadraceError,
    Link,
    Mailbox,
    Message,
    PublishWorker,
    Retries,
    Retry,
    VirtualClock,
)
from tests.actors.fakes import Completed, Shelf, bodies, logger, message, quiet, running

pytestmark = pytest.mark.anyio

STEADY = Retry(attempts=2, first=10, factor=1, jitter=0)


class Refusal(HeadraceError):
    """What an encoder raises on purpose."""


def encoder_of(kind):
    if kind in (complex, float):
        raise TypeError(f"no encoder for {kind.__name__}")
    if kind is int:
        return lambda body: b"%d" % body
    return lambda body: None if body is None else body.encode()


def unpublishable(body, error):
    return TypeError(f"{body!r} cannot be published: {error}")


class Outlet:
    """A publisher, its mailbox and its sink."""

    def __init__(self, policy: Retry | None = None, workers: int = 1, **options: Any) -> None:
        self.clock, self.owner, self.shelf, self.counts = VirtualClock(), Completed(), Shelf(), Counts()
        self.mailbox: Mailbox[Message] = Mailbox(100, "outlet")
        self.link = Link(self.clock, logger, "shelf")
        self.retries = Retries("to:shelf", self.mailbox, self.clock, self.counts, logger, policy)
        options = {"encoder_of": encoder_of, "destination": "shelf", **options}
        self.workers = [
            PublishWorker(
                "to:shelf",
                self.mailbox,
                self.shelf,
                unpublishable=unpublishable,
                retries=self.retries,
                link=self.link,
                counts=self.counts,
                **options,
            )
            for _ in range(workers)
        ]
        self.run = self.workers[0].run

    def put(self, *contents, key=None) -> list[Message]:
        run = [message(body, self.owner, key=key) for body in contents]
        self.mailbox.put_nowait(run.copy())
        return run

    async def drained(self) -> None:
        self.mailbox.close()
        await self.run()

    async def after(self, seconds: float) -> None:
        await quiet()
        self.clock.advance(seconds)
        await quiet()


# -- publishing ------------------------------------------------------------------------------------------------------


async def test_publishes_all_that_waits_in_one_go_and_acknowledges_what_is_confirmed():
    outlet = Outlet()
    outlet.put(*"abc", 4, "e")
    outlet.shelf.gate = Event()
    async with running(outlet.run):
        assert outlet.shelf.runs == [5]
        assert not outlet.owner
        assert outlet.mailbox.held == 5
        outlet.shelf.gate.set()
        await quiet()
        assert outlet.shelf.raws == [b"a", b"b", b"c", b"4", b"e"]
        assert outlet.owner.outcomes == dict.fromkeys(["a", "b", "c", 4, "e"], "DONE")
        assert outlet.mailbox.held == 0
    assert (outlet.counts.handled, outlet.counts.published) == (5, 5)
    assert outlet.shelf.opened == 1


async def test_takes_at_most_so_many_at_once():
    outlet = Outlet(take=3)
    outlet.put(*range(8))
    await outlet.drained()
    assert outlet.shelf.runs == [3, 3, 2]


async def test_a_tombstone_is_published_as_one():
    outlet = Outlet()
    outlet.put(None)
    await outlet.drained()
    assert outlet.shelf.raws == [None]


async def test_a_branch_is_settled_and_the_others_stay_open():
    outlet = Outlet()
    (each,) = outlet.put("a")
    each.receipt.split(1)
    await outlet.drained()
    assert not outlet.owner
    assert each.receipt.pending == 1


async def test_the_destination_is_fixed_or_filled_in_from_the_body_or_what_the_message_brings():
    fixed = Outlet(destination="orders")
    filled = Outlet(destination=lambda body: f"tenant.{body}")
    brought = Outlet(destination=None)
    for outlet in (fixed, filled, brought):
        (each,) = outlet.put("a")
        each.destination = "its own"
        await outlet.drained()
    assert fixed.shelf.published[0].destination == "orders"
    assert filled.shelf.published[0].destination == "tenant.a"
    assert brought.shelf.published[0].destination == "its own"


async def test_the_key_is_taken_over_or_made_anew():
    kept, made = Outlet(), Outlet(key=lambda each: each.body.upper())
    for outlet in (kept, made):
        outlet.put("a", key="k")
        await outlet.drained()
    assert kept.shelf.published[0].key == "k"
    assert made.shelf.published[0].key == "A"


# -- encoding --------------------------------------------------------------------------------------------------------


async def test_a_body_that_cannot_be_encoded_fails_alone():
    outlet = Outlet()
    outlet.put("a", 1j, "b", 2j, 3, "c")
    await outlet.drained()
    assert outlet.shelf.raws == [b"a", b"b", b"3", b"c"]
    assert outlet.owner.outcomes == {"a": "DONE", "b": "DONE", 3: "DONE", "c": "DONE", 1j: "DEAD", 2j: "DEAD"}
    (failure, _) = [receipt.failure for receipt in outlet.owner if receipt.failure is not None]
    assert str(failure.error).endswith("cannot be published: no encoder for complex")
    assert outlet.mailbox.held == 0


async def test_bodies_of_a_type_without_encoder_are_not_given_to_the_encoder_before():
    outlet = Outlet()
    outlet.put(3, 1.5, 2.5)
    await outlet.drained()
    assert outlet.shelf.raws == [b"3"]
    assert outlet.owner.outcomes == {3: "DONE", 1.5: "DEAD", 2.5: "DEAD"}


async def test_when_nothing_can_be_encoded_nothing_is_published():
    outlet = Outlet()
    outlet.put(1j, 2j)
    await outlet.drained()
    assert outlet.shelf.runs == []
    assert len(outlet.owner) == 2


@pytest.mark.parametrize("what", ["destination", "key"])
async def test_a_destination_or_key_that_cannot_be_had_fails_its_message_alone(what):
    def of(given):
        body = given.body if isinstance(given, Message) else given
        if body == "bad":
            raise KeyError("tenant")
        return body

    options: Any = {what: of}
    outlet = Outlet(**options)
    outlet.put("a", "bad", "b")
    await outlet.drained()
    assert outlet.shelf.raws == [b"a", b"b"]
    assert outlet.owner.outcomes["bad"] == "DEAD"


@pytest.mark.parametrize("error", [Refusal("on purpose"), DecodeError("on purpose")])
async def test_what_headrace_itself_raises_is_told_as_it_is(error):
    def refuse(body):
        raise error

    outlet = Outlet(encoder_of=lambda kind: refuse)
    outlet.put("a")
    await outlet.drained()
    (receipt,) = outlet.owner
    assert receipt.failure is not None
    assert receipt.failure.error is error


# -- refused ---------------------------------------------------------------------------------------------------------


async def test_what_the_broker_refuses_fails_and_the_rest_of_the_run_is_done():
    outlet = Outlet()
    outlet.shelf.refuse.add(b"b")
    outlet.put(*"abc")
    await outlet.drained()
    assert outlet.shelf.raws == [b"a", b"c"]
    assert outlet.owner.outcomes == {"a": "DONE", "b": "DEAD", "c": "DONE"}
    assert (outlet.counts.published, outlet.counts.failed) == (2, 1)


async def test_what_was_refused_is_tried_again_alone():
    outlet = Outlet(STEADY)
    outlet.shelf.refuse.add(b"b")
    outlet.put(*"abc")
    async with running(outlet.run):
        assert outlet.owner.outcomes == {"a": "DONE", "c": "DONE"}
        assert outlet.mailbox.held == 1
        outlet.shelf.refuse.clear()
        await outlet.after(10)
        assert outlet.shelf.raws == [b"a", b"c", b"b"]
        assert outlet.owner.outcomes["b"] == "DONE"


async def test_drained_it_waits_for_what_was_refused_last():
    outlet = Outlet(STEADY)
    outlet.shelf.refuse.add(b"a")
    outlet.put("a")
    outlet.mailbox.close()
    async with create_task_group() as tasks:
        tasks.start_soon(outlet.run)
        await quiet()
        assert not outlet.mailbox.drained
        outlet.clock.advance(10)
    assert outlet.owner.outcomes == {"a": "DEAD"}


# -- out of reach ----------------------------------------------------------------------------------------------------


async def test_a_broker_out_of_reach_is_waited_for_with_the_run_in_hand_and_in_order():
    outlet = Outlet()
    async with running(outlet.run):
        outlet.shelf.down = 3
        outlet.put(*"ab")
        await quiet()
        outlet.put("c")
        for _ in range(3):
            assert not outlet.owner
            assert not outlet.link.connected
            await outlet.after(20)
        assert outlet.shelf.raws == [b"a", b"b", b"c"]
        assert outlet.link.connected
        assert outlet.counts.failed == 0


async def test_a_broker_out_of_reach_at_the_start_holds_up_nobody_elses_start():
    outlet, started = Outlet(), []
    outlet.shelf.down = 1
    outlet.put("a")
    async with running(lambda: outlet.run(lambda: started.append(True))):
        assert started
        assert not outlet.owner
        await outlet.after(20)
        assert outlet.shelf.raws == [b"a"]


async def test_cancelled_while_it_publishes_it_puts_its_run_back():
    outlet = Outlet()
    outlet.shelf.gate = Event()
    outlet.put(*"abc")
    async with running(outlet.run):
        assert outlet.mailbox.held == 3
    assert outlet.mailbox.held == 0
    assert not outlet.owner
    outlet.shelf.gate.set()
    await outlet.drained()
    assert outlet.shelf.raws == [b"a", b"b", b"c"]
    assert len(outlet.owner) == 3


async def test_cancelled_while_it_waits_for_the_broker_it_puts_its_run_back():
    outlet = Outlet()
    outlet.put(*"abc")
    await outlet.link.insist(outlet.shelf.open)
    outlet.shelf.down = 1_000
    async with running(outlet.run):
        assert outlet.mailbox.held == 3
    assert bodies(outlet.mailbox.take_nowait(9)) == ["a", "b", "c"]
    assert outlet.clock.next_due() is None


async def test_a_crash_of_the_sink_puts_back_all_that_is_not_settled():
    outlet = Outlet()
    outlet.put("a", 1j, "b")
    async with running(outlet.run):
        pass
    outlet.put("c", 2j)
    outlet.shelf.broken = RuntimeError("a bug in the adapter")
    with pytest.raises(RuntimeError):
        await outlet.run()
    assert outlet.owner.outcomes == {"a": "DONE", 1j: "DEAD", "b": "DONE", 2j: "DEAD"}
    assert (len(outlet.mailbox), outlet.mailbox.held) == (1, 0)
    await outlet.drained()
    assert outlet.owner.outcomes["c"] == "DONE"
    assert len(outlet.owner) == 5


@pytest.mark.parametrize("turns", range(1, 10))
async def test_cancelled_at_any_turn_and_restarted_it_settles_each_message_once(turns):
    outlet = Outlet(STEADY, take=3)
    outlet.shelf.refuse.add(b"d")
    publish = outlet.shelf.publish

    async def slowly(run):
        await checkpoint()
        await checkpoint()
        await publish(run)

    outlet.shelf.publish = slowly  # type: ignore[method-assign]
    outlet.put(*"abcdefgh")
    outlet.mailbox.close()
    while not outlet.mailbox.drained:
        async with create_task_group() as tasks:
            tasks.start_soon(outlet.run)
            for _ in range(turns + 5):
                await checkpoint()
                outlet.clock.advance(5)
            tasks.cancel_scope.cancel()
    assert outlet.owner.outcomes == dict.fromkeys("abcefgh", "DONE") | {"d": "DEAD"}
    assert len(outlet.owner) == 8


# -- many ------------------------------------------------------------------------------------------------------------


async def test_several_workers_publish_at_the_same_time():
    outlet = Outlet(workers=3, take=1)
    outlet.shelf.gate = Event()
    outlet.put(*"abcd")
    async with running(*(worker.run for worker in outlet.workers)):
        assert outlet.shelf.runs == [1, 1, 1]
        outlet.shelf.gate.set()
        await quiet()
        assert sorted(outlet.shelf.raws) == [b"a", b"b", b"c", b"d"]


async def test_told_to_leave_it_publishes_what_is_in_hand_and_ends():
    outlet = Outlet()
    outlet.shelf.gate = Event()
    async with create_task_group() as tasks:
        tasks.start_soon(outlet.run)
        await quiet()
        outlet.put("a")
        await quiet()
        outlet.workers[0].leave()
        outlet.put("b")
        outlet.shelf.gate.set()
    assert outlet.shelf.raws == [b"a"]
    assert len(outlet.mailbox) == 1


async def test_told_to_leave_while_idle_it_ends():
    outlet = Outlet()
    async with create_task_group() as tasks:
        tasks.start_soon(outlet.run)
        await quiet()
        outlet.workers[0].leave()
    assert outlet.mailbox.statistics().takers_waiting == 0
