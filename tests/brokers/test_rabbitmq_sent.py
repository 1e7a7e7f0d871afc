"""RabbitMQ with two runs on their way at once: in order, none lost, and none overtakes another that has failed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors import BrokerUnavailable, Clock, Counts, Link, Mailbox, Message, PublishError, PublishWorker, Retries
from engine.rabbitmq import refusals
from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.sent import RabbitSent
from engine.rabbitmq.sink import RabbitSink
from tests.actors.fakes import Completed, logger
from tests.actors.fakes import message as taken_in
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.test_rabbitmq import fresh
from tests.brokers.test_rabbitmq_faults import classic, insist, proxy, until
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ as Server

__all__ = ["proxy"]
pytestmark = pytest.mark.anyio


def run_of(sink: RabbitSink, *bodies: Any) -> list[Message]:
    return [message(body, sink.destination) for body in bodies]


async def sent(sink: RabbitSink, run: list[Message]) -> RabbitSent:
    """That run on its way: it is no error that it could not be, for the engine, and here it is."""
    made = await sink.send(run)
    assert made is not None
    return made


def told(run: RabbitSent) -> anyio.Event:
    """What happens when something is known of it."""
    event = anyio.Event()
    run.then(event.set)
    return event


async def confirmed(*runs: RabbitSent) -> list[Any]:
    """What became of each: whether all of it was confirmed, or the error."""
    found: list[Any] = []
    with anyio.fail_after(20):
        for run in runs:
            try:
                found.append(await run.confirmed())
            except (BrokerUnavailable, PublishError) as error:
                found.append(error)
    return found


# -- the fast way ----------------------------------------------------------------------------------------------


async def test_two_runs_are_on_their_way_before_either_is_confirmed_and_arrive_in_order(proxy: Proxy) -> None:
    queue = classic(proxy)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        proxy.stall("answers")
        one = await sent(sink, run_of(sink, *range(100)))
        other = await sent(sink, run_of(sink, *range(100, 200)))
        events = told(one), told(other)
        assert "200 unconfirmed" in repr(sink)
        assert not any(event.is_set() for event in events)
        proxy.mend()
        with anyio.fail_after(10):
            for event in events:
                await event.wait()
        assert told(one).is_set()
        assert await confirmed(one, other) == [True, True]
        assert numbers(await fetched(source, 200)) == list(range(200))
        assert not sink._away


async def test_nothing_is_sent_where_there_is_no_room_for_it(proxy: Proxy) -> None:
    queue = classic(proxy, window=10)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        proxy.stall("answers")
        one = await sent(sink, run_of(sink, *range(6)))
        assert await sink.send(run_of(sink, *range(6, 12))) is None
        other = await sent(sink, run_of(sink, *range(6, 10)))
        assert " 10 unconfirmed" in repr(sink)
        proxy.mend()
        assert await confirmed(one, other) == [True, True]
        assert await sink.send(run_of(sink, *(b"x" * 300_000 for _ in range(4)))) is None
        assert " 0 unconfirmed" in repr(sink)
        assert numbers(await fetched(source, 10)) == list(range(10))


async def test_nothing_is_sent_by_a_sink_that_is_not_open_or_to_a_place_that_is_not_declared(
    rabbitmq_server: Server,
) -> None:
    name = fresh()
    sink = RabbitMQ(rabbitmq_server.url).queue(f"{name}.{{}}", kind="classic").sink()
    run = [message(1, f"{name}.a")]
    assert await sink.send(run) is None
    async with opened(sink):
        assert await sink.send(run) is None
        await sink.publish(run)
        assert await confirmed(await sent(sink, run)) == [True]
        assert await sink.send([*run, message(1, f"{name}.b")]) is None
    assert await sink.send(run) is None


async def test_what_cannot_be_written_fails_alone(rabbitmq_server: Server) -> None:
    queue = RabbitMQ(rabbitmq_server.url).queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        run = run_of(sink, *range(3))
        run[1].raw = "text"  # type: ignore[assignment]
        alone = [run[1]]
        first, second = await sent(sink, run), await sent(sink, alone)
        assert told(second).is_set()
        errors = await confirmed(first, second)
        assert [list(error.failures) for error in errors] == [[1], [0]]
        assert numbers(await fetched(source, 2)) == [0, 2]


# -- a connection that is lost -----------------------------------------------------------------------------------


@asynccontextmanager
async def working(sink: RabbitSink) -> AsyncIterator[tuple[Mailbox[Message], Completed]]:
    """A publisher's worker on that sink, with runs of 40: its mailbox, and what it has done."""
    clock, counts, owner = Clock(), Counts(), Completed()
    mailbox: Mailbox[Message] = Mailbox(10_000, "outlet")
    worker = PublishWorker(
        "to:rabbit",
        mailbox,
        sink,
        encoder_of=lambda kind: lambda body: str(body).encode(),
        unpublishable=lambda body, error: TypeError(),
        retries=Retries("to:rabbit", mailbox, clock, counts, logger),
        link=Link(clock, logger, "rabbit"),
        counts=counts,
        destination=sink.destination,
        take=40,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.run)
        tasks.start_soon(worker.run)
        await until(lambda: worker.link.connected)
        yield mailbox, owner
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("lost", ["answers", "requests"])
async def test_a_connection_that_breaks_with_two_runs_on_their_way_loses_none_and_keeps_the_order(
    proxy: Proxy, lost: Any
) -> None:
    queue = classic(proxy)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink), working(sink) as (mailbox, owner):
        for cut in range(5):
            proxy.stall(lost)
            mailbox.put_nowait([taken_in(number, owner) for number in range(200 * cut, 200 * (cut + 1))])
            await until(lambda: len(sink._away) == 2)
            if cut % 2:
                proxy.reset()
                proxy.mend()
            else:
                proxy.mend()
                proxy.reset()
            await until(lambda: len(owner) == mailbox.count, 20)
        assert not sink._away
    assert proxy.resets >= 5
    async with opened(source):
        first = dict.fromkeys([number async for number in ever(source, 1000)])
    assert list(first) == list(range(1000))


