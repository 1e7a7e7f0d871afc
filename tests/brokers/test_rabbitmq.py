"""RabbitMQ on a real server: queues of both kinds and exchanges under the contract of all brokers, and beyond it."""

import json
from typing import Any
from uuid import uuid4

import anyio
import pytest

from actors import BrokerUnavailable, Message, Origin, PublishError, TopologyError
from engine import broker
from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.declare import QueueSpec
from engine.rabbitmq.endpoints import EXCHANGE, QUEUE, RabbitExchange, RabbitQueue
from tests.brokers.contract import BrokerContract, fetched, message, numbers, opened
from tests.brokers.surviving import insist
from tests.servers.rabbitmq import RabbitMQ as Server

pytestmark = pytest.mark.anyio


def fresh(what: str = "orders") -> str:
    """A name that no other test uses."""
    return f"{what}-{uuid4().hex[:12]}"


@pytest.fixture
def rabbit(rabbitmq_server: Server) -> RabbitMQ:
    return RabbitMQ(rabbitmq_server.url)


class RabbitContract(BrokerContract):
    capabilities = QUEUE
    moment = 0.5

    async def quiet(self) -> None:
        await anyio.sleep(0.05)


class TestQuorumQueueContract(RabbitContract):
    @pytest.fixture
    def endpoint(self, rabbit: RabbitMQ) -> RabbitQueue:
        return rabbit.queue(fresh())


class TestClassicQueueContract(RabbitContract):
    @pytest.fixture
    def endpoint(self, rabbit: RabbitMQ) -> RabbitQueue:
        return rabbit.queue(fresh(), kind="classic")

    async def test_each_delivery_is_counted(self, endpoint: Any) -> None:
        """As far as a classic queue tells: the first, or not the first."""
        source = endpoint.source("readers")
        await self.publish(endpoint, message(1))
        for attempt in (1, 2, 2):
            async with opened(source):
                (got,) = await source.fetch(10)
                assert got.attempt == attempt


class TestExchangeContract(RabbitContract):
    capabilities = EXCHANGE

    @pytest.fixture
    async def endpoint(self, rabbit: RabbitMQ) -> RabbitExchange:
        """With a queue for the group of most tests: what is published before anybody has one is refused."""
        exchange = rabbit.exchange(fresh(), routing_key="orders.new")
        async with opened(exchange.source("readers")):
            return exchange


# -- queues ----------------------------------------------------------------------------------------------------


async def test_messages_are_persistent_and_queues_outlive_the_server(rabbit: RabbitMQ) -> None:
    queue, passing = rabbit.queue(fresh()), rabbit.queue(fresh(), kind="classic", persistent=False)
    modes = []
    for endpoint in (queue, passing):
        source = endpoint.source("g")
        async with rabbit, opened(source):
            await endpoint.publish("a")
            (got,) = await source.fetch(1)
            modes.append(got.record.delivery_mode)
            await source.settle([got], [])
    assert modes == [2, 1]
    assert QueueSpec().durable
    assert QueueSpec().table((3, 10)) == {"x-queue-type": "quorum"}


def test_a_server_that_would_drop_what_it_delivered_twenty_times_is_told_not_to() -> None:
    assert QueueSpec().table((4, 0, 1)) == {"x-queue-type": "quorum", "x-delivery-limit": -1}
    assert QueueSpec(delivery_limit=7).table((4, 0, 1))["x-delivery-limit"] == 7
    assert QueueSpec(kind="classic").table((4, 0, 1)) == {"x-queue-type": "classic"}


async def test_a_template_declares_each_queue_that_it_names(rabbit: RabbitMQ) -> None:
    name = fresh()
    sink = rabbit.queue(f"{name}.{{tenant}}", kind="classic").sink()
    async with opened(sink):
        await sink.publish([message(number, f"{name}.{number % 3}") for number in range(9)])
    for tenant in range(3):
        source = rabbit.queue(f"{name}.{tenant}", kind="classic").source("g")
        async with opened(source):
            assert numbers(await fetched(source, 3)) == [tenant, tenant + 3, tenant + 6]


