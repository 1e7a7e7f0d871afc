"""RabbitMQ when things go wrong: lost connections, silent servers, restarts, and messages that nobody should send."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from aiormq import spec

from actors import BrokerUnavailable, Message, Origin, PublishError, Sink, Source
from engine.rabbitmq import frames
from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.endpoints import RabbitQueue
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.test_rabbitmq import fresh
from tests.servers.ports import free_port
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ as Server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxy(rabbitmq_server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(rabbitmq_server) as proxy:
        yield proxy


def classic(proxy: Proxy, **options: Any) -> RabbitQueue:
    return RabbitMQ(proxy.url, **options).queue(fresh(), kind="classic")


async def insist(attempt: Any, patience: float = 30) -> Any:
    """What the engine does: again and again until the broker is there."""
    with anyio.fail_after(patience):
        while True:
            try:
                return await attempt()
            except BrokerUnavailable:
                await anyio.sleep(0.02)


async def until(there: Callable[[], bool], patience: float = 10) -> None:
    """Wait for what tells nobody when it happens."""
    with anyio.fail_after(patience):
        while not there():
            await anyio.sleep(0.005)


async def published(sink: Sink, *bodies: Any, **more: Any) -> None:
    await sink.publish([message(body, sink.destination, **more) for body in bodies])


# -- reading ---------------------------------------------------------------------------------------------------


async def test_what_was_not_settled_when_the_connection_broke_comes_again(proxy: Proxy) -> None:
    queue = RabbitMQ(proxy.url).queue(fresh())
    source, sink = queue.source("g"), queue.sink()
    async with opened(source, sink):
        await published(sink, *range(6))
        old = await fetched(source, 4)
        reading = await queue.broker.reading().wire()
        proxy.reset()
        await until(reading.lost.done)
        with pytest.raises(BrokerUnavailable, match="the connection was lost"):
            await source.fetch(4)
        await source.settle(old[:2], old[2:])  # their tags mean other messages now, or none
        run = await insist(lambda: fetched(source, 6))
        assert numbers(run) == list(range(6))
        assert [each.attempt for each in run] == [2] * 6
        await source.settle(old, [])
        await source.settle(run, [])
        await published(sink, 7)
        assert numbers(await source.fetch(10)) == [7]
    assert proxy.resets == 2


async def test_a_fetch_under_way_is_told(proxy: Proxy) -> None:
    source = classic(proxy).source("g")
    async with opened(source), anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(BrokerUnavailable, match="the connection was lost"):
                await source.fetch(1)

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        proxy.reset()


async def test_closing_wakes_a_fetch_under_way_and_may_happen_twice(proxy: Proxy) -> None:
    source = classic(proxy).source("g")
    async with anyio.create_task_group() as tasks:
        await source.open()

        async def wait() -> None:
            with pytest.raises(BrokerUnavailable, match="was closed"):
                await source.fetch(1)

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await source.close()
    await source.close()
    await source.settle([], [])
    with pytest.raises(BrokerUnavailable, match="open it"):
        await source.fetch(1)
    with pytest.raises(ValueError, match="at least 1"):
        await source.fetch(0)


async def test_no_more_than_the_bound_is_on_the_way(proxy: Proxy) -> None:
    queue = classic(proxy)
    one, other, sink = queue.source("g", 10), queue.source("g", 100), queue.sink()
    async with opened(one, sink):
        await published(sink, *range(50))
        first = await fetched(one, 3)
        async with opened(other):
            assert numbers(await fetched(other, 40)) == list(range(10, 50))
            await one.settle(first, [])
            assert numbers(await fetched(one, 7)) == list(range(3, 10))


async def test_a_queue_that_is_deleted_under_its_reader_is_declared_again(rabbitmq_server: Server) -> None:
    queue = RabbitMQ(rabbitmq_server.url).queue(fresh())
    source = queue.source("g")
    async with opened(source):
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "delete_queue", queue.name)
        with pytest.raises(BrokerUnavailable, match="the queue was deleted"):
            await source.fetch(1)
        with anyio.move_on_after(0.1):
            await source.fetch(1)
        async with queue.broker:
            await queue.publish(1)
        assert numbers(await source.fetch(1)) == [1]


async def forgotten(server: Server, source: Any, queue: RabbitQueue) -> None:
    """Have the server forget a consumer that goes on to believe in itself."""
    told = await anyio.to_thread.run_sync(server.ctl, "-q", "list_consumers", "queue_name", "consumer_tag")
    (tag,) = [line.split()[1] for line in told.splitlines() if line.split()[0] == queue.name]
    channel = source._lives.now.channel
    await channel.rpc(spec.Basic.Cancel(consumer_tag=tag))


@pytest.mark.parametrize("alone", [True, False])
async def test_a_consumer_that_is_alive_and_gets_nothing_is_made_anew(rabbitmq_server: Server, alone: bool) -> None:
    queue = RabbitMQ(rabbitmq_server.url, stall=0.2).queue(fresh())
    source, other, sink = queue.source("g"), queue.source("g", 1), queue.sink()
    async with opened(source, sink):
        await forgotten(rabbitmq_server, source, queue)
        await published(sink, 1, 2, 3)
        reason = "no consumer of its queue" if alone else "2 messages are in its queue and none comes"
        held: list[Message] = []
        if not alone:
            await other.open()
            held = await fetched(other, 1)
        with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match=reason):
            await source.fetch(5)
        assert numbers(await fetched(source, 3 if alone else 2)) == ([1, 2, 3] if alone else [2, 3])
        assert source.remade == 1
        await other.settle(held, [])
        await other.close()


async def test_a_consumer_of_an_empty_queue_or_without_room_or_not_the_active_one_is_left_alone(
    rabbitmq_server: Server,
) -> None:
    quick = RabbitMQ(rabbitmq_server.url, stall=0.05)
    empty, full, single = (
        quick.queue(fresh()),
        quick.queue(fresh()),
        quick.queue(fresh(), single_active_consumer=True),
    )
    idle, busy, active, standby = empty.source("g"), full.source("g", 1), single.source("g", 1), single.source("g")
    sinks = full.sink(), single.sink()
    async with opened(idle, busy, active, standby, *sinks):
        for sink in sinks:
            await published(sink, 1, 2, 3)
        await fetched(busy, 1)
        await fetched(active, 1)
        for source in (idle, busy, standby):
            with anyio.move_on_after(0.6):
                pytest.fail(f"{await source.fetch(1)}")
            assert source.remade == 0


async def test_a_silent_server_is_given_up_and_a_busy_one_is_not(rabbitmq_server: Server, proxy: Proxy) -> None:
    """aiormq waits three heartbeats for something, and of messages and confirms it sees nothing."""
    silent = classic(proxy, heartbeat=1).source("g")
    busy = RabbitMQ(rabbitmq_server.url, heartbeat=1).queue(fresh(), kind="classic")
    source, sink = busy.source("g"), busy.sink()

    async def fill() -> None:
        while True:
            await published(sink, 1)

    async def empty() -> None:
        while True:
            await source.settle(await source.fetch(256), [])

    async with opened(silent, source, sink):
        proxy.stall()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill)
            tasks.start_soon(empty)
            with anyio.fail_after(20), pytest.raises(BrokerUnavailable):
                await silent.fetch(1)
            tasks.cancel_scope.cancel()
        assert not (await busy.broker.reading().wire()).lost.done()
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.5 s"):
            await RabbitMQ(proxy.url, connect_timeout=0.5).queue("q").source("g").open()
        proxy.mend()
        with anyio.move_on_after(1):
            await insist(lambda: silent.fetch(1))


async def test_the_server_takes_back_what_is_held_too_long_and_says_why(rabbitmq_server: Server) -> None:
    def configured(timeout: int, tick: int) -> str:
        settings = f"[application:set_env(rabbit, K, V) || {{K, V}} <- [{{consumer_timeout, {timeout}}}, "
        return rabbitmq_server.ctl("eval", settings + f"{{channel_tick_interval, {tick}}}]].")

    await anyio.to_thread.run_sync(configured, 200, 200)
    try:
        queue = RabbitMQ(rabbitmq_server.url).queue(fresh())
        source = queue.source("g")
        async with queue.broker, opened(source):
            await queue.publish(1)
            held = await source.fetch(1)
            with (
                anyio.fail_after(20),
                pytest.raises(BrokerUnavailable, match=r"consumer_timeout.*make mailbox= smaller"),
            ):
                await source.fetch(1)
            await source.settle(held, [])
            (again,) = await insist(lambda: source.fetch(1))
            assert (again.raw, again.attempt) == (b"1", 2)
    finally:
        await anyio.to_thread.run_sync(configured, 1_800_000, 60_000)


@asynccontextmanager
async def frames_to(queue: RabbitQueue) -> AsyncIterator[Any]:
    """Publish with a header of one's own making."""
    wire = await queue.broker.writing().wire()
    channel = await wire.open_channel()

    def send(flags: int, properties: bytes, body: bytes) -> None:
        payload = b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + flags.to_bytes(2, "big") + properties
        header = frames.FRAME.pack(frames.HEADER, channel.number, len(payload)) + payload + frames.END
        method = frames.publication(channel.number, "", queue.name, False)
        wire.line.writer.write(b"".join((method, header, *frames.bodies(channel.number, body, 1000))))

    yield send
    await wire.close_channel(channel)
    await wire.close()


