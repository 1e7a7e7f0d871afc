"""Publishing to a stream whose server is slow, stuck or gone, or whose sink is closed: nobody waits in vain."""

import asyncio
from typing import Any

import anyio
import psutil
import pytest

from actors import BrokerRefused, BrokerUnavailable, Message, Sent
from engine.nats.broker import Nats
from engine.nats.sink import UNSENT, StreamSink
from tests.brokers.at_nats import client, names, proxy, run_of, state, stored
from tests.brokers.contract import message, opened
from tests.brokers.surviving import eventually
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy

__all__ = ["client", "proxy"]  # fixtures
pytestmark = pytest.mark.anyio


def sink_at(url: str, **options: Any) -> tuple[StreamSink, str, str]:
    """A sink, its stream and its subject."""
    stream, subject = names()
    return Nats(url, **options).stream(stream, subject=subject).sink(), stream, subject


def large(subject: str, size: int) -> list[Message]:
    return [message(b"x" * (size // 10), subject) for _ in range(10)]


async def crowded(sink: StreamSink, subject: str) -> list[Sent]:
    """Runs sent to a server that reads nothing, until one more would have to wait."""
    found: list[Sent] = []
    with anyio.fail_after(10):
        while (sent := await sink.send(large(subject, UNSENT * 3 // 4))) is not None:
            found.append(sent)
            await anyio.sleep(0.01)
    return found


# -- a sink that is closed ---------------------------------------------------------------------------------------------


async def test_closing_ends_what_is_on_its_way_at_once_and_connects_nothing_anew(proxy: Proxy, client: Any) -> None:
    sink, stream, subject = sink_at(proxy.url, timeout=20)
    known: list[bool] = []

    async def land(sent: Sent) -> None:
        known.append(await sent.confirmed())

    async def publish() -> None:
        with pytest.raises(BrokerUnavailable):
            await sink.publish(run_of(subject, 200))

    await sink.open()
    proxy.stall("answers")
    one, two, three = [await sink.send(run_of(subject, start)) for start in (0, 100, 300)]
    assert one is not None
    assert two is not None
    assert three is not None
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(land, one)
            tasks.start_soon(land, two)
            tasks.start_soon(publish)
            await stored(client, stream, 400)
            await sink.close()
        assert not await three.confirmed()
    assert known == [False, False]
    assert proxy.accepted == 1
    assert not sink._ids.done
    assert not sink._ids._kept


async def test_what_was_confirmed_when_its_publisher_was_cancelled_is_not_stored_again(
    proxy: Proxy, client: Any
) -> None:
    sink, stream, subject = sink_at(proxy.url)
    run, heard = run_of(subject, 0), anyio.Event()
    async with opened(sink):
        sent = await sink.send(run)
        assert sent is not None
        sent.then(heard.set)
        with anyio.fail_after(10):
            await heard.wait()
        sent.forget()
        again = await sink.send(run)
        assert again is not None
        assert await again.confirmed()
        assert (await state(client, stream)).messages == 100
        await sink.publish(run)  # all that was kept of it is forgotten
        assert (await state(client, stream)).messages == 200


# -- a server that is slow, or stands still ----------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", ["sent", "published"])
async def test_a_server_that_confirms_slowly_has_all_the_time_that_it_takes(
    proxy: Proxy, client: Any, ahead: str
) -> None:
    sink, stream, subject = sink_at(proxy.url, timeout=0.7)
    run = run_of(subject, 0, 256)
    async with opened(sink):
        proxy.slow(bytes_per_second=20_000)
        began = anyio.current_time()
        if ahead == "sent":
            sent = await sink.send(run)
            assert sent is not None
            assert await sent.confirmed()
        else:
            await sink.publish(run)
        assert anyio.current_time() - began > 1.4
        assert proxy.accepted == 1
        assert (await state(client, stream)).messages == 256


async def test_what_confirms_only_what_was_written_later_is_given_up(proxy: Proxy, client: Any) -> None:
    sink, _, subject = sink_at(proxy.url, timeout=0.3)
    async with opened(sink):
        proxy.stall("answers")
        one = await sink.send(run_of(subject, 0))
        assert one is not None
        later = [await sink.send(run_of(subject, start, 10)) for start in range(100, 1000, 10)]
        inbox = sink._inbox
        over = anyio.Event()

        async def confirm() -> None:
            for number in [number for number in inbox.waiting if number > 100]:
                if not over.is_set():
                    assert inbox.take(b"%b%d" % (inbox._read, number), b"", b'{"stream":"S"}', None)
                    await anyio.sleep(0.02)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(confirm)
            with anyio.fail_after(5), pytest.raises(BrokerUnavailable, match="not confirmed in time"):
                await one.confirmed()
            over.set()
        assert later[-1] is not None
        assert not await later[-1].confirmed()


async def test_nothing_is_sent_and_nobody_waits_where_much_is_not_written_yet(proxy: Proxy, client: Any) -> None:
    sink, stream, subject = sink_at(proxy.url, timeout=20)
    async with opened(sink):
        assert await sink.send(large(subject, UNSENT + 20)) is None
        proxy.stall("requests")
        sent = await crowded(sink, subject)
        proxy.mend()
        with anyio.fail_after(20):
            assert all([await each.confirmed() for each in sent])
        assert (await state(client, stream)).messages == 10 * len(sent)


async def test_a_run_that_nats_py_has_had_no_turn_to_write_yet_is_no_reason_to_wait(proxy: Proxy, client: Any) -> None:
    sink, stream, subject = sink_at(proxy.url)
    async with opened(sink):
        one, two = [await sink.send(large(subject, UNSENT * 3 // 4)) for _ in range(2)]
        assert one is not None
        assert two is not None
        assert [await one.confirmed(), await two.confirmed()] == [True, True]
        assert (await state(client, stream)).messages == 20


async def test_a_connection_that_breaks_with_much_not_written_is_noticed_soon(proxy: Proxy, client: Any) -> None:
    sink, _, subject = sink_at(proxy.url, timeout=20)
    known: list[bool] = []

    async def land(sent: Sent) -> None:
        known.append(await sent.confirmed())

    async with opened(sink):
        proxy.stall("requests")
        sent = await crowded(sink, subject)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for each in sent:
                    tasks.start_soon(land, each)
                await anyio.wait_all_tasks_blocked()
                proxy.reset()
        assert known == [False] * len(sent)
        assert proxy.resets == 1


async def test_a_source_hears_at_once_of_a_connection_that_breaks_with_something_not_written(proxy: Proxy) -> None:
    stream, subject = names()
    source = Nats(proxy.url, timeout=20).stream(stream, subject=subject).source("readers")
    async with opened(source):
        fetching = asyncio.ensure_future(source.fetch(1))
        await anyio.wait_all_tasks_blocked()
        client = source._link.client
        assert client is not None
        await client._send_command(b"PING\r\n")  # nobody has nats-py write it
        proxy.reset()
        with anyio.fail_after(2), pytest.raises(BrokerUnavailable):
            await fetching


async def test_a_server_that_stands_still_costs_no_socket_and_no_task(nats_server: Server) -> None:
    def connections() -> set[Any]:
        return {each.laddr for each in psutil.Process().net_connections("tcp")}

    async def as_before() -> bool:
        return connections() <= sockets and asyncio.all_tasks() <= tasks

    sockets, tasks = connections(), asyncio.all_tasks()
    sink, _, subject = sink_at(nats_server.url, timeout=0.3, publish_timeout=0.1, connect_timeout=0.3)
    await sink.open()
    assert not await as_before()
    nats_server.pause()
    try:
        with pytest.raises(BrokerUnavailable):
            await sink.publish([message(b"x" * 900_000, subject) for _ in range(20)])
        await sink.close()
        await eventually(as_before)
    finally:
        nats_server.resume()


async def test_what_was_published_from_outside_and_failed_is_not_kept(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    await client.jetstream().add_stream(name=stream, subjects=[subject], max_msgs=1, discard="new")
    broker = Nats(nats_server.url)
    endpoint = broker.stream(stream, subject=subject)
    async with broker:
        await endpoint.publish("there is room")
        for _ in range(3):
            with pytest.raises(BrokerRefused):
                await endpoint.publish("there is none")
        (sink,) = broker.session._sinks.values()
        assert isinstance(sink, StreamSink)
        assert not sink._ids._kept
