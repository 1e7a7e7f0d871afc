"""RabbitMQ has something against a single message: that one is refused, and neither the others nor the sink are."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from aiormq import spec

from actors import BrokerRefused, BrokerUnavailable, Message, PublishError
from engine.rabbitmq.broker import RabbitMQ
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.surviving import insist
from tests.brokers.test_rabbitmq import fresh
from tests.brokers.test_rabbitmq_faults import proxy, until
from tests.brokers.test_rabbitmq_sent import confirmed, sent
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ as Server

__all__ = ["proxy"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def rabbit(rabbitmq_server: Server) -> RabbitMQ:
    return RabbitMQ(rabbitmq_server.url)


def run_of(name: str, *headers: Any) -> list[Message]:
    """Messages with those headers, numbered."""
    return [message(number, name, headers=each) for number, each in enumerate(headers)]


# -- headers that RabbitMQ takes for its own --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CC", "BCC"])
async def test_a_header_that_rabbitmq_would_route_by_is_carried_under_another_name(rabbit: RabbitMQ, name: str) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    given: dict[str, str | bytes] = {name: "boss@example.com", "a": "b"}
    async with opened(sink, source):
        with anyio.fail_after(10):
            await sink.publish(run_of(queue.name, None, given, None))
            await sink.publish([message(3, queue.name)])
            run = await fetched(source, 4)
    assert numbers(run) == [0, 1, 2, 3]
    assert [each.headers for each in run] == [{}, given, {}, {}]
    assert run[1].record.headers == {f"headrace-{name.lower()}": "boss@example.com", "a": "b"}
    assert given == {name: "boss@example.com", "a": "b"}


async def test_copies_that_another_has_sent_are_not_sent_again(rabbit: RabbitMQ) -> None:
    queue, copy, behind = (rabbit.queue(fresh(), kind="classic") for _ in range(3))
    first, other, last = queue.source("g"), copy.source("g"), behind.source("g")
    sink, copying = behind.sink(), copy.sink()
    async with opened(first, other, last, sink, copying):
        wire = await rabbit.reading().wire()
        async with wire.channel() as channel:
            properties = spec.Basic.Properties(headers={"CC": [copy.name]})
            await channel.basic_publish(b"1", routing_key=queue.name, properties=properties)
        with anyio.fail_after(10):
            (came,) = await first.fetch(1)
            assert numbers(await other.fetch(9)) == [1]
            assert came.headers == {"CC": f'["{copy.name}"]'}
            await sink.publish([message(2, behind.name, headers=came.headers)])
            (again,) = await last.fetch(9)
            assert again.headers == came.headers
            await copying.publish([message(3, copy.name)])
            assert numbers(await other.fetch(9)) == [3], "no copy of the second came before"


# -- a channel that is closed over one message ------------------------------------------------------------------


@pytest.fixture
def as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """`CC` goes to the server as text: a message that it closes the channel over."""
    monkeypatch.setattr("engine.rabbitmq.messages._GOING", ())


@pytest.mark.usefixtures("as_text")
async def test_a_message_that_the_server_calls_invalid_is_refused_alone(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh())
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        with anyio.fail_after(20):
            with pytest.raises(PublishError, match=r"invalid message.*see to its headers") as refused:
                await sink.publish(run_of(queue.name, None, {"CC": "x"}, None))
            assert list(refused.value.failures) == [1]
            await sink.publish([message(3, queue.name)])
            assert list(dict.fromkeys(await numbers_until(source, 3))) == [0, 2, 3]
        assert not sink._confirmed


@pytest.mark.usefixtures("as_text")
async def test_runs_on_their_way_with_an_invalid_message_are_published_and_all_but_that_one_arrive(
    rabbit: RabbitMQ,
) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        one, other = run_of(queue.name, None, {"CC": "x"}, None), [message(3, queue.name)]
        first, second = await sent(sink, one), await sent(sink, other)
        assert await confirmed(first, second) == [False, False]
        with pytest.raises(PublishError) as refused:
            await sink.publish(one)
        assert list(refused.value.failures) == [1]
        await sink.publish(other)
        assert list(dict.fromkeys(await numbers_until(source, 3))) == [0, 2, 3]


@pytest.mark.usefixtures("as_text")
async def test_whoever_shares_the_channel_with_an_invalid_message_is_not_taken_for_it(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source), anyio.create_task_group() as tasks:

        async def invalid() -> None:
            for _ in range(3):
                with pytest.raises(PublishError):
                    await sink.publish(run_of(queue.name, {"CC": "x"}))

        tasks.start_soon(invalid)
        for number in range(40):
            await sink.publish([message(number, queue.name)])
        assert list(dict.fromkeys(await numbers_until(source, 39))) == list(range(40))


@pytest.mark.usefixtures("as_text")
async def test_what_a_full_queue_refuses_beside_an_invalid_message_is_waited_for(rabbitmq_server: Server) -> None:
    queue = RabbitMQ(rabbitmq_server.url, timeout=0.2).queue(fresh(), kind="classic", max_length=2)
    sink, source = queue.sink(), queue.source("g")
    run = run_of(queue.name, {"CC": "x"}, None, None, None, None)
    async with opened(sink):
        with anyio.fail_after(10), pytest.raises(BrokerUnavailable, match="refuses for now"):
            await sink.publish(run)
        async with opened(source), anyio.create_task_group() as tasks:

            async def publish() -> None:
                with pytest.raises(PublishError) as refused:
                    await insist(lambda: sink.publish(run))
                assert list(refused.value.failures) == [0]

            tasks.start_soon(publish)
            assert numbers(await fetched(source, 4)) == [1, 2, 3, 4]


@pytest.mark.usefixtures("as_text")
async def test_what_has_nowhere_to_go_beside_an_invalid_message_is_told_though_the_connection_was_lost(
    rabbit: RabbitMQ, proxy: Proxy
) -> None:
    exchange = RabbitMQ(proxy.url).exchange(fresh(), routing_key="a")
    bound = rabbit.exchange(exchange.spec.name, routing_key="a")
    source = rabbit.queue(fresh(), kind="classic", max_length=1, bind=bound).source("g")
    sink = exchange.sink()
    run = run_of(exchange.name, None, {"CC": "x"}, None, None)
    run[0].destination = f"{exchange.spec.name}/nowhere"
    async with opened(source):
        pass
    async with opened(sink):
        async with anyio.create_task_group() as tasks:

            async def publish() -> None:
                with pytest.raises(BrokerUnavailable, match="connection was lost"):
                    await sink.publish(run)

            tasks.start_soon(publish)
            await until(lambda: run[2] in sink._confirmed)  # the next is refused: the queue is full
            proxy.reset()
        async with opened(source):
            await source.settle(await fetched(source, 1), [])
            with anyio.fail_after(20), pytest.raises(PublishError) as refused:
                await insist(lambda: sink.publish(run))
            assert sorted(refused.value.failures) == [0, 1]
            assert numbers(await fetched(source, 1)) == [3]


# -- rights that depend on where a message goes -----------------------------------------------------------------


@pytest.fixture
async def limited(rabbitmq_server: Server) -> AsyncIterator[tuple[RabbitMQ, str]]:
    """A user who may publish to an exchange of that name with routing keys that begin with `open`."""
    server, name = rabbitmq_server, fresh("user")

    def make() -> None:
        server.ctl("add_user", name, "secret")
        server.ctl("set_permissions", name, ".*", f"^({name}|amq.default)$", ".*")
        server.ctl("set_topic_permissions", name, name, "^open", ".*")

    await anyio.to_thread.run_sync(make)
    yield RabbitMQ(f"amqp://{name}:secret@{server.host}:{server.port}/"), name
    await anyio.to_thread.run_sync(server.ctl, "delete_user", name)


@pytest.mark.parametrize("routing_key", ["{}", None], ids=["by template", "by key"])
async def test_a_routing_key_that_the_user_may_not_publish_with_is_an_error_of_its_message(
    rabbit: RabbitMQ, limited: tuple[RabbitMQ, str], routing_key: str | None
) -> None:
    mine, name = limited
    source = rabbit.exchange(name).source("g")
    sink = mine.exchange(name, routing_key=routing_key).sink()
    keys = ["open.1", "closed.1", "open.2"]
    run = [message(at, f"{name}/{key}" if routing_key else name, key=key) for at, key in enumerate(keys)]
    async with opened(source, sink):
        with anyio.fail_after(20):
            with pytest.raises(PublishError, match=r"ACCESS_REFUSED - access to topic 'closed\.1'") as refused:
                await sink.publish(run)
            assert list(refused.value.failures) == [1]
            await sink.publish(run[2:])
            assert set(await numbers_until(source, 2)) == {0, 2}


async def test_a_place_where_the_user_may_not_publish_at_all_stops_the_sink(
    rabbit: RabbitMQ, limited: tuple[RabbitMQ, str]
) -> None:
    mine, name = limited
    fixed = mine.exchange(name, routing_key="closed").sink()
    elsewhere = mine.exchange(f"not-{name}", routing_key="{}").sink()
    async with opened(fixed, elsewhere):
        with pytest.raises(BrokerRefused, match="access to topic 'closed'"):
            await fixed.publish([message(1, f"{name}/closed")])
        with pytest.raises(BrokerRefused, match="access to exchange"):
            await elsewhere.publish([message(1, f"not-{name}/open")])


async def numbers_until(source: Any, last: int) -> list[int]:
    """The numbers that come, up to that one, which is the last of all."""
    seen: list[int] = []
    with anyio.fail_after(10):
        while last not in seen:
            seen += numbers(await source.fetch(256))
    return seen
