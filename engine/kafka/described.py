"""A topic in AsyncAPI's words, for documents."""

from typing import Any

from actors import Description, Server
from engine.kafka.options import KafkaOptions
from engine.kafka.place import Place
from engine.kafka.wire import CORRELATION_ID, REPLY_TO

VERSION = "0.5.0"
"""Of the binding."""
_LOGINS = {
    "PLAIN": "plain",
    "SCRAM-SHA-256": "scramSha256",
    "SCRAM-SHA-512": "scramSha512",
    "GSSAPI": "gssapi",
    "OAUTHBEARER": "bearer",
}


def describe(options: KafkaOptions, place: Place, group: str | None) -> Description:
    """The topic, as the group reads it or, with None, as it is published to."""
    topic = None if place.pattern is not None or place.template else place.name
    channel = {"topic": topic, "partitions": place.partitions, "replicas": place.replication}
    return Description(
        server=_server(options),
        kind="topic" if place.pattern is None else "pattern",
        address=None if place.pattern is not None else place.name,
        binding="kafka",
        channel=_bound(channel),
        operation=_bound({"groupId": _only(group), "clientId": _only(options.client_id)}),
        reply_to=REPLY_TO,
        correlation_id=CORRELATION_ID,
    )


def _server(options: KafkaOptions) -> Server:
    security = []
    if options.protocol.startswith("SASL"):
        security.append(_LOGINS[options.sasl_mechanism or "PLAIN"])
    if options.certfile is not None and options.protocol.endswith("SSL"):
        security.append("X509")
    # Whatever somebody may have written before an @ is not told.
    host = ",".join(server.rpartition("@")[2] for server in options.servers)
    protocol = "kafka-secure" if options.protocol.endswith("SSL") else "kafka"
    return Server(host, protocol, security=tuple(security))


def _only(text: str | None) -> dict[str, Any] | None:
    return None if text is None else {"type": "string", "enum": [text]}


def _bound(given: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in given.items() if value is not None}
    return found | {"bindingVersion": VERSION} if found else {}
