"""What a Kafka tells of its topics, settings and groups. Changes nothing there, and makes no topic by asking for it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.metadata import MetadataRequest

from engine.brokers.findings import Edge, Verdict
from engine.kafka import client as kafka_client
from engine.kafka.broker import Kafka, KafkaTopic
from engine.kafka.errors import mapped, said
from engine.kafka.options import KafkaOptions
from engine.kafka.topics import connected
from engine.kafka.verdicts import Cluster, Span, Topic, judge

_UNKNOWN, _NO_LEADER, _NOT_ALLOWED = 3, 5, 30
_AS_MADE = {
    "log.retention.ms": "retention.ms",
    "log.retention.bytes": "retention.bytes",
    "log.cleanup.policy": "cleanup.policy",
    "message.max.bytes": "max.message.bytes",
    "min.insync.replicas": "min.insync.replicas",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
}
"""What a topic has that is made without settings of its own, by the names that brokers have for them."""


async def inspect(broker: Kafka, edges: Sequence[Edge]) -> list[Verdict]:
    """Look at each topic and group. Raises `BrokerUnavailable` and `BrokerRefused`."""
    options = broker.options
    async with connected(options) as admin:
        with mapped(options):
            looking = _Looking(admin, options)
            cluster = await looking.cluster()
            return [judge(edge, options, cluster, await looking.topic(edge)) for edge in edges]


class _Looking:
    """One look at a cluster."""

    def __init__(self, admin: AIOKafkaAdminClient, options: KafkaOptions) -> None:
        self._admin = admin
        self._options = options
        self._defaults: Mapping[str, str] = {}
        self._denied: tuple[str, ...] = ()

    async def cluster(self) -> Cluster:
        brokers = self._admin._client.cluster.brokers()
        node = min(each.nodeId for each in brokers)
        self._defaults, why = await self._settings(ConfigResourceType.BROKER, str(node))
        self._denied = (why,) if why else ()
        return Cluster(self._defaults, len(brokers))

    async def topic(self, edge: Edge) -> Topic:
        endpoint = edge.endpoint
        assert isinstance(endpoint, KafkaTopic)
        if edge.template:
            return self._as_made(endpoint)
        if edge.role == "source" and (why := await self._not_allowed(endpoint.group or edge.group)):
            return Topic(problem=why)
        name = endpoint.name if not endpoint.pattern else await self._first_match(endpoint)
        code, _, _, parts = await self._described(name) if name else (_UNKNOWN, "", False, [])
        if code == _UNKNOWN:
            return self._as_made(endpoint)
        if code != _NO_LEADER and code:
            return Topic(problem=said(errors.for_code(code)()))
        settings, why = await self._settings(ConfigResourceType.TOPIC, name)
        spans: tuple[Span, ...] = ()
        denied = [why] if why else []
        if edge.role == "source":
            try:
                spans = await self._spans(name, sorted(part[1] for part in parts), endpoint.group or edge.group)
            except errors.KafkaError as error:
                denied.append(said(error))
        replicas = min((len(part[3]) for part in parts), default=None)
        return Topic(True, "", len(parts), replicas, settings, spans, tuple(denied))

    def _as_made(self, endpoint: KafkaTopic) -> Topic:
        """A topic that is missing, as it will be made."""
        defaults = self._defaults
        settings = {own: defaults[name] for name, own in _AS_MADE.items() if name in defaults}
        if "retention.ms" not in settings and defaults.get("log.retention.hours", "").isdecimal():
            settings["retention.ms"] = str(int(defaults["log.retention.hours"]) * 3_600_000)
        partitions = endpoint.partitions or int(defaults.get("num.partitions", 0))
        replicas = endpoint.replication or int(defaults.get("default.replication.factor", 0)) or None
        return Topic(False, "", partitions, replicas, settings, (), self._denied)

    async def _first_match(self, endpoint: KafkaTopic) -> str:
        """One of the topics that a pattern stands for; they are taken to be alike."""
        metadata = await self._metadata(None)
        pattern = re.compile(endpoint.place.matching or "")
        return min(
            (topic for _, topic, internal, _ in metadata.topics if not internal and pattern.match(topic)), default=""
        )

    async def _described(self, name: str) -> Any:
        return (await self._metadata([name])).topics[0]

    async def _metadata(self, names: list[str] | None) -> Any:
        # What asks without this word has a missing topic made, by a server that does so.
        request = MetadataRequest(names, allow_auto_topic_creation=False)
        return await self._admin._client.send(self._admin._client.get_random_node(), request)

    async def _settings(self, kind: ConfigResourceType, name: str) -> tuple[dict[str, str], str]:
        """The settings of a topic or a broker, or why they are not told."""
        (answer,) = await self._admin.describe_configs([ConfigResource(kind, name)])
        code, told, _, _, entries = answer.resources[0]
        if code:
            return {}, said(errors.for_code(code)(told))
        return {entry[0]: entry[1] for entry in entries if entry[1] is not None}, ""

    async def _not_allowed(self, group: str) -> str:
        """Why this user may not use the group, if so. Any broker says that, and only its own one more."""
        request = DescribeGroupsRequest([group])
        answer = await self._admin._client.send(self._admin._client.get_random_node(), request)
        code = answer.groups[0][0]
        return said(errors.for_code(code)(f"group {group}")) if code == _NOT_ALLOWED else ""

    async def _spans(self, name: str, partitions: Sequence[int], group: str) -> tuple[Span, ...]:
        places = [TopicPartition(name, number) for number in partitions]
        committed = await self._committed(group, places)
        consumer = kafka_client.consumer(self._options, None)
        try:
            await consumer.start()
            first = await consumer.beginning_offsets(places)
            end = await consumer.end_offsets(places)
        finally:
            await kafka_client.end(consumer)
        return tuple(Span(first[place], end[place], committed.get(place, -1)) for place in places)

    async def _committed(self, group: str, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """What a group has committed. A group that nobody has heard of is not asked for: that would have the server
        make the topic in which it keeps them."""
        known = await self._admin.list_consumer_groups()
        if not any(name == group for name, *_ in known):
            return {}
        told = await self._admin.list_consumer_group_offsets(group, partitions=places)
        return {place: found.offset for place, found in told.items()}