async def test_a_queue_that_was_deleted_is_declared_again(rabbit: RabbitMQ, rabbitmq_server: Server) -> None:
    queue = rabbit.queue(fresh())
    sink = queue.sink()
    async with opened(sink):
        await sink.publish([message(1, queue.name)])
        await anyio.to_thread.run_sync(rabbitmq_server.ctl, "delete_queue", queue.name)
        with pytest.raises(PublishError, match=r"no queue takes it \(NO_ROUTE\)") as refused:
            await sink.publish([message(2, queue.name)])
        assert list(refused.value.failures) == [0]
        await sink.publish([message(2, queue.name)])
    source = queue.source("g")
    async with opened(source):
        assert numbers(await source.fetch(5)) == [2]


async def test_a_full_queue_refuses_for_now_what_is_too_much_and_takes_the_rest_once(rabbitmq_server: Server) -> None:
    queue = RabbitMQ(rabbitmq_server.url, timeout=0.2).queue(fresh(), kind="classic", max_length=5)
    sink, source = queue.sink(), queue.source("g", 1)
    run = [message(number, queue.name) for number in range(20)]
    async with opened(sink):
        with pytest.raises(BrokerUnavailable, match="destination refuses for now: a queue is full"):
            await sink.publish(run)
        async with opened(source):
            seen = await drained_while(sink, source, run)
    assert sorted(seen) == list(range(20)), "what was taken before is not there twice"


async def drained_while(sink: Any, source: Any, run: list[Message]) -> list[int]:
    """Publish while somebody makes room; what that one got."""
    seen: list[int] = []

    async def publish() -> None:
        await insist(lambda: sink.publish(run))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publish)
        while len(seen) < len(run):
            taken = await source.fetch(1)
            seen += numbers(taken)
            await source.settle(taken, [])
    with anyio.move_on_after(0.2):
        seen += numbers(await source.fetch(1))
    return seen


async def test_a_full_queue_is_waited_for_while_somebody_reads_it(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), kind="classic", max_length=5)
    source, sink, seen = queue.source("g", 1), queue.sink(), list[int]()
    async with opened(source, sink), anyio.create_task_group() as tasks:
        tasks.start_soon(sink.publish, [message(number, queue.name) for number in range(30)])
        while len(seen) < 30:
            run = await source.fetch(1)
            seen += numbers(run)
            await source.settle(run, [])
    assert sorted(seen) == list(range(30))


async def test_higher_priorities_come_first(rabbit: RabbitMQ) -> None:
    plain = rabbit.queue(fresh(), kind="classic", max_priority=9)
    urgent = rabbit.queue(plain.name, kind="classic", max_priority=9, priority=5)
    async with rabbit:
        await plain.publish(1)
        await urgent.publish(2)
        await plain.publish(3, headers={"amqp-priority": "9"})
        await urgent.publish(4, headers={"amqp-priority": "0"})
    source = plain.source("g")
    async with opened(source):
        run = await fetched(source, 4)
    assert numbers(run) == [3, 2, 1, 4]
    assert [each.headers for each in run] == [{"amqp-priority": "9"}, {"amqp-priority": "5"}, {}, {}]


