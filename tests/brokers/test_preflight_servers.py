"""The pre-flight on the four real servers, with settings made weak on purpose; and that it changes nothing there."""

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import aio_pika
import anyio
import nats as nats_py
import pytest
import redis.asyncio as redis_py
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from actors import BrokerRefused, BrokerUnavailable, Capabilities, Endpoint
from engine import broker
from engine.brokers.findings import Edge, Role, Verdict
from engine.kafka.broker import Kafka
from engine.kafka.preflight import inspect as inspect_kafka
from engine.memory import Memory
from engine.nats.broker import Nats
from engine.nats.preflight import inspect as inspect_nats
from engine.preflight import preflight
from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.preflight import inspect as inspect_rabbit
from engine.redis.broker import Redis
from engine.redis.preflight import inspect as inspect_redis
from tests.brokers.contract import message, numbers, opened
from tests.brokers.kafkas import administration, make, raw_producer
from tests.servers.kafka import Kafka as KafkaServer
from tests.servers.nats import Nats as NatsServer
from tests.servers.ports import free_port
from tests.servers.rabbitmq import RabbitMQ as RabbitServer
from tests.servers.redis import Redis as RedisServer
from tests.servers.redis import RedisCluster, RedisSentinel
from tests.servers.site import Site
from tests.topologies.drawn import Place, Server
from topologies import Topology

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def fresh() -> str:
    return f"p-{uuid4().hex}"


MADE = {"redis": "stream", "nats": "stream", "rabbitmq": "queue", "kafka": "topic"}


def any_endpoint(kind: str, url: str) -> Any:
    return getattr(broker(url), MADE[kind])(f"{fresh()}")


async def look(inspect: Any, endpoint: Any, role: Role = "source", **more: Any) -> Verdict:
    (verdict,) = await inspect(endpoint.broker, [Edge(role, "check", endpoint, **{"group": "orders.check", **more})])
    assert isinstance(verdict, Verdict)
    return verdict


def found(verdict: Verdict) -> dict[str, str]:
    return {finding.setting: finding.level for finding in verdict.findings}


# -- redis -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def weakened(server: RedisServer, **settings: str) -> AsyncIterator[Any]:
    """A client of a server with these settings, which get their old values back."""
    client = redis_py.Redis.from_url(server.url)
    before = {name: (await client.config_get(name))[name] for name in (each.replace("_", "-") for each in settings)}
    try:
        for name, weak in settings.items():
            await client.config_set(name.replace("_", "-"), weak)
        yield client
    finally:
        for name, old in before.items():
            await client.config_set(name, old or "")
        await client.aclose()


async def test_a_redis_that_evicts_and_keeps_nothing_on_disk_says_so(redis_server: RedisServer) -> None:
    stream = Redis(redis_server.url).stream(fresh())
    async with weakened(redis_server, maxmemory="500mb", maxmemory_policy="allkeys-lru", appendonly="no") as client:
        await client.xadd(stream.name, {"body": "x"})
        verdict = await look(inspect_redis, stream)
    assert not verdict.kept
    assert found(verdict)["maxmemory-policy=allkeys-lru"] == "warning"
    assert found(verdict)["appendonly=no, save="] == "warning"
    advice = [finding.advice for finding in verdict.findings]
    assert "maxmemory-policy noeviction" in advice


async def test_a_redis_that_writes_each_command_down_is_as_safe_as_its_disk(redis_server: RedisServer) -> None:
    async with weakened(redis_server, appendfsync="always"):
        verdict = await look(inspect_redis, Redis(redis_server.url).list(fresh()))
    assert verdict.guarantee == "at least once, but an acknowledged message goes with the machine's disk"


async def test_entries_that_were_trimmed_before_a_group_had_read_them_are_counted(redis_server: RedisServer) -> None:
    stream = Redis(redis_server.url).stream(fresh(), group="readers")
    async with weakened(redis_server) as client:
        await client.xgroup_create(stream.name, "readers", id="0", mkstream=True)
        for number in range(10):
            await client.xadd(stream.name, {"body": str(number)})
        await client.xreadgroup("readers", "me", {stream.name: ">"}, count=3)
        await client.xtrim(stream.name, maxlen=2, approximate=False)
        verdict = await look(inspect_redis, stream)
    assert "5 entries went before this group had read them" in verdict.guarantee


