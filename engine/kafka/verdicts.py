"""What a topic, a group and a producer, as they are, make of an edge. Pure: the asking is done elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.brokers.findings import Edge, Found, Verdict
from engine.kafka.broker import KafkaTopic
from engine.kafka.options import KafkaOptions

_PRODUCER = 1024 * 1024
"""Bytes that aiokafka's producer takes at most, unless it was told otherwise."""
AGEING = 0.75
"""The part of its time in the log after which an unread message is soon deleted."""
_SOON = 3_600_000
"""Milliseconds that an engine may be away, or behind, on any day."""


@dataclass(frozen=True, slots=True)
class Span:
    """A partition: its offsets, from `first` to before `end`, and what a group has committed, -1 for nothing."""

    first: int
    end: int
    committed: int = -1
    ageing: int = 0
    """Messages that the group has before it, and that have most of their time in the log behind them."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is. `there` is False for one that is missing, whose settings are those it would be made with."""

    there: bool = True
    problem: str = ""
    """Why nothing passes: the server's words."""
    partitions: int = 0
    replicas: int | None = None
    insync: int | None = None
    """How many of them are in sync now, where they are fewest."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Its configuration; what could not be read is missing."""
    spans: tuple[Span, ...] = ()
    denied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the brokers say of themselves, as far as they do."""

    settings: Mapping[str, str] = field(default_factory=dict)
    brokers: int = 1


def judge(edge: Edge, options: KafkaOptions, cluster: Cluster, topic: Topic) -> Verdict:
    """What an edge has with that topic."""
    found = Found()
    endpoint = edge.endpoint
    assert isinstance(endpoint, KafkaTopic)
    name = f"topic {endpoint.name}"
    if topic.problem:
        found.add("refused", name, topic.problem, "kafka-acls.sh --add --allow-principal")
        return found.verdict(edge)
    if not topic.there and not edge.template:
        _missing(found, endpoint, options, topic)
    for what in topic.denied:
        found.unread("the server's settings", what, "kafka-acls.sh --add --operation DescribeConfigs")
    _replicated(found, options, cluster, topic, edge)
    _kept(found, edge, topic)
    if edge.role == "source":
        _read(found, edge, options, cluster, topic)
    else:
        _published(found, edge, options, topic)
    return found.verdict(edge)


def _missing(found: Found, endpoint: KafkaTopic, options: KafkaOptions, topic: Topic) -> None:
    if endpoint.pattern:
        found.add("note", f"pattern {endpoint.name}", "no topic matches it yet")
    elif options.create_topics:
        made = f", with partitions={topic.partitions}" if topic.partitions else ""
        found.add("note", f"topic {endpoint.name}", f"there is none yet: it is made when first used{made}")
    else:
        means = "there is none, and create_topics=False"
        found.add("refused", f"topic {endpoint.name}", means, f"kafka-topics.sh --create --topic {endpoint.name}")


def _replicated(found: Found, options: KafkaOptions, cluster: Cluster, topic: Topic, edge: Edge) -> None:
    replicas, least = topic.replicas, _number(topic.settings, "min.insync.replicas")
    three = "replication=3, min.insync.replicas=2" + ("" if cluster.brokers >= 3 else ", on three brokers")
    if replicas == 1:
        found.add("limit", "replication factor=1", "an acknowledged message goes with its broker's disk", three)
    elif replicas and least == 1:
        means = "a message that one broker alone has may be acknowledged, and goes with its disk"
        found.add("limit", f"min.insync.replicas=1, replication factor={replicas}", means, "min.insync.replicas=2")
    if replicas and least and least > replicas:
        means = "no message is ever confirmed: fewer replicas than have to have it"
        found.add("refused", f"min.insync.replicas={least}, replication factor={replicas}", means, three)
    elif least and topic.insync is not None and topic.insync < least and edge.role != "source":
        means = "no message is confirmed for now: fewer replicas are in sync than have to have it"
        found.add("refused", f"min.insync.replicas={least}, in sync={topic.insync}", means, "bring the brokers back")
    if topic.settings.get("unclean.leader.election.enable") == "true" and replicas != 1:
        means = "a replica that lacks acknowledged messages may become the leader"
        setting = "unclean.leader.election.enable"
        found.add("warning", f"{setting}=true", means, f"{setting}=false")
    if options.acks != "all" and edge.role != "source":
        means = "what the leader alone has is confirmed, and lost when another takes its place"
        found.add("warning", f"acks={options.acks}", means, 'acks="all"')


def _kept(found: Found, edge: Edge, topic: Topic) -> None:
    settings = topic.settings
    policy = settings.get("cleanup.policy", "")
    if "compact" in policy:
        means = "of the messages of one key only the last is kept, read or not"
        found.add("warning", f"cleanup.policy={policy}", means, "cleanup.policy=delete")
    if "delete" not in policy:
        return
    lag = sum(span.end - max(span.first, span.committed) for span in topic.spans)
    waits = f"; {lag:,} messages wait" if lag > 0 else ""
    if (age := _number(settings, "retention.ms")) is not None and age >= 0:
        _limited(found, f"retention.ms={age}", age <= _SOON, f"what is not read within {_span(age)} is deleted{waits}")
    if (size := _number(settings, "retention.bytes")) is not None and size >= 0:
        means = f"of a partition more than {size:,} bytes are deleted, read or not{waits}"
        _limited(found, f"retention.bytes={size}", True, means)


def _limited(found: Found, setting: str, soon: bool, means: str) -> None:
    """A limit of days is Kafka's way, to be known; one of minutes or bytes is a loss that waits for a slow reader."""
    found.add("warning" if soon else "note", setting, means, f"{setting.partition('=')[0]}=-1, or more" if soon else "")