async def test_headers_that_nobody_should_send_neither_stop_nor_kill_the_source(rabbitmq_server: Server) -> None:
    queue = RabbitMQ(rabbitmq_server.url).queue(fresh(), kind="classic")
    source = queue.source("g")

    def table(fields: bytes) -> bytes:
        return len(fields).to_bytes(4, "big") + fields

    odd = b"\x02\xff\xfeS\x00\x00\x00\x01a\x04nullV\x01kS\x00\x00\x00\x01b\x01kS\x00\x00\x00\x01c"
    odd += b"\x04tree" + b"F" + table(b"\x01aA" + table(b"I\x00\x00\x00\x05t\x01")) + b"\x01dD\x02\x00\x00\x00\x7b"
    odd += b"\x01tT\xff\xff\xff\xff\xff\xff\xff\xff"
    async with opened(source), frames_to(queue) as send:
        send(0x2000, table(odd), b"1")
        send(0x0040, b"\xff" * 8, b"2")
        send(0x0400, b"\x03\xff\xfeq", b"3")
        send(0x8000 | 0x4000, b"\x0bstrange/one\x07unheard", b"4")
        run = await fetched(source, 4)
    assert numbers(run) == [1, 2, 3, 4]
    assert run[0].headers == {
        "\\xff\\xfe": "a",
        "null": "",
        "k": "c",
        "tree": '{"a": [5, true]}',
        "d": "1.23",
        "t": str(2**64 - 1),
    }
    assert run[1].timestamp == (2**64 - 1) / 1000
    assert run[2].correlation_id == "\\xff\\xfeq"
    assert run[3].headers == {"content-type": "strange/one", "content-encoding": "unheard"}