async def test_a_name_that_holds_something_else_lets_nothing_pass(redis_server: RedisServer) -> None:
    stream = Redis(redis_server.url).stream(fresh())
    async with weakened(redis_server) as client:
        await client.set(stream.name, "text")
        verdict = await look(inspect_redis, stream)
    assert verdict.guarantee == "nothing passes: it is a string, not a stream"


async def test_a_user_who_may_not_read_the_settings_is_told_what_could_not_be_read(redis_server: RedisServer) -> None:
    async with weakened(redis_server, appendfsync="everysec") as client:
        await client.execute_command("ACL", "SETUSER", "few", "on", ">s3cret", "~*", "+@all", "-config")
        try:
            url = f"redis://few:s3cret@{redis_server.host}:{redis_server.port}/0"
            verdict = await look(inspect_redis, Redis(url).stream(fresh()))
        finally:
            await client.execute_command("ACL", "DELUSER", "few")
    assert "at least once, as far as it can be told" in verdict.guarantee
    (unread,) = [finding for finding in verdict.findings if finding.level == "unread"]
    assert "config|get" in unread.means
    assert "+config|get" in unread.advice
    assert "appendfsync=everysec" not in found(verdict)
    assert "s3cret" not in str(verdict.as_json())


async def test_sentinels_are_found_to_lose_at_a_failover_a_cluster_without_replicas_with_a_disk(servers: Site) -> None:
    cluster, sentinel = servers.get(RedisCluster), servers.get(RedisSentinel)
    urls = [
        cluster.url.replace("redis://", "redis-cluster://").removesuffix("/0"),
        f"redis+sentinel://{sentinel.nodes[0].host}:{sentinel.sentinel_port}/{sentinel.service}",
    ]
    alone, followed = [await look(inspect_redis, Redis(url).stream(fresh())) for url in urls]
    assert "a failover loses what the replica did not have yet" in followed.guarantee
    assert "goes with the machine's disk" in alone.guarantee
    (replica,) = [each for each in sentinel.redis if each is not sentinel.primary]
    refused = await look(inspect_redis, Redis(replica.url).stream(fresh()))
    assert refused.guarantee == "nothing passes: this server is a replica, and takes no messages"


# -- kafka -----------------------------------------------------------------------------------------------------


async def test_an_odd_topic_says_what_it_loses(kafka_server: KafkaServer) -> None:
    topic = Kafka(kafka_server.bootstrap).topic(fresh())
    odd = {"cleanup_policy": "compact,delete", "retention_ms": "60000", "max_message_bytes": "2000"}
    await make(kafka_server, topic.name, 2, **odd)
    verdict = await look(inspect_kafka, topic, "destination")
    levels = found(verdict)
    assert levels["cleanup.policy=compact,delete"] == levels["retention.ms=60000"] == "warning"
    assert levels["replication factor=1"] == "limit"
    assert levels["max.message.bytes=2000"] == "note"
    assert not verdict.kept


async def test_min_insync_replicas_that_there_are_not_let_nothing_pass(kafka_server: KafkaServer) -> None:
    topic = Kafka(kafka_server.bootstrap).topic(fresh())
    await make(kafka_server, topic.name, min_insync_replicas="2")
    verdict = await look(inspect_kafka, topic, "destination")
    assert verdict.guarantee.startswith("nothing passes: no message is ever confirmed")


async def test_committed_offsets_before_the_log_are_counted_as_lost(kafka_server: KafkaServer) -> None:
    topic = Kafka(kafka_server.bootstrap).topic(fresh(), group=fresh())
    await make(kafka_server, topic.name)
    async with raw_producer(kafka_server) as producer:
        for number in range(10):
            await producer.send_and_wait(topic.name, str(number).encode())
    assert topic.group is not None
    await _commit(kafka_server, topic.name, topic.group, 3)
    async with administration(kafka_server) as client:
        await client.delete_records({(_place(topic.name)): _records(8)})
    verdict = await look(inspect_kafka, topic)
    assert "5 messages were deleted before this group had read them" in verdict.guarantee
    assert "2 messages wait" in " ".join(finding.means for finding in verdict.findings)


def _place(topic: str) -> Any:
    return TopicPartition(topic, 0)


def _records(before: int) -> Any:
    return RecordsToDelete(before)