async def test_what_has_expired_does_not_come(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), kind="classic", expiration=0.0)
    whole = rabbit.queue(fresh(), ttl=0.0)
    async with rabbit:
        await queue.publish(1)
        await queue.publish(2, headers={"amqp-expiration": "60"})
        await whole.publish(3)
    source, other = queue.source("g"), whole.source("g")
    async with opened(source, other):
        (got,) = await source.fetch(5)
        assert (got.raw, got.headers) == (b"2", {})
        assert got.record.expiration == 60
        with anyio.move_on_after(0.1):
            assert await other.fetch(1) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Message(raw="text"), "the body is str"),  # type: ignore[arg-type]
        (Message(raw=b"", key=7), "the key is int"),  # type: ignore[arg-type]
        (Message(raw=b"", key="\udc80"), "surrogates"),
        (Message(raw=b"", headers={"a": 1}), "header a is int"),  # type: ignore[dict-item]
        (Message(raw=b"", headers={"n" * 256: "a"}), "256 bytes"),
        (Message(raw=b"", headers={"a": "x" * 200_000}), "put them into the body"),
        (Message(raw=b"", headers={"amqp-priority": "high"}), "invalid literal"),
        (Message(raw=b"", headers={"amqp-priority": "256"}), "from 0 to 255"),
        (Message(raw=b"", headers={"amqp-expiration": "-1"}), "expected a number"),
        (Message(raw=b"", headers={"amqp-expiration": "nan"}), "expected a number"),
        (Message(raw=b"", reply_to="r" * 256), "256 bytes"),
        (Message(raw=b"", id="i" * 256), "256 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_no_frame_can_carry_is_refused_and_the_rest_is_published(
    rabbit: RabbitMQ, wrong: Message, why: str
) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    wrong.destination = queue.name
    async with opened(sink, source):
        with pytest.raises(PublishError, match=why) as refused:
            await sink.publish([message(0, queue.name), wrong, message(2, queue.name)])
        assert list(refused.value.failures) == [1]
        assert numbers(await fetched(source, 2)) == [0, 2]


async def test_a_name_that_is_too_long_is_refused(rabbit: RabbitMQ) -> None:
    name = fresh()
    sink = rabbit.queue(f"{name}.{{tenant}}", kind="classic").sink()
    async with opened(sink):
        with pytest.raises(PublishError, match="255") as refused:
            await sink.publish([message(0, f"{name}.a"), message(1, f"{name}.{'x' * 255}")])
        assert list(refused.value.failures) == [1]


async def test_names_may_be_in_any_language(rabbit: RabbitMQ) -> None:
    name = fresh("größe|*%~= ")
    exchange, queue = (
        rabbit.exchange(f"{name}/e", routing_key="λ.*"),
        rabbit.queue(name, bind=rabbit.exchange(f"{name}/e")),
    )
    by_group, by_queue = exchange.source("gruppe"), queue.source("g")
    async with opened(by_group, by_queue), rabbit:
        await rabbit.exchange(f"{name}/e", routing_key="λ.1").publish(1)
        assert [(each.raw, each.source) for each in await by_group.fetch(5)] == [(b"1", f"{name}/e/λ.1")]
        await queue.publish(2)
        assert numbers(await fetched(by_queue, 2)) == [1, 2]


# -- what a message carries ------------------------------------------------------------------------------------