async def ever(source: Any, count: int) -> AsyncIterator[int]:
    """The numbers that come, until so many different ones have."""
    seen: set[int] = set()
    while len(seen) < count:
        run = await source.fetch(256)
        await source.settle(run, [])
        for number in numbers(run):
            seen.add(number)
            yield number


async def test_who_waits_for_a_run_is_told_when_the_connection_is_lost(proxy: Proxy) -> None:
    sink = classic(proxy).sink()
    async with opened(sink):
        proxy.stall("answers")
        run = await sent(sink, run_of(sink, 1, 2))
        event = told(run)
        proxy.reset()
        with anyio.fail_after(10):
            await event.wait()
        assert told(run).is_set()
        (error,) = await confirmed(run)
        assert "the connection was lost" in str(error)


async def ask(run: RabbitSent) -> None:
    assert isinstance((await confirmed(run))[0], BrokerUnavailable)


async def forget(run: RabbitSent) -> None:
    run.forget()


@pytest.mark.parametrize("end", [ask, forget])
async def test_nothing_goes_over_a_new_channel_while_nobody_knows_of_what_was_on_the_old(
    proxy: Proxy, end: Callable[[RabbitSent], Any]
) -> None:
    sink = classic(proxy).sink()
    async with opened(sink):
        proxy.stall("answers")
        run = await sent(sink, run_of(sink, 1))
        proxy.reset()
        proxy.mend()
        await until(lambda: sink._lives.now is not None and sink._lives.now.error is not None)
        assert await sink.send(run_of(sink, 2)) is None
        await insist(sink.ping)
        assert " 0 unconfirmed" in repr(sink)
        assert await sink.send(run_of(sink, 2)) is None
        await end(run)
        assert await confirmed(await sent(sink, run_of(sink, 2))) == [True]


async def test_a_run_of_which_nothing_is_heard_is_given_up(proxy: Proxy) -> None:
    sink = classic(proxy, timeout=0.3).sink()
    async with opened(sink):
        proxy.stall("answers")
        one, other = await sent(sink, run_of(sink, 1)), await sent(sink, run_of(sink, 2))
        for error in await confirmed(one, other):
            assert "no answer within 0.3 s" in str(error)
        assert not sink._away
        proxy.reset()
        proxy.mend()


# -- a server that refuses ---------------------------------------------------------------------------------------


async def test_what_a_full_queue_refused_of_two_runs_is_published_again_and_the_rest_is_not(
    rabbitmq_server: Server,
) -> None:
    queue = RabbitMQ(rabbitmq_server.url).queue(fresh(), kind="classic", max_length=10)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink):
        one, other = run_of(sink, *range(20)), run_of(sink, *range(20, 40))
        first, second = await sent(sink, one), await sent(sink, other)
        with anyio.fail_after(10):
            await told(first).wait()
        assert await sink.send(run_of(sink, 40)) is None  # it would overtake what is refused
        assert await confirmed(first, second) == [False, False]
        assert await sink.send(one) is None  # some of it is there already
        assert sink._confirmed
        async with opened(source), anyio.create_task_group() as tasks:
            tasks.start_soon(sink.publish, one)
            tasks.start_soon(sink.publish, other)
            assert sorted(numbers(await fetched(source, 40))) == list(range(40))
        assert not sink._confirmed
        assert await confirmed(await sent(sink, run_of(sink, 40))) == [False]