async def _commit(server: KafkaServer, topic: str, group: str, offset: int) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=server.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([_place(topic)])
        await consumer.commit({_place(topic): offset})
    finally:
        await consumer.stop()


async def test_messages_that_are_soon_deleted_before_the_group_reads_them_are_counted(
    kafka_server: KafkaServer,
) -> None:
    topic = Kafka(kafka_server.bootstrap).topic(fresh(), group=fresh())
    hour = 3_600_000
    await make(kafka_server, topic.name, retention_ms=str(10 * hour))
    now = round(time.time() * 1000)
    async with raw_producer(kafka_server) as producer:
        for age in (9.5, 9, 9, 8, 1, 0):
            await producer.send_and_wait(topic.name, b"x", timestamp_ms=now - round(age * hour))
    assert topic.group is not None
    await _commit(kafka_server, topic.name, topic.group, 1)
    verdict = await look(inspect_kafka, topic)
    assert "3 messages that this group has not read are soon deleted" in verdict.guarantee
    await _commit(kafka_server, topic.name, topic.group, 4)
    assert (await look(inspect_kafka, topic)).kept


async def test_a_user_without_rights_is_told_that_nothing_passes(kafka_server: KafkaServer) -> None:
    name = fresh()
    await make(kafka_server, name)
    host = f"{kafka_server.host}:{kafka_server.login_port}"
    kafka = Kafka(host, user=kafka_server.limited, password=kafka_server.password)
    for role in ("source", "destination"):
        verdict = await look(inspect_kafka, kafka.topic(name), role)
        assert verdict.guarantee.startswith("nothing passes")
        assert "AuthorizationFailed" in verdict.guarantee
        assert kafka_server.password not in str(verdict.as_json())


async def test_a_pattern_is_looked_at_by_a_topic_that_matches(kafka_server: KafkaServer) -> None:
    name = fresh()
    await make(kafka_server, f"{name}.eu", retention_bytes="1000")
    verdict = await look(inspect_kafka, Kafka(kafka_server.bootstrap).topic(pattern=rf"{name}\..*"))
    assert found(verdict)["retention.bytes=1000"] == "warning"


# -- rabbitmq --------------------------------------------------------------------------------------------------


async def test_amqp_alone_tells_what_is_there_and_the_pre_flight_what_it_does_not(
    rabbitmq_server: RabbitServer,
) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url)
    weak = await look(inspect_rabbit, rabbit.queue(fresh(), kind="classic", durable=False), "destination")
    assert found(weak)["durable=false"] == "warning"
    assert "as far as it can be told" in weak.guarantee
    undeclared = await look(inspect_rabbit, rabbit.queue(fresh(), declare=False), "destination")
    assert undeclared.guarantee == "nothing passes: there is none, and declare=False"
    there = rabbit.queue(fresh(), declare=False)
    async with channel(rabbitmq_server) as amqp:
        queue = await amqp.declare_queue(there.name, durable=True)
        verdict = await look(inspect_rabbit, there, "destination")
        await queue.delete()
        await amqp.declare_queue(there.name, exclusive=True)
        locked = await look(inspect_rabbit, there, "destination")
    assert found(verdict) == {"kind, durability and limits": "unread"}
    assert locked.guarantee.startswith("nothing passes: RESOURCE_LOCKED")
    assert 'management="http://' in verdict.findings[0].advice


@contextlib.asynccontextmanager
async def channel(server: RabbitServer) -> AsyncIterator[Any]:
    connection = await aio_pika.connect(server.url)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


@pytest.mark.timeout(120)  # it starts a server of its own, whose API is some seconds late
async def test_the_management_api_tells_of_queues_policies_bindings_and_alarms(servers: Site) -> None:
    server = servers.get(RabbitServer, management=True)
    rabbit = RabbitMQ(server.url, management=server.management_url)
    weak, dropping = rabbit.queue(fresh(), declare=False), rabbit.queue(fresh(), declare=False)
    events = rabbit.exchange(fresh(), declare=False)
    async with channel(server) as amqp:
        await amqp.declare_queue(weak.name, auto_delete=True, arguments={"x-message-ttl": 5000})
        await amqp.declare_queue(dropping.name, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 9})
        await amqp.declare_exchange(events.name, aio_pika.ExchangeType.TOPIC)
        server.ctl("set_policy", "short", f"^{dropping.name}$", '{"max-length": 3}')
        limited = await eventually(dropping, "x-max-length=3, overflow=drop-head")
        verdicts = [await look(inspect_rabbit, weak, "destination"), limited]
        verdicts.append(await look(inspect_rabbit, events, "destination"))
        server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            alarmed = await eventually(dropping, "alarms")
        finally:
            server.ctl("set_vm_memory_high_watermark", "0.6")
    first, second, third = map(found, verdicts)
    assert first == {
        "auto-delete=true": "warning",
        "durable=false": "warning",
        "x-message-ttl=5000": "warning",
    }
    assert second == {"members=1": "limit", "x-max-length=3, overflow=drop-head": "warning"}
    assert third == {f"exchange {events.name}": "refused"}
    assert "short of memory" in alarmed.guarantee