# -- writing ---------------------------------------------------------------------------------------------------


async def test_a_whole_run_is_sent_before_anything_is_confirmed(proxy: Proxy) -> None:
    queue = classic(proxy)
    sink = queue.sink()
    async with opened(sink), anyio.create_task_group() as tasks:
        proxy.stall("answers")
        before = proxy.carried["requests"]
        tasks.start_soon(published, sink, *(b"x" * 1000 for _ in range(500)))
        await until(lambda: proxy.carried["requests"] - before >= 500_000)
        assert "500 unconfirmed" in repr(sink)
        proxy.mend()


async def test_no_more_than_the_window_is_unconfirmed(proxy: Proxy) -> None:
    queue = classic(proxy, window=10)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        async with anyio.create_task_group() as tasks:
            proxy.stall("answers")
            tasks.start_soon(published, sink, *range(100))
            tasks.start_soon(published, sink, *range(100, 200))
            await anyio.wait_all_tasks_blocked()
            assert repr(sink).endswith(" 11 unconfirmed>")  # each of the two tasks has seen room for one
            proxy.mend()
        run = numbers(await fetched(source, 200))
    assert [number for number in run if number < 100] == list(range(100))
    assert [number for number in run if number >= 100] == list(range(100, 200))


async def test_a_publish_without_a_confirm_is_given_up_and_may_be_tried_again(proxy: Proxy) -> None:
    queue = classic(proxy, timeout=0.3)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink):
        proxy.stall("answers")
        with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match=r"no answer within 0\.3 s"):
            await published(sink, 1, 2)
        proxy.reset()
        proxy.mend()
        await insist(lambda: published(sink, 1, 2))
    async with opened(source):
        assert set(numbers(await fetched(source, 2))) == {1, 2}


