"""What a Kafka tells of its topics, settings and groups. Changes nothing there, and makes no topic by asking for it."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.admin import DescribeConfigsRequest, DescribeGroupsRequest
from aiokafka.protocol.metadata import MetadataRequest

from engine.brokers.findings import Edge, Verdict
from engine.kafka import client as kafka_client
from engine.kafka.broker import Kafka, KafkaTopic
from engine.kafka.errors import mapped, said
from engine.kafka.options import KafkaOptions
from engine.kafka.topics import connected
from engine.kafka.verdicts import AGEING, Cluster, Span, Topic, judge

_UNKNOWN, _NO_LEADER, _NOT_ALLOWED = 3, 5, 30
_PATIENCE = 1.5
"""Seconds that a broker may take to say that it is there, where there are others to ask."""
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
        looking = _Looking(admin, options)
        try:
            with mapped(options):
                cluster = await looking.cluster()
                return [judge(edge, options, cluster, await looking.topic(edge)) for edge in edges]
        finally:
            await looking.close()


class _Looking:
    """One look at a cluster, by whichever of its brokers answers."""

    def __init__(self, admin: AIOKafkaAdminClient, options: KafkaOptions) -> None:
        self._admin = admin
        self._options = options
        self._nodes: list[int] = sorted(each.nodeId for each in admin._client.cluster.brokers())
        self._defaults: Mapping[str, str] = {}
        self._denied: tuple[str, ...] = ()
        self._consumer: AIOKafkaConsumer | None = None
        self._groups: set[str] | None = None

    async def close(self) -> None:
        """Let go of what was opened beside the admin client."""
        if self._consumer is not None:
            await kafka_client.end(self._consumer)

    async def cluster(self) -> Cluster:
        """What the first broker that answers says of all."""
        node = await self._alive()
        self._defaults, why = await self._settings(ConfigResourceType.BROKER, str(node))
        self._denied = (why,) if why else ()
        return Cluster(self._defaults, len(self._nodes))

    async def _alive(self) -> int:
        """A broker that answers, which is asked from now on: one of the others may be down."""
        client = self._admin._client
        for node in self._nodes[:-1]:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await client.send(node, MetadataRequest([]))
            except (TimeoutError, errors.KafkaError):
                continue
            self._node = node
            return node
        self._node = self._nodes[-1]
        return self._node

    async def _ask(self, request: Any) -> Any:
        return await self._admin._client.send(self._node, request)

    async def topic(self, edge: Edge) -> Topic:
        endpoint = edge.endpoint
        assert isinstance(endpoint, KafkaTopic)
        if edge.template:
            return self._as_made(endpoint)
        if edge.role == "source" and (why := await self._not_allowed(endpoint.group or edge.group)):
            return Topic(problem=why)
        name = endpoint.name if not endpoint.pattern else await self._first_match(endpoint)
        code, _, _, parts = (await self._metadata([name])).topics[0] if name else (_UNKNOWN, "", False, [])
        if code == _UNKNOWN:
            return self._as_made(endpoint)
        if code != _NO_LEADER and code:
            return Topic(problem=said(errors.for_code(code)()))
        settings, why = await self._settings(ConfigResourceType.TOPIC, name)
        spans: tuple[Span, ...] = ()
        denied = [why] if why else []
        if edge.role == "source":
            try:
                places = [TopicPartition(name, part[1]) for part in sorted(parts, key=lambda part: part[1])]
                spans = await self._spans(places, endpoint.group or edge.group, settings)
            except errors.KafkaError as error:
                denied.append(said(error))
        replicas, insync = (min((len(part[at]) for part in parts), default=None) for at in (3, 4))
        return Topic(True, "", len(parts), replicas, insync, settings, spans, tuple(denied))

    def _as_made(self, endpoint: KafkaTopic) -> Topic:
        """A topic that is missing, as it will be made."""
        defaults = self._defaults
        settings = {own: defaults[name] for name, own in _AS_MADE.items() if name in defaults}
        for name, length in (("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)):
            if "retention.ms" not in settings and defaults.get(name, "").isdecimal():
                settings["retention.ms"] = str(int(defaults[name]) * length)
        partitions = endpoint.partitions or int(defaults.get("num.partitions", 0))
        replicas = endpoint.replication or int(defaults.get("default.replication.factor", 0)) or None
        return Topic(False, "", partitions, replicas, None, settings, (), self._denied)

    async def _first_match(self, endpoint: KafkaTopic) -> str:
        """One of the topics that a pattern stands for; they are taken to be alike."""
        pattern = re.compile(endpoint.place.matching or "")
        found = (await self._metadata(None)).topics
        return min((name for _, name, internal, _ in found if not internal and pattern.match(name)), default="")

    async def _metadata(self, names: list[str] | None) -> Any:
        # What asks without this word has a missing topic made, by a server that does so.
        return await self._ask(MetadataRequest(names, allow_auto_topic_creation=False))

    async def _settings(self, kind: ConfigResourceType, name: str) -> tuple[dict[str, str], str]:
        """The settings of a topic, or of the broker that is asked; or why they are not told."""
        answer = await self._ask(DescribeConfigsRequest([(kind, name, None)]))
        code, told, _, _, entries = answer.resources[0]
        if code:
            return {}, said(errors.for_code(code)(told))
        return {entry[0]: entry[1] for entry in entries if entry[1] is not None}, ""

    async def _not_allowed(self, group: str) -> str:
        """Why this user may not use the group, if so. Any broker says that, and only its own one more."""
        code = (await self._ask(DescribeGroupsRequest([group]))).groups[0][0]
        return said(errors.for_code(code)(f"group {group}")) if code == _NOT_ALLOWED else ""

    async def _spans(self, places: list[TopicPartition], group: str, settings: Mapping[str, str]) -> tuple[Span, ...]:
        committed = await self._committed(group, places)
        if self._consumer is None:
            self._consumer = kafka_client.consumer(self._options, None)
            await self._consumer.start()
        first = await self._consumer.beginning_offsets(places)
        end = await self._consumer.end_offsets(places)
        young: dict[TopicPartition, int] = {}
        retention = int(settings.get("retention.ms", -1))
        if committed and retention > 0 and "delete" in settings.get("cleanup.policy", ""):
            since = round(time.time() * 1000 - AGEING * retention)
            told = await self._consumer.offsets_for_times(dict.fromkeys(places, since))
            young = {place: found.offset if found else end[place] for place, found in told.items()}
        return tuple(_span(first[place], end[place], committed.get(place, -1), young.get(place, 0)) for place in places)

    async def _committed(self, group: str, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """What a group has committed.

        One that nobody has heard of is not asked for: that would have the server make the topic in which it keeps them.
        """
        if self._groups is None:
            self._groups = {known for known, *_ in await self._admin.list_consumer_groups()}
        if group not in self._groups:
            return {}
        told = await self._admin.list_consumer_group_offsets(group, partitions=places)
        return {place: found.offset for place, found in told.items()}


def _span(first: int, end: int, committed: int, young: int) -> Span:
    """A partition whose messages before `young` are no longer that."""
    ageing = max(0, min(young, end) - max(first, committed)) if committed >= 0 else 0
    return Span(first, end, committed, ageing)