async def eventually(endpoint: Any, setting: str) -> Verdict:
    """The API tells of policies and alarms some seconds late."""
    with anyio.fail_after(20):
        while True:
            verdict = await look(inspect_rabbit, endpoint, "destination")
            if setting in found(verdict):
                return verdict
            await anyio.sleep(0.1)


async def test_a_management_api_that_is_not_there_is_told_and_hides_nothing_else(rabbitmq_server: RabbitServer) -> None:
    rabbit = RabbitMQ(rabbitmq_server.url, management=f"http://127.0.0.1:{free_port()}")
    verdict = await look(inspect_rabbit, rabbit.queue(fresh(), ttl=5), "destination")
    assert found(verdict)["x-message-ttl=5000"] == "warning"
    assert found(verdict)["management"] == "unread"


# -- nats ------------------------------------------------------------------------------------------------------


async def test_a_stream_with_limits_and_its_consumer_say_what_they_lose(nats_server: NatsServer) -> None:
    stream = Nats(nats_server.url).stream(fresh(), subject=fresh(), durable="readers")
    client = await nats_py.connect(nats_server.url)
    try:
        config = StreamConfig(
            name=stream.stream,
            subjects=[stream.name],
            storage=StorageType.MEMORY,
            max_msgs=5,
            max_age=60,
            retention=RetentionPolicy.LIMITS,
        )
        await client.jetstream().add_stream(config)
        reader = ConsumerConfig(durable_name="readers", max_deliver=3, filter_subject=stream.name)
        await client.jetstream().add_consumer(stream.stream, reader)
        written = await look(inspect_nats, stream, "destination")
        read = await look(inspect_nats, stream)
    finally:
        await client.close()
    assert found(written)["storage=memory"] == "warning"
    assert found(written)["max_msgs=5, discard=old"] == "warning"
    assert found(written)["max_age=1m"] == "warning"
    assert "restart of the server loses everything" in written.guarantee
    assert found(read)["max_deliver=3"] == "refused"


async def test_messages_that_went_before_the_consumer_got_them_are_counted(nats_server: NatsServer) -> None:
    stream = Nats(nats_server.url).stream(fresh(), durable="readers")
    client = await nats_py.connect(nats_server.url)
    try:
        await client.jetstream().add_stream(StreamConfig(name=stream.stream, subjects=[stream.stream], max_msgs=4))
        await client.jetstream().add_consumer(stream.stream, ConsumerConfig(durable_name="readers"))
        for _ in range(10):
            await client.jetstream().publish(stream.stream, b"x")
        verdict = await look(inspect_nats, stream)
    finally:
        await client.close()
    assert "6 messages were deleted before this consumer got them" in verdict.guarantee


async def test_the_monitoring_tells_how_often_the_disk_is_written(servers: Site) -> None:
    port = free_port()
    server = servers.get(NatsServer, settings={"http": f"127.0.0.1:{port}"})
    monitored = Nats(server.url, monitoring=f"http://127.0.0.1:{port}")
    verdict = await look(inspect_nats, monitored.stream(fresh()), "destination")
    assert found(verdict)["sync_interval=2m"] == "limit"
    without = await look(inspect_nats, Nats(server.url).stream(fresh()), "destination")
    assert found(without)["sync_interval"] == "unread"