async def test_a_slow_connection_is_not_a_dead_one(proxy: Proxy) -> None:
    queue = classic(proxy, timeout=0.5)
    sink = queue.sink()
    async with opened(sink):
        proxy.slow(bytes_per_second=400_000)
        await published(sink, *(b"x" * 100_000 for _ in range(6)))


async def test_a_queue_that_hangs_is_no_trouble_for_the_others(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url, timeout=0.5)
    stuck, well = rabbit.queue(fresh(), kind="classic"), rabbit.queue(fresh(), kind="classic")
    late, sinks, source = stuck.source("g"), [stuck.sink(), well.sink()], well.source("g")

    async def do(what: str) -> None:
        name = f'rabbit_misc:r(<<"/">>, queue, <<"{stuck.name}">>)'
        code = f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), sys:{what}(amqqueue:get_pid(Q))."
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "eval", code)

    async with opened(*sinks, source):
        await do("suspend")
        with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match=r"no confirm within 0\.5 s"):
            await published(sinks[0], 1)
        with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match="the server is there: is the queue without"):
            await late.open()
        await published(sinks[1], 2)
        assert numbers(await source.fetch(1)) == [2]
        assert not (await rabbit.reading().wire()).lost.done()
        assert not (await rabbit.writing().wire()).lost.done()
        await do("resume")
        await insist(lambda: published(sinks[0], 1))
        await insist(late.open)
        assert set(numbers(await late.fetch(10))) == {1}
    await late.close()


async def test_a_run_whose_connection_broke_is_published_again(proxy: Proxy) -> None:
    queue = classic(proxy)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink):
        for at in range(5):
            proxy.stall("answers" if at % 2 else "requests")
            async with anyio.create_task_group() as tasks:

                async def publish(at: int = at) -> None:
                    with pytest.raises(BrokerUnavailable):
                        await published(sink, at)

                tasks.start_soon(publish)
                await anyio.wait_all_tasks_blocked()
                proxy.reset()
            proxy.mend()
            await insist(lambda at=at: published(sink, at))
    assert proxy.resets >= 5
    async with opened(source):
        seen: set[int] = set()
        while seen != set(range(5)):
            seen.update(numbers(await source.fetch(10)))


async def test_an_idle_sink_connects_again_before_it_publishes(proxy: Proxy) -> None:
    queue = classic(proxy)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink):
        proxy.reset()
        await until((await queue.broker.writing().wire()).lost.done)
        await published(sink, 1)
    async with opened(source):
        assert numbers(await source.fetch(10)) == [1]


async def test_a_cancelled_publish_leaves_nothing_behind(proxy: Proxy) -> None:
    queue = classic(proxy)
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        proxy.stall("answers")
        with anyio.move_on_after(0.05):
            await published(sink, *range(10))
        proxy.mend()
        await published(sink, *range(10, 20))
        assert numbers(await fetched(source, 20)) == list(range(20))


async def test_a_server_that_is_short_of_memory_takes_nothing_for_a_while(rabbitmq_server: Server) -> None:
    queue = RabbitMQ(rabbitmq_server.url, timeout=0.5).queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")

    async def mark(high: str) -> None:
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "set_vm_memory_high_watermark", high)

    async with opened(sink, source):
        await published(sink, 1)
        await mark("0.00001")
        try:
            with (
                anyio.fail_after(20),
                pytest.raises(BrokerUnavailable, match="takes no messages for now: low on memory"),
            ):
                await published(sink, 2)
            with pytest.raises(BrokerUnavailable, match="takes no messages for now: low on memory"):
                await published(sink, 2)
            assert numbers(await source.fetch(10)) == [1]
        finally:
            await mark("0.4")
        await insist(lambda: published(sink, 3))
        assert 3 in numbers(await fetched(source, 2))