def _read(found: Found, edge: Edge, options: KafkaOptions, cluster: Cluster, topic: Topic) -> None:
    lost = sum(span.first - span.committed for span in topic.spans if 0 <= span.committed < span.first)
    if lost:
        means = f"{lost:,} messages were deleted before this group had read them"
        found.add("warning", "committed offsets before the log", means, "retention.ms and retention.bytes, more")
    if ageing := sum(span.ageing for span in topic.spans):
        means = f"{ageing:,} messages that this group has not read are soon deleted"
        found.add("warning", f"retention.ms={topic.settings.get('retention.ms')}", means, "retention.ms, more")
    if any(span.committed > span.end for span in topic.spans):
        means = "the group is ahead of the log: it begins again at the earliest message"
        found.add("warning", "committed offsets behind the log", means, "kafka-consumer-groups.sh --reset-offsets")
    minutes = _number(cluster.settings, "offsets.retention.minutes")
    if minutes is not None and minutes < 7 * 24 * 60:
        means = f"a group that is away for {_span(minutes * 60_000)} forgets where it was, and begins at start="
        found.add("note", f"offsets.retention.minutes={minutes}", means, "offsets.retention.minutes=10080")
    _session(found, options, cluster)
    if edge.ordered:
        means = "order by key holds across engines as far as messages are published with that key"
        found.add("note", f"partitions={topic.partitions}", means)
    most = _number(topic.settings, "max.message.bytes")
    if most is not None and most > edge.max_body:
        means = f"bodies longer than max_body={edge.max_body:,} are dead on arrival"
        found.add("note", f"max.message.bytes={most}", means, f"max_body={most}")


def _session(found: Found, options: KafkaOptions, cluster: Cluster) -> None:
    session = round(options.session_timeout * 1000)
    for name, wrong in (("group.min.session.timeout.ms", int.__lt__), ("group.max.session.timeout.ms", int.__gt__)):
        if (limit := _number(cluster.settings, name)) is not None and wrong(session, limit):
            means = f"session_timeout={options.session_timeout:g} is not allowed: the group lets nobody in"
            found.add("refused", f"{name}={limit}", means, f"session_timeout={limit / 1000:g}")
    patience = max(options.session_timeout, min(2 * options.revoke_drain + 5, options.request_timeout - 5))
    if options.revoke_drain >= patience:
        means = f"a rebalance waits {patience:g} s: what takes longer to finish comes twice"
        found.add("note", f"revoke_drain={options.revoke_drain:g}", means, f"revoke_drain={max(0, patience - 1):g}")


def _published(found: Found, edge: Edge, options: KafkaOptions, topic: Topic) -> None:
    if not options.idempotent:
        means = "the producer's own retries may publish twice, and change the order"
        found.add("note", "idempotent=False", means, "idempotent=True")
    server = _number(topic.settings, "max.message.bytes")
    producer = int(options.client.get("max_request_size", _PRODUCER))
    most, setting = producer, f"max_request_size={producer}"
    if server is not None and server < producer:
        most, setting = server, f"max.message.bytes={server}"
    if most < edge.max_body:
        means = "longer messages are refused" + ("" if edge.role == "dead" else ", and become dead letters")
        found.add("note", setting, means, f"max_body={most}, or more here")


def _number(settings: Mapping[str, str], name: str) -> int | None:
    try:
        return int(settings[name])
    except (KeyError, ValueError):
        return None


def _span(milliseconds: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if milliseconds >= length and milliseconds % length == 0:
            return f"{milliseconds // length} {unit}"
    return f"{milliseconds / 1000:g} s"