async def test_a_server_without_jetstream_lets_nothing_pass(servers: Site) -> None:
    accounts = {"A": {"users": [{"user": "a", "password": "a"}]}}
    plain = servers.get(NatsServer, settings={"accounts": accounts, "no_auth_user": "a", "authorization": {}})
    verdict = await look(inspect_nats, Nats(plain.open_url).stream(fresh()))
    assert verdict.guarantee.startswith("nothing passes: the server said: ")
    assert "-js" in verdict.guarantee or "JetStream" in verdict.guarantee


async def test_a_nats_user_without_rights_is_told_that_nothing_passes(servers: Site) -> None:
    few = {"user": "few", "password": "s3cret", "permissions": {"publish": ["other"], "subscribe": [">"]}}
    server = servers.get(NatsServer, settings={"authorization": {"users": [few]}, "no_auth_user": "few"})
    url = f"nats://few:s3cret@{server.host}:{server.port}"
    verdict = await look(inspect_nats, Nats(url).stream(fresh()))
    assert verdict.guarantee.startswith("nothing passes: the server said: permissions violation")
    assert "s3cret" not in str(verdict.as_json())


# -- all of them -----------------------------------------------------------------------------------------------


def topology_of(*endpoints: Endpoint) -> Topology:
    topology = Topology("orders")
    publishers = [topology.publisher(endpoint, name=f"to{at}") for at, endpoint in enumerate(endpoints)]

    @topology.subscriber(*endpoints, key=lambda message: message.key)
    async def check(order: dict) -> dict:
        return order

    @topology.router(check, to=publishers)
    def route(order: dict) -> Any:
        return publishers[0]

    return topology


@pytest.mark.parametrize("auto", ["true", "false"])
async def test_looking_makes_nothing_changes_nothing_and_takes_nothing(
    servers: Site, redis_server: RedisServer, nats_server: NatsServer, rabbitmq_server: RabbitServer, auto: str
) -> None:
    # Kafka by itself: a server that is new has not yet made the topic of the groups' offsets, and makes missing ones.
    kafka_server = servers.get(KafkaServer, settings={"auto.create.topics.enable": auto})
    before = await everything(redis_server, nats_server, rabbitmq_server, kafka_server)
    rabbit, nats = RabbitMQ(rabbitmq_server.url), Nats(nats_server.url)
    endpoints: Sequence[Endpoint] = (
        Redis(redis_server.url).stream(fresh()),
        Redis(redis_server.url).list(fresh()),
        Kafka(kafka_server.bootstrap).topic(fresh()),
        rabbit.queue(fresh()),
        rabbit.exchange(fresh()),
        nats.stream(fresh()),
    )
    flight = await preflight([topology_of(*endpoints).graph()], 20)
    assert not flight.failures
    assert len(flight.verdicts[0]) == 18
    assert all(verdict.promise is not None for verdict in flight.verdicts[0])
    assert await everything(redis_server, nats_server, rabbitmq_server, kafka_server) == before


@pytest.mark.parametrize("kind", MADE)
async def test_what_waits_is_still_there_and_was_delivered_to_nobody(request: pytest.FixtureRequest, kind: str) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    endpoint = any_endpoint(kind, server.url)
    group = "orders.check"
    await publish(endpoint, 1, 2, 3)
    assert await taken(endpoint, group) == [(1, 1), (2, 1), (3, 1)]
    await publish(endpoint, 4, 5, 6)
    topology = topology_of(endpoint)
    for _ in range(2):
        flight = await preflight([topology.graph()], 20)
        assert flight.verdicts[0][0].promise == "at least once"
    assert await taken(endpoint, group) == [(4, 1), (5, 1), (6, 1)]


async def publish(endpoint: Any, *bodies: int) -> None:
    sink = endpoint.sink()
    async with opened(sink):
        await sink.publish([message(body, endpoint.name) for body in bodies])


async def taken(endpoint: Any, group: str) -> list[tuple[int, int]]:
    """Three messages that wait, and which delivery of each it was; they are done then."""
    source = endpoint.source(group)
    run: list[Any] = []
    async with opened(source):
        with anyio.fail_after(20):
            while len(run) < 3:
                run += await source.fetch(3 - len(run))
        await source.settle(run, ())
    return [(number, each.attempt) for number, each in zip(numbers(run), run, strict=True)]


