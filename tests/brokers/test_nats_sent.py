"""Two runs on their way to a stream at once: whatever happens to them, all arrive once, and first in order."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from actors import (
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    Counts,
    Link,
    Mailbox,
    Message,
    Pipelined,
    PublishError,
    PublishWorker,
    Retries,
    VirtualClock,
)
from engine.nats.broker import Nats, NatsStream
from engine.nats.sink import AT_ONCE
from tests.actors.fakes import Completed, logger
from tests.actors.fakes import message as delivery
from tests.brokers.at_nats import client, names, proxy, refusal, run_of, state, stored
from tests.brokers.contract import fetched, numbers, opened
from tests.brokers.surviving import eventually, insist
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy

__all__ = ["client", "proxy"]  # fixtures
pytestmark = pytest.mark.anyio


async def answered(link: Link) -> bool:
    return link.connected


async def arrived(server: Server, endpoint: NatsStream, count: int) -> list[int]:
    """All that is in the stream, which has to be so many."""
    source = Nats(server.url).stream(endpoint.stream, subject=endpoint.name).source("readers", bound=count)
    async with opened(source):
        with anyio.fail_after(20):
            return numbers(await fetched(source, count))


async def through(sink: Any, *runs: tuple[Any, Sequence[Message]]) -> None:
    """What a publisher does when the first of them has failed: it waits for those behind, and publishes in order."""
    failed = []
    for sent, run in runs:
        try:
            if not await sent.confirmed():
                failed.append(run)
        except BrokerError:
            failed.append(run)
    for run in failed:
        await insist(lambda run=run: sink.publish(run))  # type: ignore[misc]


# -- all is well -------------------------------------------------------------------------------------------------------


async def test_two_runs_that_are_sent_before_either_is_confirmed_arrive_in_order_and_once(
    nats_server: Server, proxy: Proxy, client: Any
) -> None:
    stream, subject = names()
    endpoint = Nats(proxy.url).stream(stream, subject=subject)
    sink = endpoint.sink()
    assert isinstance(sink, Pipelined)
    assert sink.in_flight == 2
    async with opened(sink):
        proxy.stall("answers")
        one, two = await sink.send(run_of(subject, 0)), await sink.send(run_of(subject, 100))
        assert one is not None
        assert two is not None
        await stored(client, stream, 200)
        called: list[int] = []
        one.then(lambda: called.append(1))
        two.then(lambda: called.append(2))
        assert called == []
        proxy.mend()
        assert [await one.confirmed(), await two.confirmed()] == [True, True]
        assert called == [1, 2]
        two.then(lambda: called.append(3))
        assert called == [1, 2, 3]
    assert await arrived(nats_server, endpoint, 200) == list(range(200))
    assert (await state(client, stream)).messages == 200


async def test_what_a_run_is_refused_is_told_and_the_rest_of_both_is_stored(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject)
    sink = endpoint.sink()
    first, second = run_of(subject, 0, 5), run_of(subject, 5, 5)
    first[1].raw = b"x" * 1_048_560  # with its headers it is over max_payload
    first[3].headers = {"a": 5}  # type: ignore[dict-item]
    async with opened(sink):
        one, two = await sink.send(first), await sink.send(second)
        assert one is not None
        assert two is not None
        with pytest.raises(PublishError) as wrong:
            await one.confirmed()
        assert sorted(wrong.value.failures) == [1, 3]
        assert await two.confirmed()
    assert await arrived(nats_server, endpoint, 8) == [0, 2, 4, 5, 6, 7, 8, 9]


async def test_no_more_wait_for_their_confirms_than_the_server_can_buffer(proxy: Proxy, client: Any) -> None:
    stream, subject = names()
    sink = Nats(proxy.url).stream(stream, subject=subject).sink()
    async with opened(sink):
        assert await sink.send(run_of(subject, 0, AT_ONCE + 1)) is None
        proxy.stall("answers")
        one = await sink.send(run_of(subject, 0, AT_ONCE - 99))
        assert one is not None
        assert await sink.send(run_of(subject, AT_ONCE)) is None
        proxy.mend()
        assert await one.confirmed()
        two = await sink.send(run_of(subject, AT_ONCE))
        assert two is not None
        assert await two.confirmed()
        assert (await state(client, stream)).messages == AT_ONCE + 1


async def test_what_is_forgotten_is_waited_for_no_more_and_published_again_it_is_there_once(
    proxy: Proxy, client: Any
) -> None:
    stream, subject = names()
    sink = Nats(proxy.url).stream(stream, subject=subject).sink()
    run = run_of(subject, 0, AT_ONCE)
    async with opened(sink):
        proxy.stall("answers")
        sent = await sink.send(run)
        assert sent is not None
        sent.forget()
        sent.forget()
        again = await sink.send(run)
        assert again is not None
        proxy.mend()
        assert await again.confirmed()
        assert (await state(client, stream)).messages == AT_ONCE
        await sink.publish(run[:1])
        assert (await state(client, stream)).messages == AT_ONCE + 1


async def test_a_sink_that_is_not_open_sends_nothing(nats_server: Server) -> None:
    stream, subject = names()
    sink = Nats(nats_server.url).stream(stream, subject=subject).sink()
    assert await sink.send(run_of(subject, 0)) is None
    async with opened(sink):
        pass
    assert await sink.send(run_of(subject, 0)) is None


# -- the connection ----------------------------------------------------------------------------------------------------


async def test_confirms_of_two_that_are_lost_make_no_second_message(
    nats_server: Server, proxy: Proxy, client: Any
) -> None:
    stream, subject = names()
    endpoint = Nats(proxy.url).stream(stream, subject=subject)
    sink = endpoint.sink()
    first, second = run_of(subject, 0), run_of(subject, 100)
    async with opened(sink):
        proxy.stall("answers")
        one, two = await sink.send(first), await sink.send(second)
        assert one is not None
        assert two is not None
        await stored(client, stream, 200)
        lost = anyio.Event()
        one.then(lost.set)
        proxy.reset()
        proxy.mend()
        with anyio.fail_after(5):
            await lost.wait()
        await through(sink, (one, first), (two, second))
        assert (await state(client, stream)).messages == 200
        await sink.publish(run_of(subject, 200))
    assert await arrived(nats_server, endpoint, 300) == list(range(300))


@pytest.mark.parametrize("share", [0.2, 0.7])
async def test_a_connection_that_breaks_half_way_loses_nothing_doubles_nothing_and_keeps_the_order(
    nats_server: Server, proxy: Proxy, client: Any, share: float
) -> None:
    stream, subject = names()
    endpoint = Nats(proxy.url).stream(stream, subject=subject)
    sink = endpoint.sink()
    filling = b" " * 2000
    first, second = run_of(subject, 0, 256), run_of(subject, 256, 256)
    for each in first + second:
        each.raw = (each.raw or b"") + filling
    async with opened(sink):
        proxy.slow(bytes_per_second=1_000_000)
        one, two = await sink.send(first), await sink.send(second)
        assert one is not None
        assert two is not None
        await stored(client, stream, int(512 * share))
        proxy.reset()
        proxy.mend()
        assert (await state(client, stream)).messages < 512
        await through(sink, (one, first), (two, second))
        assert (await state(client, stream)).messages == 512
        assert proxy.resets > 0
    assert await arrived(nats_server, endpoint, 512) == list(range(512))


async def test_nothing_is_sent_over_a_newer_connection_than_what_is_on_its_way(proxy: Proxy, client: Any) -> None:
    stream, subject = names()
    sink = Nats(proxy.url).stream(stream, subject=subject).sink()
    first, second = run_of(subject, 0), run_of(subject, 101)
    async with opened(sink):
        proxy.stall("answers")
        one = await sink.send(first)
        assert one is not None
        proxy.reset()
        proxy.mend()
        await insist(lambda: sink.publish(run_of(subject, 100, 1)))  # another task's
        assert await sink.send(second) is None
        await through(sink, (one, first))
        two = await sink.send(second)
        assert two is not None
        assert await two.confirmed()
        assert (await state(client, stream)).messages == 201


async def test_a_server_that_confirms_nothing_is_given_up_in_time_for_both(
    nats_server: Server, proxy: Proxy, client: Any
) -> None:
    stream, subject = names()
    endpoint = Nats(proxy.url, timeout=0.3, connect_timeout=0.5).stream(stream, subject=subject)
    sink = endpoint.sink()
    first, second = run_of(subject, 0), run_of(subject, 100)
    async with opened(sink):
        proxy.stall("answers")
        one, two = await sink.send(first), await sink.send(second)
        assert one is not None
        assert two is not None
        with pytest.raises(BrokerUnavailable, match="not confirmed in time"):
            await one.confirmed()
        with anyio.fail_after(0.25):
            assert not await two.confirmed()
        proxy.mend()
        await insist(lambda: sink.publish(first))
        await insist(lambda: sink.publish(second))
        assert (await state(client, stream)).messages == 200
    assert await arrived(nats_server, endpoint, 200) == list(range(200))


async def test_a_publisher_has_two_runs_on_their_way_and_a_connection_that_breaks_under_them_costs_nothing(
    nats_server: Server, proxy: Proxy, client: Any
) -> None:
    stream, subject = names()
    endpoint = Nats(proxy.url).stream(stream, subject=subject)
    owner, clock, counts = Completed(), VirtualClock(), Counts()
    mailbox: Mailbox[Message] = Mailbox(2000, "outlet")
    link = Link(clock, logger, "stream")
    worker = PublishWorker(
        "to:stream",
        mailbox,
        endpoint.sink(),
        encoder_of=lambda kind: lambda body: str(body).encode(),
        unpublishable=lambda body, error: RuntimeError(str(error)),
        retries=Retries("to:stream", mailbox, clock, counts, logger),
        link=link,
        counts=counts,
        destination=subject,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        await eventually(lambda: answered(link))
        proxy.stall("answers")
        mailbox.put_nowait([delivery(number, owner) for number in range(2000)])
        await stored(client, stream, 2 * worker.take)
        assert counts.published == 0
        proxy.reset()
        proxy.mend()
        mailbox.close()
    assert [receipt.message.body for receipt in owner] == list(range(2000))
    assert (await state(client, stream)).messages == 2000
    assert await arrived(nats_server, endpoint, 2000) == list(range(2000))
    await worker.sink.close()


# -- the stream --------------------------------------------------------------------------------------------------------


async def test_a_stream_that_is_full_refuses_both_until_it_has_room(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    await client.jetstream().add_stream(name=stream, subjects=[subject], max_msgs=3, discard="new")
    endpoint = Nats(nats_server.url).stream(stream, subject=subject)
    sink = endpoint.sink()
    first, second = run_of(subject, 0, 5), run_of(subject, 5, 5)
    async with opened(sink):
        one, two = await sink.send(first), await sink.send(second)
        assert one is not None
        assert two is not None
        full = anyio.Event()
        one.then(full.set)
        with anyio.fail_after(5):
            await full.wait()
        assert await sink.send(run_of(subject, 10, 5)) is None
        with refusal(stream, "maximum messages exceeded", "raise the limits"):
            await one.confirmed()
        with pytest.raises(BrokerRefused):
            await two.confirmed()
        await client.jetstream().update_stream(name=stream, subjects=[subject], max_msgs=100, discard="new")
        await sink.publish(first)
        await sink.publish(second)
        three = await sink.send(run_of(subject, 10, 5))
        assert three is not None
        assert await three.confirmed()
    assert await arrived(nats_server, endpoint, 15) == list(range(15))
    assert (await state(client, stream)).messages == 15


async def test_a_stream_that_somebody_deletes_is_made_anew_for_both(nats_server: Server, client: Any) -> None:
    stream, subject = names()
    endpoint = Nats(nats_server.url).stream(stream, subject=subject)
    sink = endpoint.sink()
    first, second = run_of(subject, 0), run_of(subject, 100)
    async with opened(sink):
        await client.jetstream().delete_stream(stream)
        one, two = await sink.send(first), await sink.send(second)
        assert one is not None
        assert two is not None
        assert [await one.confirmed(), await two.confirmed()] == [False, False]
        await sink.publish(first)
        await sink.publish(second)
        assert (await state(client, stream)).messages == 200
    assert await arrived(nats_server, endpoint, 200) == list(range(200))
