"""JetStream: faults on the way, what is held, and what others do to a stream."""

import json
from typing import Any

import anyio
import nats
import pytest

from actors import BrokerUnavailable, Message
from engine.nats.broker import Nats
from tests.brokers.at_nats import client, consumer, names, publish, state, stream_at, vanish
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.surviving import eventually, insist
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy

__all__ = ["client"]  # fixtures
pytestmark = pytest.mark.anyio

QUICK = 0.6
"""Seconds of `ack_wait` in tests that wait for it."""


# -- faults on the way -------------------------------------------------------------------------------------------


async def test_confirms_that_are_lost_make_no_second_message(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        sink = Nats(proxy.url).stream(stream, subject=subject).sink()
        async with opened(sink), anyio.create_task_group() as tasks:
            proxy.stall("answers")

            async def break_it() -> None:
                while (await state(client, stream)).messages < 100:
                    await anyio.sleep(0.01)
                proxy.reset()
                proxy.mend()

            tasks.start_soon(break_it)
            await sink.publish([message(number, subject) for number in range(100)])
            assert proxy.resets > 0
        assert (await state(client, stream)).messages == 100
    source = Nats(nats_server.url).stream(stream, subject=subject).source("readers")
    async with opened(source):
        assert numbers(await fetched(source, 100)) == list(range(100))


async def test_a_run_that_failed_may_be_published_again_without_a_second_message(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        sink = Nats(proxy.url, timeout=0.2, publish_timeout=0.3).stream(stream, subject=subject).sink()
        async with opened(sink):
            run = [message(number, subject) for number in range(10)]
            proxy.stall("answers")
            with pytest.raises(BrokerUnavailable):
                await sink.publish(run)
            proxy.reset()
            proxy.mend()
            await insist(lambda: sink.publish(run))
            assert (await state(client, stream)).messages == 10
            await sink.publish(run[:1])
            assert (await state(client, stream)).messages == 11


async def test_a_source_goes_on_after_the_connection_broke_and_settles_what_it_held(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    direct = Nats(nats_server.url).stream(stream, subject=subject)
    async with Proxy(nats_server) as proxy:
        source = Nats(proxy.url).stream(stream, subject=subject).source("readers")
        async with opened(source):
            await publish(direct, 1, 2)
            held = await fetched(source, 2)
            proxy.reset()
            with pytest.raises(BrokerUnavailable):
                await source.fetch(5)
            await insist(lambda: source.settle(held, []))
            await publish(direct, 3)
            got: list[Message] = []

            async def fetch() -> None:
                got.extend(await source.fetch(5))

            await insist(fetch)
            assert [(each.raw, each.attempt) for each in got] == [(b"3", 1)]
            await source.settle(got, [])
        assert (await consumer(client, stream)).num_ack_pending == 0


async def test_a_server_that_hangs_is_given_up_and_asked_anew(nats_server: Server) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        endpoint = Nats(proxy.url, timeout=0.3, connect_timeout=0.5, ack_wait=1).stream(stream, subject=subject)
        source = endpoint.source("readers")
        async with opened(source):
            proxy.stall()
            with pytest.raises(BrokerUnavailable, match="nothing was heard"):
                await source.fetch(5)
            proxy.mend()
            await publish(Nats(nats_server.url).stream(stream, subject=subject), 1)
            got: list[Message] = []

            async def fetch() -> None:
                got.extend(await source.fetch(5))

            await insist(fetch)
            assert numbers(got) == [1]


async def test_a_server_that_takes_nothing_more_is_unavailable_after_a_while(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    core = f"c.{subject}"
    async with Proxy(nats_server) as proxy:
        server = Nats(proxy.url, timeout=0.3, connect_timeout=0.3, publish_timeout=0.3)
        sink, other = server.stream(stream, subject=subject).sink(), server.subject(core).sink()
        async with opened(sink, other):
            run = [message(b"%03d" % number + b"x" * 100_000, subject) for number in range(200)]
            proxy.stall()
            with anyio.fail_after(10):
                with pytest.raises(BrokerUnavailable):
                    await sink.publish(run)
                with pytest.raises(BrokerUnavailable):
                    await other.publish([message(each.raw, core) for each in run])
            proxy.reset()
            proxy.mend()
            await insist(lambda: sink.publish(run))
        assert (await state(client, stream)).messages == 200


async def test_a_quiet_stream_is_no_trouble(nats_server: Server) -> None:
    stream = stream_at(nats_server.url, timeout=0.2)
    source = stream.source("readers")
    async with opened(source):
        with anyio.move_on_after(1):
            pytest.fail(f"{await source.fetch(5)}")
        await publish(stream, 1)
        assert numbers(await source.fetch(5)) == [1]


@pytest.mark.parametrize("what", ["stream", "consumer"])
async def test_what_somebody_deletes_is_declared_again(nats_server: Server, client: Any, what: str) -> None:
    stream = stream_at(nats_server.url)
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        await sink.publish([message(1, stream.name)])
        await source.settle(await source.fetch(1), [])
        got: list[Message] = []

        async def wait() -> None:
            while not got or got[-1].raw != b"2":
                got.extend(await source.fetch(5))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            if what == "stream":
                await client.jetstream().delete_stream(stream.stream)
            else:
                await client.jetstream().delete_consumer(stream.stream, (await consumer(client, stream.stream)).name)
            await sink.publish([message(2, stream.name)])


@pytest.mark.parametrize("what", ["stream", "consumer"])
@pytest.mark.parametrize("before", [0, 2])
async def test_a_consumer_that_began_at_the_latest_loses_nothing_when_somebody_deletes_it(
    nats_server: Server, client: Any, what: str, before: int
) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        direct = Nats(nats_server.url).stream(stream, subject=subject)
        await publish(direct, 99)
        endpoint = Nats(proxy.url, timeout=1.0).stream(stream, subject=subject, start="latest")
        source = endpoint.source("readers")
        async with opened(source):
            await publish(direct, *range(before))
            held = await fetched(source, before) if before else []
            await source.settle(held, [])
            proxy.cut()
            if what == "stream":
                await client.jetstream().delete_stream(stream)
            else:
                await client.jetstream().delete_consumer(stream, (await consumer(client, stream)).name)
            await publish(direct, 7)
            proxy.mend()
            got: list[Any] = []

            async def fetch() -> None:
                got.extend(numbers(await source.fetch(5)))

            with anyio.fail_after(10):
                while 7 not in got:
                    await insist(fetch)
            assert 99 not in got


async def test_what_was_held_of_a_stream_that_is_deleted_settles_nothing_in_the_new_one(
    nats_server: Server, client: Any
) -> None:
    stream = stream_at(nats_server.url, ack_wait=QUICK)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1)
        old = await source.fetch(1)
        await client.jetstream().delete_stream(stream.stream)
        await publish(stream, 2)
        assert numbers(await source.fetch(1)) == [2]
        await source.settle(old, [])
        await client.flush()
    assert await redelivered(stream) == 1


async def redelivered(stream: Any) -> int:
    """How many messages another source gets at once."""
    source, got = stream.source("readers"), []
    async with opened(source):
        with anyio.move_on_after(1):
            got = await source.fetch(5)
            await source.settle(got, [])
    return len(got)


# -- what is held ------------------------------------------------------------------------------------------------


async def test_what_is_held_is_renewed_and_nobody_else_gets_it(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url, ack_wait=QUICK)
    one, other = stream.source("readers"), stream.source("readers")
    async with opened(one, other):
        await publish(stream, 1, 2)
        run = await fetched(one, 2)
        with anyio.move_on_after(QUICK * 3):
            pytest.fail(f"{await other.fetch(2)} were delivered again")
        await one.settle(run, [])
    assert (await consumer(client, stream.stream)).num_ack_pending == 0


async def test_what_a_dead_source_had_comes_to_another(nats_server: Server) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        dead = Nats(proxy.url, ack_wait=QUICK, connect_timeout=0.2).stream(stream, subject=subject).source("readers")
        other = Nats(nats_server.url).stream(stream, subject=subject).source("readers")
        async with opened(dead, other):
            await publish(Nats(nats_server.url).stream(stream, subject=subject), 1)
            await dead.fetch(1)
            proxy.cut()
            (got,) = await other.fetch(1)
            assert (got.raw, got.attempt) == (b"1", 2)
            await other.settle([got], [])


async def test_a_fetch_asks_for_no_more_than_it_has_room_for(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, *range(50))
        await fetched(source, 7)
        found = await consumer(client, stream.stream)
        assert (found.num_ack_pending, found.num_pending) == (7, 43)


async def test_where_there_is_always_more_the_next_run_is_asked_for_ahead_within_the_bound(
    nats_server: Server, client: Any
) -> None:
    stream = stream_at(nats_server.url)
    source = stream.source("readers", bound=30)

    async def pending() -> int:
        return int((await consumer(client, stream.stream)).num_ack_pending)

    async def comes(count: int) -> None:
        with anyio.fail_after(5):
            while await pending() < count:
                await anyio.sleep(0.01)

    async with opened(source):
        await publish(stream, *range(100))
        run = await fetched(source, 10)
        assert await pending() == 10
        run += await fetched(source, 10)
        await comes(30)
        run += await fetched(source, 10)
        assert (numbers(run), await pending()) == (list(range(30)), 30)
        await source.settle(run, [])
        run = await fetched(source, 10)
        assert numbers(run) == list(range(30, 40))


async def test_what_is_given_back_unfetched_is_no_try_however_often_that_is_asked_for(nats_server: Server) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject)
    source: Any = endpoint.source("readers")
    sink = endpoint.sink()

    async def read_ahead() -> bool:
        return " 3 held" in repr(source)

    async with opened(source, sink):
        for _ in range(2):
            with anyio.move_on_after(0.05):
                await source.fetch(3)
                pytest.fail("there was something to fetch")
            await sink.publish([message(number, subject) for number in range(3)])
            await eventually(read_ahead)
            await source.release()
            await source.release()
            run = await fetched(source, 3)
            assert [(each.raw, each.attempt) for each in run] == [(b"0", 1), (b"1", 1), (b"2", 1)]
            await source.settle(run, [])


async def test_the_consumer_has_room_for_all_that_the_engine_holds(nats_server: Server, client: Any) -> None:
    stream = stream_at(nats_server.url)
    for bound in (10, 5000):
        async with opened(stream.source("readers", bound)):
            config = (await consumer(client, stream.stream)).config
            assert config.max_ack_pending >= bound
            assert config.max_deliver == -1


async def test_position_and_time_are_told(nats_server: Server) -> None:
    stream = stream_at(nats_server.url)
    source = stream.source("readers")
    async with opened(source):
        await publish(stream, 1, 2)
        one, two = await fetched(source, 2)
        assert (one.offset, two.offset) == (1, 2)
        assert two.timestamp is not None
        assert two.record.data == b"2"
        assert one.partition is None
        assert one.id != two.id


async def test_groups_and_subjects_have_consumers_of_their_own(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    one = Nats(nats_server.url).stream(stream, subject=f"{subject}.a")
    two = Nats(nats_server.url).stream(stream, subject=f"{subject}.b")
    sources = [one.source("a.b"), one.source("a_b"), two.source("a.b")]
    async with opened(*sources):
        assert len(await client.jetstream().consumers_info(stream)) == 3
        await publish(one, 1)
        await publish(two, 2)
        assert [numbers(await source.fetch(5)) for source in sources] == [[1], [1], [2]]


async def test_a_new_consumer_may_begin_at_the_latest(nats_server: Server) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject, start="latest")
    await publish(endpoint, 1)
    source = endpoint.source("readers")
    async with opened(source):
        await publish(endpoint, 2)
        assert numbers(await source.fetch(5)) == [2]


# -- what a dead engine had --------------------------------------------------------------------------------------


async def test_what_a_dead_engine_had_comes_at_once_and_before_what_is_later(nats_server: Server) -> None:
    stream = stream_at(nats_server.url)
    dead = stream.source("readers")
    await publish(stream, *range(20))
    await dead.open()
    first = await fetched(dead, 10)
    await dead.settle(first[2:5], [])
    await vanish(dead)

    heir = stream.source("readers")
    async with opened(heir):
        with anyio.fail_after(10):
            got = await fetched(heir, 17)
        assert numbers(got) == [0, 1, *range(5, 20)]
        assert [message.attempt for message in got[:7]] == [2] * 7
        await heir.settle(got, [])


async def test_what_was_on_its_way_when_the_connection_broke_comes_before_what_is_later(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    direct = Nats(nats_server.url).stream(stream, subject=subject)
    async with Proxy(nats_server) as proxy:
        source = Nats(proxy.url).stream(stream, subject=subject).source("readers")
        async with opened(source):
            await publish(direct, 1, 2)
            held = await fetched(source, 2)
            proxy.stall("answers")

            async def lose() -> None:
                await publish(direct, 3, 4)
                while (await consumer(client, stream)).num_ack_pending < 4:
                    await anyio.sleep(0.01)
                proxy.reset()
                proxy.mend()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose)
                with pytest.raises(BrokerUnavailable):
                    await source.fetch(5)
            await publish(direct, 5)
            got: list[Message] = []

            async def fetch() -> None:
                while len(got) < 3:
                    got.extend(await source.fetch(5))

            with anyio.fail_after(10):
                await insist(fetch)
            assert numbers(got) == [3, 4, 5]
            await source.settle(held + got, [])


async def test_what_a_living_engine_has_is_left_to_it(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject)
    await publish(endpoint, *range(4))
    living, other = endpoint.source("readers"), endpoint.source("readers")
    async with opened(living):
        held = await fetched(living, 4)
        async with opened(other):
            await publish(endpoint, 4)
            late = await fetched(other, 1)
            assert (numbers(held), numbers(late)) == ([0, 1, 2, 3], [4])
            assert (await consumer(client, stream)).num_redelivered == 0
            await living.settle(held, [])
            await other.settle(late, [])


async def test_what_a_dead_engine_had_partly_given_back_comes_in_order_all_the_same(nats_server: Server) -> None:
    stream = stream_at(nats_server.url)
    dead = stream.source("readers")
    await publish(stream, *range(20))
    await dead.open()
    got = await fetched(dead, 10)
    await dead.settle([], got[6:8])
    await vanish(dead)

    heir = stream.source("readers")
    async with opened(heir):
        with anyio.fail_after(10):
            got = await fetched(heir, 20)
        assert numbers(got) == list(range(20))
        await heir.settle(got, [])


async def test_what_a_connection_that_is_not_seen_to_be_gone_still_gets_is_called_back_too(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url, ack_wait=60).stream(stream, subject=subject)
    async with opened(endpoint.source("readers")):  # so that stream and consumer are there
        reader = (await consumer(client, stream)).name
    gone = await nats.connect(nats_server.url, allow_reconnect=False)
    inbox, got = gone.new_inbox(), anyio.Semaphore(0)

    async def taken(_: Any) -> None:
        got.release()

    await gone.subscribe(inbox, cb=taken)
    asks = json.dumps({"batch": 100, "expires": 60 * 10**9}).encode()
    await gone.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{reader}", asks, reply=inbox)
    await publish(endpoint, 0, 1)
    source = endpoint.source("readers")

    async def go() -> None:
        """Get two more when the source is there and has looked at the consumer, and only then be gone."""
        for _ in range(2):
            await got.acquire()
        while not any(each.name == reader and each.num_waiting for each in await consumers()):
            await anyio.sleep(0.01)
        await anyio.sleep(0.3)
        await publish(endpoint, 2, 3)
        for _ in range(2):
            await got.acquire()
        await gone.close()
        await publish(endpoint, 4)

    async def consumers() -> Any:
        return await client.jetstream().consumers_info(stream)

    async with opened(), anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await source.open()
        with anyio.fail_after(20):
            assert numbers(await fetched(source, 5)) == [0, 1, 2, 3, 4]
    await source.close()


async def test_what_is_lost_is_called_back_though_as_much_of_what_is_held_is_settled_already(
    nats_server: Server, client: Any
) -> None:
    stream, subject = names()
    async with Proxy(nats_server) as proxy:
        source = Nats(proxy.url, ack_wait=60).stream(stream, subject=subject).source("readers")
        direct = Nats(nats_server.url).stream(stream, subject=subject)
        async with opened(source):
            await publish(direct, 1, 2)
            held = await fetched(source, 2)
            await client.publish(held[0].record.reply)  # an acknowledgement that the source does not know of
            gone = await nats.connect(nats_server.url, allow_reconnect=False)
            inbox, got = gone.new_inbox(), anyio.Event()

            async def taken(_: Any) -> None:
                got.set()

            await gone.subscribe(inbox, cb=taken)
            reader = (await consumer(client, stream)).name
            asks = json.dumps({"batch": 1, "expires": 60 * 10**9}).encode()
            await gone.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{reader}", asks, reply=inbox)
            await publish(direct, 3)
            await got.wait()
            await gone.close()
            proxy.reset()
            await publish(direct, 4)
            run: list[Message] = []

            async def fetch() -> None:
                run.extend(await source.fetch(2 - len(run)))

            with anyio.fail_after(20):
                while len(run) < 2:
                    await insist(fetch)
            assert numbers(run) == [3, 4]
