"""What settings make of an edge: the decisions of the pre-flight, broker by broker, without a server."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.brokers.findings import Edge, Finding, Level, Role, Verdict
from engine.kafka import verdicts as kafka
from engine.kafka.broker import Kafka
from engine.memory import Memory
from engine.memory.preflight import judge as judge_memory
from engine.nats import preflight as nats
from engine.nats.broker import Nats
from engine.rabbitmq import verdicts as rabbit
from engine.rabbitmq.broker import RabbitMQ
from engine.redis import preflight as redis
from engine.redis.broker import Redis

LEVELS: tuple[Level, ...] = ("refused", "warning", "limit", "note", "unread")


def edge(endpoint: Any, role: Role = "source", **options: Any) -> Edge:
    return Edge(role, "check", endpoint, **{"group": "orders.check", **options})


def levels(verdict: Verdict) -> dict[str, Level]:
    """The level of each setting that was found."""
    return {finding.setting: finding.level for finding in verdict.findings}


# -- the vocabulary --------------------------------------------------------------------------------------------

findings = st.lists(
    st.builds(Finding, st.sampled_from(LEVELS), st.just("setting=1"), st.text("abc ", min_size=1), st.just("")),
    max_size=6,
)


@given(findings)
def test_a_guarantee_names_whatever_takes_from_it_and_is_kept_only_without(found: list[Finding]) -> None:
    verdict = Verdict(edge(Memory().topic("t")), "at least once", tuple(found))
    grave = [finding.means for finding in found if finding.level in ("refused", "warning")]
    assert verdict.kept == (not grave)
    refused = any(finding.level == "refused" for finding in found)
    for finding in found:
        if finding.level == "refused" or (finding.level in ("warning", "limit") and not refused):
            assert finding.means in verdict.guarantee
    if all(finding.level == "note" for finding in found):
        assert verdict.guarantee == "at least once"


@given(findings)
def test_a_setting_that_was_not_told_is_never_passed_over(found: list[Finding]) -> None:
    told = Verdict(edge(Memory().topic("t")), "at least once", tuple(found)).guarantee
    refused = any(finding.level == "refused" for finding in found)
    unread = any(finding.level == "unread" for finding in found)
    assert refused or ("as far as it can be told" in told) == unread


def test_an_edge_whose_server_does_not_answer_promises_nothing() -> None:
    assert Verdict(edge(Memory().topic("t")), problem="no answer").guarantee == "not known"


def test_the_embedded_broker_is_gone_with_its_process() -> None:
    verdict = judge_memory(edge(Memory().topic("t")))
    assert verdict.guarantee == "at least once, within this process, but all messages go with the process"
    assert verdict.kept


@pytest.mark.parametrize("name", ["orders.{customer}", "orders"])
def test_where_messages_say_where_they_go_only_the_server_itself_was_looked_at(name: str) -> None:
    verdict = redis.judge(edge(Redis().stream(name), "destination"), redis.Server(settings=SAFE), redis.Key())
    assert ("as far as it can be told" in verdict.guarantee) == ("{" in name)


# -- redis -----------------------------------------------------------------------------------------------------

SAFE = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory": "0", "maxmemory-policy": "noeviction"}
STREAM = Redis().stream("orders")


def of_redis(
    settings: dict[str, str] | None = None, endpoint: Any = STREAM, role: Role = "source", **more: Any
) -> Verdict:
    key = more.pop("key", redis.Key("stream"))
    server = redis.Server((7, 0, 15), **{"replicas": 1, **more}, settings=SAFE | (settings or {}))
    return redis.judge(edge(endpoint, role), server, key)


def test_a_redis_that_writes_all_at_once_and_has_replicas_that_must_have_it_is_limited_by_failover_alone() -> None:
    verdict = of_redis({"min-replicas-to-write": "1"})
    assert levels(verdict) == {"min-replicas-to-write=1": "limit"}


@pytest.mark.parametrize(
    ("settings", "setting", "level"),
    [
        ({"appendonly": "no"}, "appendonly=no, save=", "warning"),
        ({"appendonly": "no", "save": "60 1"}, "appendonly=no, save=60 1", "warning"),
        ({"appendfsync": "everysec"}, "appendfsync=everysec", "limit"),
        ({"appendfsync": "no"}, "appendfsync=no", "limit"),
        ({"maxmemory": "1000", "maxmemory-policy": "allkeys-lru"}, "maxmemory-policy=allkeys-lru", "warning"),
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy=allkeys-lru", "note"),
        ({"min-replicas-to-write": "0"}, "min-replicas-to-write=0", "limit"),
    ],
)
def test_each_setting_of_redis_that_takes_from_the_promise_is_found(
    settings: dict[str, str], setting: str, level: Level
) -> None:
    verdict = of_redis(settings)
    assert levels(verdict)[setting] == level
    assert verdict.kept == (level != "warning")


def test_a_redis_that_evicts_only_keys_that_expire_evicts_no_stream_that_does_not() -> None:
    volatile = {"maxmemory": "1000", "maxmemory-policy": "volatile-lru"}
    assert of_redis(volatile).kept
    assert not of_redis(volatile, key=redis.Key("stream", expires=True)).kept


def test_pub_sub_is_at_most_once_whatever_the_server_does() -> None:
    assert of_redis(endpoint=Redis().channel("c")).promise == "at most once"


def test_what_a_redis_refuses_to_tell_is_told_and_never_guessed() -> None:
    verdict = redis.judge(edge(STREAM), redis.Server(denied=("NOPERM no",)), redis.Key())
    assert verdict.guarantee == "at least once, as far as it can be told"
    assert [finding.level for finding in verdict.findings] == ["unread"]


def test_a_key_of_another_type_an_old_server_trimming_and_entries_lost_already_are_found() -> None:
    assert not of_redis(key=redis.Key("list")).kept
    assert "needs Redis 6.2" in redis.judge(edge(STREAM), redis.Server((5, 0)), redis.Key()).guarantee
    assert levels(of_redis(endpoint=Redis().stream("out", maxlen=10), role="destination"))["maxlen=10"] == "warning"
    lost = of_redis(key=redis.Key("stream", trimmed_unread=1200))
    assert "1,200 entries went before this group had read them" in lost.guarantee


# -- kafka -----------------------------------------------------------------------------------------------------

TOPIC = Kafka().topic("orders")
DURABLE = {
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
}


def of_kafka(settings: dict[str, str] | None = None, role: Role = "destination", **more: Any) -> Verdict:
    broker = Kafka(**more.pop("options", {}))
    cluster = kafka.Cluster(more.pop("cluster", {}), 3)
    topic = kafka.Topic(**{"partitions": 3, "replicas": 3, "settings": DURABLE | (settings or {}), **more})
    found = edge(broker.topic("orders"), role, max_body=1_000_000)
    return kafka.judge(found, broker.options, cluster, topic)


def test_a_kafka_with_three_replicas_two_of_which_confirm_has_the_whole_promise() -> None:
    verdict = of_kafka()
    assert (verdict.guarantee, verdict.findings) == ("at least once", ())


@pytest.mark.parametrize(
    ("settings", "more", "setting", "level"),
    [
        ({"min.insync.replicas": "1"}, {"replicas": 1}, "replication factor=1", "limit"),
        ({"min.insync.replicas": "1"}, {}, "min.insync.replicas=1, replication factor=3", "limit"),
        ({"min.insync.replicas": "4"}, {}, "min.insync.replicas=4, replication factor=3", "refused"),
        ({}, {"insync": 1}, "min.insync.replicas=2, in sync=1", "refused"),
        ({"unclean.leader.election.enable": "true"}, {}, "unclean.leader.election.enable=true", "warning"),
        ({"cleanup.policy": "compact"}, {}, "cleanup.policy=compact", "warning"),
        ({"cleanup.policy": "compact,delete"}, {}, "cleanup.policy=compact,delete", "warning"),
        ({"retention.ms": "60000"}, {}, "retention.ms=60000", "warning"),
        ({"retention.ms": "604800000"}, {}, "retention.ms=604800000", "note"),
        ({"retention.bytes": "1000"}, {}, "retention.bytes=1000", "warning"),
        ({"max.message.bytes": "1000"}, {}, "max.message.bytes=1000", "note"),
        ({}, {"options": {"acks": 1, "idempotent": False}}, "acks=1", "warning"),
        ({}, {"options": {"idempotent": False}}, "idempotent=False", "note"),
        ({}, {"there": False}, "topic orders", "note"),
        ({}, {"there": False, "options": {"create_topics": False}}, "topic orders", "refused"),
        ({}, {"problem": "TopicAuthorizationFailedError"}, "topic orders", "refused"),
    ],
)
def test_each_setting_of_kafka_that_takes_from_the_promise_is_found(
    settings: dict[str, str], more: dict[str, Any], setting: str, level: Level
) -> None:
    verdict = of_kafka(settings, **more)
    assert levels(verdict)[setting] == level
    assert verdict.kept == (level not in ("refused", "warning"))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(-1, 120))
def test_a_committed_offset_outside_of_the_log_is_a_warning_and_one_inside_is_none(
    first: int, more: int, committed: int
) -> None:
    span = kafka.Span(first, first + more, committed)
    verdict = of_kafka(role="source", spans=(span,))
    inside = committed == -1 or first <= committed <= first + more
    assert verdict.kept == inside
    if 0 <= committed < first:
        assert f"{first - committed:,} messages were deleted before this group had read them" in verdict.guarantee


def test_what_a_group_has_before_it_is_told_beside_the_retention() -> None:
    verdict = of_kafka({"retention.ms": "60000"}, role="source", spans=(kafka.Span(5, 20, 10),))
    assert "what is not read within 1 min is deleted; 10 messages wait" in verdict.guarantee


def test_a_session_that_the_group_does_not_allow_and_short_memories_are_found() -> None:
    cluster = {"group.min.session.timeout.ms": "30000", "offsets.retention.minutes": "60"}
    found = levels(of_kafka(role="source", cluster=cluster))
    assert found["group.min.session.timeout.ms=30000"] == "refused"
    assert found["offsets.retention.minutes=60"] == "note"
    slow = levels(of_kafka(role="source", options={"revoke_drain": 60.0}))
    assert slow["revoke_drain=60"] == "note"


# -- rabbitmq --------------------------------------------------------------------------------------------------

QUEUE = RabbitMQ().queue("orders")
NODE = rabbit.Node((3, 13, 0), told=True, alarms=())
QUORUM = rabbit.Queue(True, kind="quorum", members=3, policies=True)


def of_rabbit(
    queue: rabbit.Queue, role: Role = "destination", node: rabbit.Node = NODE, endpoint: Any = QUEUE
) -> Verdict:
    return rabbit.judge(edge(endpoint, role), node, queue)


def test_a_quorum_queue_of_three_members_has_the_whole_promise() -> None:
    verdict = of_rabbit(QUORUM)
    assert (verdict.guarantee, verdict.findings) == ("at least once", ())


@pytest.mark.parametrize(
    ("changes", "setting", "level"),
    [
        ({"members": 1}, "members=1", "limit"),
        ({"kind": "classic", "members": None}, "x-queue-type=classic", "limit"),
        ({"kind": "classic", "durable": False}, "durable=false", "warning"),
        ({"auto_delete": True}, "auto-delete=true", "warning"),
        ({"exclusive": True}, "exclusive=true", "refused"),
        ({"settings": {"expires": 1000}}, "x-expires=1000", "warning"),
        ({"settings": {"max-length": 5}}, "x-max-length=5, overflow=drop-head", "warning"),
        (
            {"settings": {"max-length": 5, "overflow": "reject-publish"}},
            "x-max-length=5, overflow=reject-publish",
            "note",
        ),
        (
            {"settings": {"max-length-bytes": 5, "dead-letter-exchange": "x"}},
            "x-max-length-bytes=5, overflow=drop-head",
            "note",
        ),
        ({"settings": {"message-ttl": 1000}}, "x-message-ttl=1000", "warning"),
        ({"settings": {"message-ttl": 1000, "dead-letter-exchange": "x"}}, "x-message-ttl=1000", "note"),
        ({"settings": {"delivery-limit": 3}}, "x-delivery-limit=3", "warning"),
        ({"there": False}, "queue orders", "note"),
        ({"there": False, "declares": False, "kind": None}, "queue orders", "refused"),
        ({"problem": "ACCESS_REFUSED"}, "queue orders", "refused"),
    ],
)
def test_each_property_of_a_queue_that_takes_from_the_promise_is_found(
    changes: dict[str, Any], setting: str, level: Level
) -> None:
    verdict = of_rabbit(replace(QUORUM, **changes))
    assert levels(verdict)[setting] == level
    assert verdict.kept == (level not in ("refused", "warning"))


def test_a_quorum_queue_drops_after_twenty_deliveries_from_rabbitmq_4_on_unless_told_otherwise() -> None:
    four = replace(NODE, version=(4, 1, 0))
    assert levels(of_rabbit(QUORUM, node=four))["x-delivery-limit=20"] == "warning"
    unlimited = replace(QUORUM, settings={"delivery-limit": -1})
    assert of_rabbit(unlimited, node=four).kept


def test_alarms_refuse_what_is_published_and_nothing_that_is_read() -> None:
    alarmed = replace(NODE, alarms=("memory",))
    assert "short of memory" in of_rabbit(QUORUM, node=alarmed).guarantee
    assert of_rabbit(QUORUM, "source", alarmed).kept


def test_what_amqp_cannot_tell_is_said_with_how_to_let_it_be_told() -> None:
    verdict = of_rabbit(rabbit.Queue.declared(QUEUE.spec, (3, 13), True), node=rabbit.Node((3, 13)))
    (unread,) = verdict.findings
    assert (unread.level, unread.setting) == ("unread", "policies, members and alarms")
    assert "management=" in unread.advice
    assert verdict.guarantee == "at least once, as far as it can be told"


@given(st.integers(1, 100), st.integers(1, 100))
def test_of_a_limit_by_argument_and_by_policy_the_lower_one_counts(argument: int, policy: int) -> None:
    told = {
        "type": "quorum",
        "arguments": {"x-max-length": argument},
        "effective_policy_definition": {"max-length": policy},
    }
    assert rabbit.Queue.told(told).settings["max-length"] == min(argument, policy)


@pytest.mark.parametrize(
    ("exchange", "mandatory", "level"),
    [
        (rabbit.Exchange(True, bindings=0), True, "refused"),
        (rabbit.Exchange(True, bindings=0, arguments={"alternate-exchange": "x"}), True, None),
        (rabbit.Exchange(True, bindings=2), True, None),
        (rabbit.Exchange(True, bindings=2), False, "warning"),
        (rabbit.Exchange(False), True, "note"),
    ],
)
def test_an_exchange_without_bindings_takes_nothing(
    exchange: rabbit.Exchange, mandatory: bool, level: Level | None
) -> None:
    endpoint = RabbitMQ().exchange("events", mandatory=mandatory)
    verdict = rabbit.judge(edge(endpoint, "destination"), NODE, None, exchange)
    assert {finding.level for finding in verdict.findings} == ({level} if level else set())


# -- nats ------------------------------------------------------------------------------------------------------

JETSTREAM = Nats().stream("ORDERS", subject="orders")
KEPT = {"subjects": ["orders"], "storage": "file", "num_replicas": 3, "retention": "workqueue"}


def of_nats(stream: dict[str, Any] | None, role: Role = "destination", **more: Any) -> Verdict:
    return nats.judge(edge(JETSTREAM, role), nats.Facts(stream and KEPT | stream, **more))


def test_a_stream_on_file_with_three_replicas_has_the_whole_promise() -> None:
    verdict = of_nats({"storage": "file"})
    assert (verdict.guarantee, verdict.findings) == ("at least once", ())


@pytest.mark.parametrize(
    ("stream", "setting", "level"),
    [
        ({"storage": "memory", "num_replicas": 1}, "storage=memory", "warning"),
        ({"storage": "memory"}, "storage=memory, num_replicas=3", "limit"),
        ({"num_replicas": 1}, "num_replicas=1", "limit"),
        ({"max_msgs": 5}, "max_msgs=5, discard=old", "warning"),
        ({"max_bytes": 5, "discard": "new"}, "max_bytes=5, discard=new", "note"),
        ({"max_msgs_per_subject": 5, "discard": "new"}, "max_msgs_per_subject=5, discard=old", "warning"),
        ({"max_age": 60 * 10**9}, "max_age=1m", "warning"),
        ({"retention": "interest"}, "retention=interest", "warning"),
        ({"retention": "limits"}, "retention=limits", "note"),
        ({"duplicate_window": 10**9}, "duplicate_window=1s", "note"),
        ({"max_msg_size": 100}, "max_msg_size=100", "note"),
        ({"subjects": ["other"]}, "subjects=other", "refused"),
        ({"no_ack": True}, "no_ack=true", "refused"),
    ],
)
def test_each_setting_of_a_stream_that_takes_from_the_promise_is_found(
    stream: dict[str, Any], setting: str, level: Level
) -> None:
    verdict = of_nats(stream)
    assert levels(verdict)[setting] == level
    assert verdict.kept == (level not in ("refused", "warning"))


def test_a_stream_of_one_replica_is_as_safe_as_its_disk_is_written_often() -> None:
    one = {"num_replicas": 1}
    assert levels(of_nats(one, sync=nats.Sync(120.0)))["sync_interval=2m"] == "limit"
    assert set(levels(of_nats(one, sync=nats.Sync(0.0)))) == {"num_replicas=1"}
    assert levels(of_nats(one, sync=nats.Sync(why="nobody said")))["sync_interval"] == "unread"


def test_a_consumer_that_gives_up_or_is_short_of_room_is_found() -> None:
    consumer = {"max_deliver": 3, "ack_policy": "none", "max_ack_pending": 10, "ack_wait": 10**8}
    consumer |= {"inactive_threshold": 60 * 10**9}
    found = levels(of_nats({}, "source", consumer=consumer))
    assert found["max_deliver=3"] == found["ack_policy=none"] == "refused"
    assert found["max_ack_pending=10"] == found["ack_wait=0.1s"] == "note"
    assert found["inactive_threshold=1m"] == "note"


def test_core_subjects_are_at_most_once_and_jetstream_that_is_off_lets_nothing_pass() -> None:
    assert nats.judge(edge(Nats().subject("c")), nats.Facts()).promise == "at most once"
    off = nats.judge(edge(JETSTREAM), nats.Facts(refused="no responders"))
    assert off.guarantee == "nothing passes: no responders"


def test_a_stream_that_is_missing_is_made_unless_that_is_forbidden() -> None:
    assert of_nats(None, sync=nats.Sync(0.0)).kept
    forbidden = Nats().stream("ORDERS", declare=False)
    assert not nats.judge(edge(forbidden), nats.Facts()).kept