async def test_the_type_of_a_body_is_told(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    avro = {"content-type": "application/avro", "content-encoding": "gzip"}
    async with rabbit:
        await queue.publish({"a": 1})
        await queue.publish("text")
        await queue.publish(b"bytes")
        await queue.publish(b"bytes", headers=avro)
        await queue.publish({"made": "of avro"}, headers=avro)
        await queue.publish({"a": 1}, headers={"content-type": "application/cloudevents+json"})
    source = queue.source("g")
    async with opened(source):
        run = await fetched(source, 6)
    assert [(each.record.content_type, each.record.content_encoding) for each in run] == [
        ("application/json", None),
        ("text/plain", None),
        ("application/octet-stream", None),
        ("application/avro", "gzip"),
        ("application/json", None),
        ("application/cloudevents+json", None),
    ]
    assert [each.headers for each in run] == [{}, {}, {}, avro, {}, {"content-type": "application/cloudevents+json"}]


async def test_every_message_has_an_id_of_its_own_and_a_time(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    sink, source = queue.sink(), queue.source("g")
    async with opened(sink, source):
        await sink.publish([message(0, queue.name), message(1, queue.name), message(2, queue.name, id="mine")])
        run = await fetched(source, 3)
    assert len({each.id for each in run}) == 3
    assert run[2].id == "mine"
    assert all(each.timestamp and each.timestamp > 1_600_000_000 for each in run)


async def test_the_record_is_aio_pikas_message_and_leaves_the_settling_to_the_engine(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh())
    source = queue.source("g")
    async with rabbit, opened(source):
        await queue.publish({"a": 1}, headers={"h": "v"}, id="i", correlation_id="c")
        (got,) = await source.fetch(1)
        record = got.record
        assert (record.routing_key, record.message_id, record.correlation_id) == (queue.name, "i", "c")
        assert (json.loads(record.body), record.headers["h"], record.redelivered) == ({"a": 1}, "v", False)
        with pytest.raises(TypeError):
            await record.ack()


async def test_the_count_of_a_quorum_queue_is_not_passed_on(rabbit: RabbitMQ) -> None:
    queue, behind = rabbit.queue(fresh()), rabbit.queue(fresh())
    source, sink, end = queue.source("g"), behind.sink(), behind.source("g")
    async with rabbit:
        await queue.publish(1)
        for _ in range(2):
            async with opened(source):
                await source.fetch(1)
        async with opened(source, sink, end):
            (got,) = await source.fetch(1)
            assert (got.attempt, got.headers) == (3, {})
            forged = message(1, behind.name, headers={"x-delivery-count": "7"})
            await sink.publish([forged])
            (again,) = await end.fetch(1)
            assert again.attempt == 1


# -- exchanges -------------------------------------------------------------------------------------------------


async def test_a_topic_exchange_goes_by_the_routing_key_which_may_be_a_template(rabbit: RabbitMQ) -> None:
    name = fresh("events")
    europe, everything = rabbit.exchange(name, routing_key="eu.*"), rabbit.exchange(name)
    one, other, sink = (
        europe.source("europe"),
        everything.source("all"),
        rabbit.exchange(name, routing_key="{a}.{b}").sink(),
    )
    async with opened(one, other, sink):
        await sink.publish([message(1, f"{name}/eu.ann"), message(2, f"{name}/us.bob")])
        run = await fetched(other, 2)
        assert [(each.raw, each.source) for each in run] == [(b"1", f"{name}/eu.ann"), (b"2", f"{name}/us.bob")]
        assert numbers(await one.fetch(5)) == [1]


async def test_what_no_queue_takes_is_an_error_of_its_message_alone(rabbit: RabbitMQ) -> None:
    name = fresh("events")
    source, sink = (
        rabbit.exchange(name, routing_key="known").source("g"),
        rabbit.exchange(name, routing_key="{a}").sink(),
    )
    async with opened(source, sink):
        run = [message(number, f"{name}/{'known' if number % 2 else 'unknown'}") for number in range(200)]
        with pytest.raises(PublishError, match="bind a queue") as refused:
            await sink.publish(run)
        assert sorted(refused.value.failures) == list(range(0, 200, 2))
        assert numbers(await fetched(source, 100)) == list(range(1, 200, 2))
        with pytest.raises(PublishError, match="is no exchange/routing_key"):
            await sink.publish([message(1, name)])
    silent = rabbit.exchange(name, routing_key="unknown", mandatory=False)
    async with rabbit:
        await silent.publish("nobody hears it")


async def test_two_that_look_the_same_are_both_refused(rabbit: RabbitMQ) -> None:
    name = fresh("events")
    source = rabbit.exchange(name, type="headers", match={"kind": "order"}).source("g")
    sink = rabbit.exchange(name, type="headers").sink()
    async with opened(source, sink):
        run = [message(1, name, id="same", headers={"kind": kind}) for kind in ("order", "other")]
        with pytest.raises(PublishError) as refused:
            await sink.publish(run)
        assert 1 in refused.value.failures
        (got,) = await source.fetch(2)
        assert got.headers == {"kind": "order"}


async def test_a_fanout_gives_every_group_everything(rabbit: RabbitMQ) -> None:
    fanout = rabbit.exchange(fresh("events"), type="fanout")
    sources, sink = [fanout.source(group) for group in ("a", "b")], fanout.sink()
    async with opened(*sources, sink):
        await sink.publish([message(number, fanout.name, key=str(number)) for number in range(10)])
        for source in sources:
            assert numbers(await fetched(source, 10)) == list(range(10))


async def test_a_consistent_hash_of_the_key_keeps_order_by_key_across_engines(rabbit: RabbitMQ) -> None:
    exchange = rabbit.exchange(fresh("events"), type="x-consistent-hash")
    queues = [rabbit.queue(fresh(), single_active_consumer=True, bind=exchange) for _ in range(2)]
    assert all(queue.capabilities.partitioned for queue in queues)
    sources, sink = [queue.source("g") for queue in queues], exchange.sink()
    async with opened(*sources, sink):
        run = [message(number, exchange.name, key=f"customer-{number % 20}") for number in range(200)]
        await sink.publish(run)
        found: dict[str, set[int]] = {}
        got: list[list[Message]] = [[], []]
        async with anyio.create_task_group() as tasks:

            async def read(at: int) -> None:
                while sum(map(len, got)) < 200:
                    got[at] += await sources[at].fetch(100)
                tasks.cancel_scope.cancel()

            tasks.start_soon(read, 0)
            tasks.start_soon(read, 1)
    for at, part in enumerate(got):
        for each in part:
            found.setdefault(str(each.key), set()).add(at)
    assert len(found) == 20
    assert all(len(places) == 1 for places in found.values())
    assert all(part for part in got)
    for part in got:
        assert numbers(part) == sorted(numbers(part))


async def test_a_queue_may_be_bound_to_several_exchanges(rabbit: RabbitMQ) -> None:
    direct = rabbit.exchange(fresh("direct"), type="direct", routing_key="new")
    topic = rabbit.exchange(fresh("topic"), routing_key="order.*")
    queue = rabbit.queue(fresh(), bind=[direct, topic])
    source = queue.source("g")
    async with rabbit, opened(source):
        await direct.publish(1)
        await rabbit.exchange(topic.spec.name, routing_key="order.paid").publish(2)
        run = await fetched(source, 2)
        assert numbers(run) == [1, 2]
        assert {each.source for each in run} == {queue.name}


async def test_one_active_consumer_takes_over_when_the_other_leaves(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), single_active_consumer=True)
    first, second = queue.source("g"), queue.source("g")
    async with rabbit, opened(second), opened(first):
        await queue.publish(1)
        (got,) = await second.fetch(1)
        assert got.raw == b"1"
        with anyio.move_on_after(0.1):
            assert await first.fetch(1) == []
        await second.close()
        assert numbers(await first.fetch(1)) == [1]


# -- from outside ----------------------------------------------------------------------------------------------


async def test_one_who_asks_by_direct_reply_to_is_answered(rabbit: RabbitMQ, rabbitmq_server: Server) -> None:
    import aio_pika

    queue = rabbit.queue(fresh(), kind="classic")
    source, sink = queue.source("g"), queue.reply_to(queue.name).sink()
    answers: list[Any] = []
    async with opened(source, sink), await aio_pika.connect(rabbitmq_server.url) as connection:
        channel = await connection.channel()
        there = anyio.Event()

        async def heard(answer: Any) -> None:
            answers.append((answer.body, answer.correlation_id))
            there.set()

        inbox = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        await inbox.consume(heard, no_ack=True)
        asked = aio_pika.Message(b"1", reply_to="amq.rabbitmq.reply-to", correlation_id="q")
        await channel.default_exchange.publish(asked, queue.name)
        (got,) = await source.fetch(1)
        assert got.reply_to
        answer = message(2, got.reply_to, origin=Origin(correlation_id=got.correlation_id))
        await sink.publish([answer, message(3, "nobody-there-any-more")])
        with anyio.fail_after(10):
            await there.wait()
    assert answers == [(b"2", "q")]


async def test_an_inbox_goes_with_its_broker(rabbit: RabbitMQ, rabbitmq_server: Server) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    async with rabbit:
        with pytest.raises(TimeoutError):
            await queue.request({}, timeout=0.2)
        source = queue.source("g")
        async with opened(source):
            (asked,) = await source.fetch(1)
    listed = await anyio.to_thread.run_sync(rabbitmq_server.ctl, "list_queues", "name")
    assert queue.name in listed
    assert str(asked.reply_to) not in listed


async def test_sources_share_a_connection_and_sinks_another(rabbit: RabbitMQ) -> None:
    queues = [rabbit.queue(fresh(), kind="classic") for _ in range(3)]
    ports: list[Any] = [queue.source("g") for queue in queues] + [queue.sink() for queue in queues]
    async with opened(*ports):
        reading, writing = await rabbit.reading().wire(), await rabbit.writing().wire()
        assert {port._lives.now.wire for port in ports[:3]} == {reading}
        assert {port._lives.now.wire for port in ports[3:]} == {writing}
        assert reading is not writing
        await queues[0].source("never opened").close()
    assert reading.lost.done()
    assert writing.lost.done()


# -- what it is, and what it says of itself --------------------------------------------------------------------


def test_endpoints_are_values() -> None:
    rabbit, other = RabbitMQ("amqp://localhost"), RabbitMQ("amqp://localhost")
    assert rabbit.queue("a") == rabbit.queue("a", arguments={})
    assert len({rabbit.queue("a"), rabbit.queue("a", ttl=1), rabbit.queue("b"), other.queue("a")}) == 4
    assert rabbit.queue("a", arguments={"x": [1]}) != rabbit.queue("a")
    assert len({rabbit.exchange("a"), rabbit.exchange("a", routing_key="k"), rabbit.exchange("a", type="fanout")}) == 3
    assert rabbit.queue("a").options == {}
    assert rabbit.queue("a", kind="classic", ttl=2.5, priority=3).options == {
        "kind": "classic",
        "ttl": 2.5,
        "priority": 3,
    }
    exchange = rabbit.exchange("e", type="headers", match={"a": "b"}, group="g", mandatory=False)
    assert exchange.options == {"type": "headers", "match": {"a": "b"}, "group": "g", "mandatory": False}
    assert rabbit.exchange("a/b", routing_key="c").name == "a/b/c"
    bound = rabbit.queue("q", bind=[rabbit.exchange("a", routing_key="*"), rabbit.exchange("b", type="fanout")])
    assert json.dumps(bound.options) == '{"bind": ["a/*", "b/"]}'


def test_it_says_where_it_is_and_never_the_password() -> None:
    rabbit = RabbitMQ("amqp://me:secret@[::1]:5673/shop", name="x")
    assert repr(rabbit) == "RabbitMQ([::1]:5673/shop)"
    assert repr(rabbit.queue("orders")) == "RabbitMQ([::1]:5673/shop).queue('orders')"
    assert repr(rabbit.exchange("e", routing_key="k")) == "RabbitMQ([::1]:5673/shop).exchange('e/k')"
    assert repr(rabbit.queue("orders").source("g")) == f"<source of {rabbit.queue('orders')!r}: closed>"
    assert repr(rabbit.queue("orders").sink()) == f"<sink of {rabbit.queue('orders')!r}: closed>"
    assert "secret" not in f"{rabbit.__dict__}"


async def test_ports_say_how_far_they_are(rabbit: RabbitMQ) -> None:
    queue = rabbit.queue(fresh(), kind="classic")
    source, sink = queue.source("g"), queue.sink()
    async with opened(source, sink):
        await sink.publish([message(number, queue.name) for number in range(3)])
        await source.fetch(1)
        with anyio.fail_after(10):
            while "2 waiting" not in repr(source):
                await anyio.sleep(0.005)
        assert repr(source) == f"<source of {queue!r}: 2 waiting, 3 unsettled>"
        assert repr(sink) == f"<sink of {queue!r}: 0 unconfirmed>"


@pytest.mark.parametrize(
    ("url", "where", "of_url"),
    [
        ("amqp://h", "h:5672", "amqp://guest:guest@h:5672/"),
        ("amqps://h/", "h:5671", "amqps://guest:guest@h:5671/"),
        ("amqp://u:p%2F%40@h:1/a%2Fb", "h:1/a/b", "amqp://u:p%2F%40@h:1/a%2Fb"),
        ("amqp://h/%2F", "h:5672", "amqp://guest:guest@h:5672/"),
        ("amqp://h?heartbeat=5&name=x&timeout=2.5", "h:5672", "amqp://guest:guest@h:5672/"),
    ],
)
def test_a_url_says_where_a_broker_is(url: str, where: str, of_url: str) -> None:
    rabbit = broker(url)
    assert isinstance(rabbit, RabbitMQ)
    assert repr(rabbit) == f"RabbitMQ({where})"
    assert rabbit._options.url.partition("?")[0] == of_url


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: broker("amqp://u:se/cret@h"), "port is no number"),
        (lambda: broker("amqp:"), "names a scheme"),
        (lambda: RabbitMQ("http://u:secret@h"), "names a scheme"),
        (lambda: broker("amqp://u:secret@h:99999"), "port is no number"),
        (lambda: broker("amqp://u:secret@h?heart_beat=1"), r"no option heart_beat=\n  did you mean heartbeat=\?"),
        (lambda: broker("amqp://u:secret@h?heartbeat=soon"), "heartbeat"),
        (lambda: RabbitMQ("amqp://u:secret@h", prefetch=1), "no option prefetch="),
        (lambda: RabbitMQ("amqp://u:secret@h", timeout=0), "timeout"),
        (lambda: RabbitMQ().queue(""), "1 to 255 bytes"),
        (lambda: RabbitMQ().queue("q", kind="stream"), "streams cannot be read yet"),  # type: ignore[arg-type]
        (lambda: RabbitMQ().queue("q", durable=False), "a quorum queue is always durable"),
        (lambda: RabbitMQ().queue("q", max_priority=5), 'only kind="classic"'),
        (lambda: RabbitMQ().queue("q", kind="classic", delivery_limit=5), "only quorum queues"),
        (lambda: RabbitMQ().queue("q", ttl=-1), "0 or more"),
        (lambda: RabbitMQ().queue("q", max_length=0), "1 or more"),
        (lambda: RabbitMQ().queue("q", max_length=1, overflow="drop"), "drop-head"),  # type: ignore[arg-type]
        (lambda: RabbitMQ().queue("q", bind=RabbitMQ().exchange("e", type="direct")), "name their routing key"),
        (lambda: RabbitMQ().queue("q", bind=RabbitMQ().exchange("e", routing_key="{a}")), "is a template"),
        (lambda: RabbitMQ().queue("q", bind="events"), r"queue\('q', bind='events'\): expected exchanges"),  # type: ignore[arg-type]
        (lambda: RabbitMQ().queue("q", bind=[RabbitMQ().queue("p")]), "expected exchanges"),  # type: ignore[list-item]
        (lambda: RabbitMQ().exchange("e", type="queue"), "known are topic"),  # type: ignore[arg-type]
        (lambda: RabbitMQ().exchange(""), "1 to 255 bytes"),
        (lambda: RabbitMQ().queue("q.{a}").source("g"), "is a template"),
        (lambda: RabbitMQ().exchange("e", routing_key="{a}").source("g"), "is a template"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(wrong: Any, why: str) -> None:
    with pytest.raises(TopologyError, match=why) as refused:
        wrong()
    assert "cret" not in str(refused.value)