async def test_a_body_that_is_too_long_is_an_error_of_its_message_alone(rabbitmq_server: Server) -> None:
    def limit(most: int) -> str:
        return rabbitmq_server.ctl("eval", f"application:set_env(rabbit, max_message_size, {most}).")

    queue = RabbitMQ(rabbitmq_server.url).queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    await anyio.to_thread.run_sync(limit, 10_000)
    try:
        async with opened(sink, source):
            with pytest.raises(BrokerUnavailable, match=r"larger than .*max size 10000.*raise max_message_size"):
                await published(sink, b"1", b"x" * 10_001, b"2")
            with pytest.raises(PublishError, match="max_message_size=10000") as refused:
                await published(sink, b"1", b"x" * 10_001, b"2")
            assert list(refused.value.failures) == [1]
            await published(sink, b"x" * 10_000)
            run = [each.raw async for each in everything(source, b"x" * 10_000)]
            assert set(run) == {b"1", b"2", b"x" * 10_000}
    finally:
        await anyio.to_thread.run_sync(limit, 134_217_728)


async def everything(source: Source, until: bytes) -> AsyncIterator[Message]:
    """What comes, until that comes."""
    while True:
        for each in await source.fetch(10):
            yield each
            if each.raw == until:
                return


# -- both ------------------------------------------------------------------------------------------------------


async def test_the_first_connection_may_wait_for_the_server(proxy: Proxy) -> None:
    nowhere = RabbitMQ(f"amqp://127.0.0.1:{free_port()}").queue("q").source("g")
    with pytest.raises(BrokerUnavailable, match=r"RabbitMQ at 127\.0\.0\.1:\d+: nothing listens there"):
        await nowhere.open()
    await nowhere.close()
    queue = classic(proxy)
    source, sink = queue.source("g"), queue.sink()
    proxy.cut()
    for port in (source, sink):
        with pytest.raises(BrokerUnavailable, match="the connection was lost"):
            await port.open()
    proxy.mend()
    for port in (source, sink):
        await port.open()
    await published(sink, 1)
    assert numbers(await source.fetch(1)) == [1]
    await source.close()
    await sink.close()
    assert proxy.refused == 2


async def test_who_waits_for_the_same_connection_does_not_wait_in_turn(proxy: Proxy) -> None:
    rabbit = RabbitMQ(proxy.url, connect_timeout=0.5)
    proxy.stall()

    async def open_one() -> None:
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.5 s"):
            await rabbit.queue(fresh()).source("g").open()

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(open_one)
    assert proxy.accepted == 1


async def test_ten_thousand_survive_a_kill_and_a_restart_of_the_server(rabbitmq_server: Server) -> None:
    source_queue = RabbitMQ(rabbitmq_server.url).queue(fresh())
    source, sink = source_queue.source("g"), source_queue.sink()
    seen: set[int] = set()
    redelivered = 0

    async def fill() -> None:
        for start in range(0, 10_000, 250):
            run = [message(number, source_queue.name) for number in range(start, start + 250)]
            await insist(lambda run=run: sink.publish(run))

    async def read(until: int) -> None:
        nonlocal redelivered
        while len(seen) < until:
            run = await insist(lambda: source.fetch(256))
            seen.update(numbers(run))
            redelivered += sum(each.attempt > 1 for each in run)
            await source.settle(run[::2] if len(seen) >= until else run, [])

    async with opened(source, sink), anyio.create_task_group() as tasks:
        # A quorum queue whose node is killed in the first second of its life never gets a leader again.
        await anyio.sleep(1.5)
        tasks.start_soon(fill)
        await read(3_333)
        await rabbitmq_server.async_restart(kill=True)
        await read(6_666)
        await rabbitmq_server.async_restart()
        await read(10_000)
    assert seen == set(range(10_000))
    assert redelivered > 0