async def everything(redis: RedisServer, nats: NatsServer, rabbit: RabbitServer, kafka: KafkaServer) -> dict[str, Any]:
    """All that there is on the servers and does not go by itself, as what other tests have left may."""
    client = redis_py.Redis.from_url(redis.url)
    keys = sorted([key for key in await client.keys("*") if await client.ttl(key) == -1])
    await client.aclose()
    connected = await nats_py.connect(nats.url)
    streams = {each.config.name: each.state.consumer_count for each in await connected.jetstream().streams_info()}
    await connected.close()
    async with administration(kafka) as admin:
        topics = sorted(await admin.list_topics())
        groups = sorted(await admin.list_consumer_groups())
    while "true" in rabbit.ctl("list_queues", "exclusive"):
        await anyio.sleep(0.2)
    listed = [rabbit.ctl(f"list_{what}", *columns) for what, columns in _LISTED.items()]
    return {"keys": keys, "streams": streams, "topics": topics, "groups": groups, "rabbitmq": listed}


_LISTED = {"queues": ("name", "messages"), "exchanges": ("name",), "bindings": ("source_name", "destination_name")}


async def test_a_server_out_of_reach_is_named_and_the_others_are_looked_at(
    redis_server: RedisServer, nats_server: NatsServer
) -> None:
    nowhere = Kafka(f"127.0.0.1:{free_port()}")
    topology = topology_of(Redis(redis_server.url).stream(fresh()), nowhere.topic("orders"))
    flight = await preflight([topology.graph()], 5)
    ((broker, error),) = flight.failures
    assert broker is nowhere
    assert isinstance(error, BrokerUnavailable)
    promises = {verdict.edge.endpoint.broker.system: verdict.promise for verdict in flight.verdicts[0]}
    assert promises == {"redis": "at least once", "kafka": None}


@pytest.mark.parametrize("kind", MADE)
async def test_a_server_that_hangs_is_given_up_in_time_and_hides_no_other(
    request: pytest.FixtureRequest, kind: str
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    topology = topology_of(any_endpoint(kind, server.url), Memory().topic("fine"))
    server.pause()
    try:
        with anyio.fail_after(10):
            flight = await preflight([topology.graph()], 0.5)
    finally:
        server.resume()
    await anyio.wait_all_tasks_blocked()  # what was closed has to be let go of before the loop ends
    ((_, error),) = flight.failures
    assert "no answer within 0.5 s" in str(error)
    assert {each.edge.endpoint.broker.system for each in flight.verdicts[0] if each.promise} == {"memory"}


async def test_a_connection_that_breaks_once_is_no_server_out_of_reach(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def breaking(*asked: Any) -> Any:
        tries.append(asked)
        if len(tries) == 1:
            raise BrokerUnavailable("the connection broke")
        return await inspect_redis(*asked)

    monkeypatch.setattr("engine.redis.preflight.inspect", breaking)
    flight = await preflight([topology_of(Redis(redis_server.url).stream(fresh())).graph()], 5)
    assert (len(tries), flight.failures) == (2, ())


@pytest.mark.parametrize("kind", MADE)
async def test_a_wrong_password_is_refused_and_not_shown(request: pytest.FixtureRequest, kind: str) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    endpoint = any_endpoint(kind, server.login_url.replace(server.password, "wr0ng"))
    flight = await preflight([topology_of(endpoint).graph()], 10)
    ((_, error),) = flight.failures
    assert isinstance(error, BrokerRefused), repr(error)
    assert "wr0ng" not in str(error) + str([verdict.as_json() for verdict in flight.verdicts[0]])


async def test_a_broker_of_somebody_elses_has_what_it_says_and_is_told_to_be_unread() -> None:
    weak = Place(Server("nats"), "prices", can=Capabilities(redelivery=False))
    flight = await preflight([topology_of(weak).graph()], 1)
    first = flight.verdicts[0][0]
    assert (first.guarantee, first.kept) == ("at most once, as far as it can be told", True)


async def test_what_nobody_has_thought_of_costs_the_look_at_that_server_alone(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(*asked: Any) -> Any:
        raise KeyError("redis_version")

    monkeypatch.setattr("engine.redis.preflight._server", odd)
    topology = topology_of(Redis(redis_server.url).stream(fresh()), Memory().topic("fine"))
    flight = await preflight([topology.graph()], 5)
    ((_, error),) = flight.failures
    assert "cannot be looked at: KeyError('redis_version')" in str(error)
    assert {each.edge.endpoint.broker.system for each in flight.verdicts[0] if each.promise} == {"memory"}