async def test_what_waits_for_room_writes_nothing_more_over_a_channel_that_is_given_up(
    rabbitmq_server: Server,
) -> None:
    """Its successor has the same number: what one wrote there uncounted, the next would have taken for its own."""
    queue = RabbitMQ(rabbitmq_server.url).queue(fresh(), kind="classic", max_length=1)
    other, sink, source = queue.sink(), queue.sink(), queue.source("g", 1)
    errors: list[BaseException] = []

    async def waits() -> None:
        with pytest.raises(BrokerUnavailable, match="refuses for now") as raised:
            await sink.publish(run_of(sink, 1))
        errors.append(raised.value)

    async with opened(other, sink):  # aiormq gives the next number behind the highest that is in use
        await sink.publish(run_of(sink, 0))
        async with anyio.create_task_group() as tasks:
            first: Any = sink._lives.now
            tasks.start_soon(waits)
            await until(lambda: bool(first._confirms._next > 2 and not len(first._confirms)))  # refused: it sleeps
            first.lost(refusals.full(queue))  # another, who had waited for longer, has given up
            assert (await sink._lives.living()).channel.number == first.channel.number
            async with opened(source):
                await source.settle(await fetched(source, 1), [])
            await until(lambda: bool(errors), 5)
        await sink.publish(run_of(sink, 2))
        with anyio.fail_after(10):
            async with opened(source):
                assert numbers(await source.fetch(2)) == [2]


async def test_what_has_nowhere_to_go_fails_alone_though_its_run_was_the_second(rabbitmq_server: Server) -> None:
    rabbit, name = RabbitMQ(rabbitmq_server.url), fresh()
    topic = rabbit.exchange(name, type="topic", routing_key="{}")
    source = rabbit.queue(fresh(), kind="classic", bind=rabbit.exchange(name, type="topic", routing_key="a")).source(
        "g"
    )
    sink = topic.sink()
    async with opened(source, sink):
        one = [message(number, f"{name}/a") for number in range(3)]
        other = [message(3 + at, f"{name}/{key}") for at, key in enumerate("aba")]
        await sink.publish(one)
        first, second = await sent(sink, one), await sent(sink, other)
        fine, error = await confirmed(first, second)
        assert fine is True
        assert isinstance(error, PublishError)
        assert list(error.failures) == [1]
        assert "no queue takes it" in str(error.failures[1])
        assert numbers(await fetched(source, 8)) == [0, 1, 2, 0, 1, 2, 3, 5]


async def test_a_queue_that_is_deleted_under_two_runs_is_declared_again_and_not_sent_to_before(
    rabbitmq_server: Server, proxy: Proxy
) -> None:
    queue = classic(proxy)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink):
        proxy.stall("requests")
        one, other = run_of(sink, 1, 2), run_of(sink, 3, 4)
        first, second = await sent(sink, one), await sent(sink, other)
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "delete_queue", queue.name)
        proxy.mend()
        for error in await confirmed(first, second):
            assert isinstance(error, PublishError)
            assert list(error.failures) == [0, 1]
        assert await sink.send(one) is None
        await sink.publish(one)
        assert await confirmed(await sent(sink, other)) == [True]
        async with opened(source):
            assert numbers(await fetched(source, 4)) == [1, 2, 3, 4]


async def test_a_server_that_is_short_of_memory_is_not_sent_to_and_what_it_got_is_told_of(
    rabbitmq_server: Server,
) -> None:
    queue = RabbitMQ(rabbitmq_server.url, timeout=0.5).queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")

    async def mark(high: str) -> None:
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "set_vm_memory_high_watermark", high)

    async with opened(sink, source):
        await mark("0.00001")
        try:
            one, other = run_of(sink, 1, 2), run_of(sink, 3, 4)
            first, second = await sent(sink, one), await sent(sink, other)
            for error in await confirmed(first, second):
                assert "takes no messages for now" in str(error)
            assert await sink.send(run_of(sink, 5)) is None
        finally:
            await mark("0.4")
        for run in (one, other):
            await insist(lambda run=run: sink.publish(run))
        first_seen = dict.fromkeys([number async for number in ever(source, 4)])
        assert list(first_seen) == [1, 2, 3, 4]