async def test_a_request_survives_a_lost_connection(proxy: Proxy) -> None:
    queue = classic(proxy)
    source, answers = queue.source("g"), queue.reply_to(queue.name).sink()
    replies: list[Any] = []

    async def ask(number: int) -> None:
        replies.append((await queue.request(number, timeout=20)).body)

    async with opened(source, answers), queue.broker, anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(ask, number)
        run = await fetched(source, 3)
        await until(lambda: " 0 unconfirmed" in repr(queue.broker.session._sinks[queue.sink_kind]))
        proxy.reset()
        for each in await insist(lambda: fetched(source, 3)):
            origin = Origin(correlation_id=each.correlation_id)
            reply = message(each.raw, each.reply_to, origin=origin)
            await insist(lambda reply=reply: answers.publish([reply]))
    assert sorted(replies) == [0, 1, 2]
    assert len(run) == 3


async def test_a_source_and_a_sink_are_two_connections_however_many_there_are(proxy: Proxy) -> None:
    rabbit = RabbitMQ(proxy.url)
    queues = [rabbit.queue(fresh(), kind="classic") for _ in range(5)]
    async with opened(*(queue.source("g") for queue in queues), *(queue.sink() for queue in queues)):
        assert proxy.connections == 2
    assert proxy.accepted == 2


async def test_a_broker_object_serves_one_event_loop_after_another(rabbitmq_server: Server) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    queue = rabbit.queue(fresh(), kind="classic")

    async def publish() -> None:
        async with rabbit:
            await queue.publish(1)

    for _ in range(2):
        await anyio.to_thread.run_sync(anyio.run, publish)
    source = queue.source("g")
    async with opened(source):
        assert numbers(await fetched(source, 2)) == [1, 1]


async def test_a_queue_whose_limit_is_taken_away_gets_what_it_had_refused(rabbitmq_server: Server) -> None:
    name = fresh()
    sink = RabbitMQ(rabbitmq_server.url, timeout=0.5).queue(name).sink()
    limit = ("set_policy", "--apply-to", "queues", name, f"^{name}$", '{"max-length":1,"overflow":"reject-publish"}')
    async with opened(sink):
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, *limit)
        for number in range(2):  # the first goes beyond the limit
            await sink.publish([message(number, name)])
        with pytest.raises(BrokerUnavailable, match="refuses for now"):
            await sink.publish([message(2, name)])
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "clear_policy", name)
        await insist(lambda: sink.publish([message(2, name)]))


# -- taking leave ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [False, True], ids=["published", "asked"])
async def test_a_block_that_ends_while_the_server_hangs_ends_in_time_and_leaves_no_connection(
    rabbitmq_server: Server, asking: bool
) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url, name=fresh("leaving"))
    queues = [rabbit.queue(fresh(), kind="classic", priority=priority) for priority in range(8)]
    try:
        async with rabbit:
            for queue in queues:  # a sink each
                await queue.publish(1)
            if asking:
                with pytest.raises(TimeoutError):
                    await queues[0].request(1, timeout=0.2)
            rabbitmq_server.pause()
    finally:
        rabbitmq_server.resume()

    def connections() -> str:
        return rabbitmq_server.ctl("list_connections", "client_properties")

    with anyio.fail_after(20):
        while rabbit.told.name in await anyio.to_thread.run_sync(connections):
            await anyio.sleep(0.05)


async def test_whoever_closes_while_the_server_hangs_takes_no_connection_from_others(proxy: Proxy) -> None:
    rabbit = RabbitMQ(proxy.url)
    stays, goes = rabbit.queue(fresh(), kind="classic"), rabbit.queue(fresh(), kind="classic")
    source, replies, again = stays.source("g"), rabbit.inbox().source("g"), goes.source("g")
    leaver: Any = goes.source("g")
    sink, other = stays.sink(), goes.sink()
    async with opened(source, leaver, replies, sink, other, again):
        await again.close()
        await published(sink, 1)
        await published(other, 2)
        run, held = await fetched(source, 1), await fetched(leaver, 1)
        reading, writing = await rabbit.reading().wire(), await rabbit.writing().wire()
        channel = leaver._lives.now.channel
        proxy.stall()
        with anyio.fail_after(5):
            for each in (leaver, replies, other):
                await each.close()
        assert not reading.lost.done()
        assert not writing.lost.done()
        taken: Any = reading._connection.channels  # what has a number is not given it twice
        assert taken[channel.number] is channel
        proxy.mend()
        await until(lambda: channel.number not in taken)
        await source.settle(run, [])
        await again.open()
        came = await fetched(again, 1)
        assert numbers(came) == numbers(held)
        assert came[0].attempt == 2
        await published(sink, 3)
        assert numbers(await fetched(source, 1)) == [3]
        assert not reading._left
        assert not reading.lost.done()
        assert not writing.lost.done()
    assert proxy.accepted == 2


async def test_what_was_left_while_the_server_hung_ends_with_the_connection(proxy: Proxy) -> None:
    rabbit = RabbitMQ(proxy.url)
    source, leaver = (rabbit.queue(fresh(), kind="classic").source("g") for _ in range(2))
    async with opened(source, leaver):
        wire = await rabbit.reading().wire()
        proxy.stall()
        await leaver.close()
        assert wire._left
        proxy.reset()
        await until(lambda: not wire._left)
        proxy.mend()


async def test_closing_that_is_cancelled_leaves_no_connection(proxy: Proxy) -> None:
    sink: Any = classic(proxy).sink()
    await sink.open()
    wire = sink._lives.now.wire
    proxy.stall()
    with anyio.move_on_after(0.1) as scope:
        await sink.close()
    assert scope.cancelled_caught
    assert wire.lost.done()
    assert wire.line.writer.is_closing()
    assert sink._lives.now is None


# -- being asked ---------------------------------------------------------------------------------------------------


async def asked(source: Any, monkeypatch: pytest.MonkeyPatch, probe: float) -> Any:
    """A ping that is on its way, by a connection that nothing was heard of for a while; the connection."""
    monkeypatch.setattr("engine.rabbitmq.wire.PROBE", probe)
    wire = await source._lives.wire()
    wire._tap.heard -= 60
    return wire


async def test_an_answer_that_is_late_because_the_event_loop_is_loses_no_connection(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = classic(proxy).source("g")
    async with opened(source):
        wire = await asked(source, monkeypatch, 0.3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.ping)
            before = wire._tap.heard
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            time.sleep(0.5)  # noqa: ASYNC251 - a handler that blocks
        assert wire._tap.heard > before
        assert not wire.lost.done()


async def test_a_connection_that_nothing_is_heard_of_is_lost_when_it_is_asked(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = classic(proxy).source("g")
    async with opened(source):
        wire = await asked(source, monkeypatch, 0.3)
        proxy.stall("answers")
        with pytest.raises(BrokerUnavailable):
            await source.ping()
        assert wire.lost.done()


async def test_a_channel_that_the_server_has_closed_takes_nobody_elses_listener_with_it(proxy: Proxy) -> None:
    queue = classic(proxy)
    source = queue.source("g")
    async with opened(source):
        wire = await queue.broker.reading().wire()
        gone = await wire.open_channel()
        with pytest.raises(Exception, match="NOT_FOUND"):
            await gone.basic_get(fresh())
        other = await wire.open_channel()
        assert other.number == gone.number
        wire.listen(other, kept := object())  # type: ignore[arg-type]
        await wire.close_channel(gone)
        assert wire._tap.listeners[other.number] is kept
        del wire._tap.listeners[other.number]


async def test_whoever_begins_to_listen_to_a_connection_that_is_lost_is_told(proxy: Proxy) -> None:
    sink: Any = RabbitMQ(proxy.url).exchange(fresh(), routing_key="{number}").sink()
    await sink.open()
    life = sink._lives.now
    wire, channel = life.wire, life.channel
    wire.line.lose("gone")
    life.error = None
    wire.listen(channel, life)
    assert isinstance(life.error, BrokerUnavailable)
    assert (await sink._lives.living()) is not life
    await sink.close()


@pytest.mark.parametrize("odd", ["id", "correlation_id"])
async def test_an_id_that_is_no_text_is_refused_and_harms_no_other(proxy: Proxy, odd: str) -> None:
    queue = classic(proxy)
    source, sink = queue.source("g"), queue.sink()
    async with opened(source, sink):
        run = [message(number, queue.name, **({odd: 7} if number == 1 else {})) for number in range(3)]
        with pytest.raises(PublishError) as refused:
            await sink.publish(run)
        assert list(refused.value.failures) == [1]
        assert numbers(await fetched(source, 2)) == [0, 2]
