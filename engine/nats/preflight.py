"""What a NATS server says of its streams and consumers, and what that makes of an edge. Changes nothing there."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from actors import BrokerRefused
from engine.brokers.findings import Edge, Found, Verdict
from engine.brokers.monitoring import get_json
from engine.nats.broker import Nats, NatsStream, NatsSubject
from engine.nats.client import Link
from engine.nats.declare import MARK, answer, covers

_PATIENCE = 2.0
"""Seconds that one answer may take."""
_MISSING = frozenset((10014, 10059))


@dataclass(frozen=True, slots=True)
class Sync:
    """Seconds between two writes to the disk, 0 where each message is written at once; or why that is not known."""

    seconds: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server told. `stream` and `consumer` are their configurations, None where there are none."""

    stream: Mapping[str, Any] | None = None
    consumer: Mapping[str, Any] | None = None
    unread: int = 0
    """Messages that went by a limit before the consumer got them."""
    sync: Sync = Sync()
    refused: str = ""
    """Why nothing was told, and nothing would pass."""


def judge(edge: Edge, facts: Facts, replicas: int = 1) -> Verdict:
    """What an edge has; a stream that is missing is declared with that many `replicas`."""
    found = Found()
    endpoint = edge.endpoint
    if isinstance(endpoint, NatsSubject):
        found.promise = "at most once"
        found.add("limit", "core NATS", "who does not listen at that moment gets nothing", "nats.stream(...)")
        return found.verdict(edge)
    assert isinstance(endpoint, NatsStream)
    if facts.refused:
        found.add("refused", f"stream {endpoint.stream}", facts.refused)
        return found.verdict(edge)
    if facts.stream is None:
        _missing(found, endpoint, replicas)
        _stored(found, {"storage": "file", "num_replicas": replicas}, facts.sync)
    else:
        _stored(found, facts.stream, facts.sync)
        _kept(found, facts.stream, edge)
        _subjects(found, facts.stream, endpoint, edge)
    if edge.role == "source" and facts.consumer is not None:
        _consumer(found, facts.consumer, edge)
    if facts.unread:
        means = f"{facts.unread:,} messages were deleted before this consumer got them"
        found.add("warning", "limits of the stream", means, "raise max_msgs, max_bytes or max_age")
    return found.verdict(edge)


def _missing(found: Found, endpoint: NatsStream, replicas: int) -> None:
    if endpoint.declare is False:
        means = "there is no such stream, and declare=False says that none is to be made"
        found.add("refused", endpoint.stream, means, f"nats stream add {endpoint.stream}, or declare=True")
    else:
        means = f"there is none yet: it is made when first used, on file, with replicas={replicas}"
        found.add("note", f"stream {endpoint.stream}", means)


def _stored(found: Found, config: Mapping[str, Any], sync: Sync) -> None:
    replicas = int(config.get("num_replicas") or 1)
    if config.get("no_ack"):
        found.add("refused", "no_ack=true", "the server never confirms what is published", "no_ack=false")
    if config.get("storage") == "memory" and replicas == 1:
        found.add("warning", "storage=memory", "a restart of the server loses everything", "a stream with storage=file")
        return
    if config.get("storage") == "memory":
        means = "a restart of most of its servers at once loses everything"
        found.add("limit", f"storage=memory, num_replicas={replicas}", means, "a stream with storage=file")
        return
    if replicas > 1:
        return
    found.add("limit", "num_replicas=1", "an acknowledged message goes with the machine's disk", "replicas=3")
    if sync.seconds is None:
        found.unread("sync_interval", sync.why, 'Nats(..., monitoring="http://host:8222")')
    elif sync.seconds:
        means = f"what was acknowledged in the last {_span(sync.seconds)} goes with the machine"
        found.add("limit", f"sync_interval={_span(sync.seconds)}", means, "sync_interval: always")


def _kept(found: Found, config: Mapping[str, Any], edge: Edge) -> None:
    names = ("max_msgs", "max_bytes", "max_msgs_per_subject")
    limits = {name: int(config[name]) for name in names if int(config.get(name) or -1) > 0}
    work = config.get("retention") in ("workqueue", "interest")
    old = config.get("discard", "old") == "old"
    for name, most in limits.items():
        if old or (name == "max_msgs_per_subject" and not config.get("discard_new_per_subject")):
            means = "a full stream deletes its oldest messages, read or not"
            found.add("warning", f"{name}={most}, discard=old", means, f"discard=new, or {name}=-1")
        else:
            found.add("note", f"{name}={most}, discard=new", "a full stream refuses messages, which are tried again")
    if age := (config.get("max_age") or 0) / 1e9:
        means = f"what is not read within {_span(age)} is deleted"
        found.add("warning", f"max_age={_span(age)}", means, "max_age=0, with retention=workqueue or interest")
    if config.get("retention") == "interest" and edge.role != "source":
        means = "what comes while no consumer exists is deleted at once"
        found.add("warning", "retention=interest", means, "retention=limits, or a durable that is there first")
    if config.get("retention") == "workqueue" and edge.role == "source":
        found.add("note", "retention=workqueue", "only one consumer may read each subject of it")
    if not (work or limits or age):
        found.add("note", f"retention={config.get('retention', 'limits')}", "the stream grows without end")
    window = (config.get("duplicate_window") or 0) / 1e9
    if edge.role != "source" and 0 < window < 30:
        means = "a publish that is tried again later than that is stored twice"
        found.add("note", f"duplicate_window={_span(window)}", means, "duplicate_window=2m")
    size = config.get("max_msg_size") or -1
    if edge.role != "source" and 0 < size < edge.max_body:
        found.add("note", f"max_msg_size={size:,}", "longer bodies are refused, and become dead letters", "max_body=")


def _subjects(found: Found, config: Mapping[str, Any], endpoint: NatsStream, edge: Edge) -> None:
    subjects = config.get("subjects") or []
    wanted = endpoint.place.pattern
    if any(covers(each, wanted) for each in subjects) or (edge.role == "source" and not endpoint.named):
        return
    if config.get("mirror") or config.get("sources"):
        return
    ours = MARK in (config.get("metadata") or {})
    if endpoint.declare or (endpoint.declare is None and ours):
        found.add("note", f"subjects={', '.join(subjects)}", f"{wanted} is not among them yet: it is added")
    else:
        means = f"the stream has no subject {wanted}"
        found.add("refused", f"subjects={', '.join(subjects)}", means, f"add {wanted} to it, or declare=True")


def _consumer(found: Found, config: Mapping[str, Any], edge: Edge) -> None:
    deliver = int(config.get("max_deliver") or -1)
    if deliver > 0:
        means = "the server gives a message up for good after so many deliveries, and Headrace refuses the consumer"
        found.add("refused", f"max_deliver={deliver}", means, "max_deliver=-1")
    if config.get("ack_policy", "explicit") != "explicit":
        means = "the server takes for done what was only delivered, and Headrace refuses the consumer"
        found.add("refused", f"ack_policy={config['ack_policy']}", means, "ack_policy=explicit")
    pending = int(config.get("max_ack_pending") or -1)
    if 0 < pending < edge.bound:
        means = f"fewer than the {edge.bound:,} messages that the engine may hold: it is raised when the source opens"
        found.add("note", f"max_ack_pending={pending}", means)
    if idle := (config.get("inactive_threshold") or 0) / 1e9:
        means = "a consumer that is away for longer is deleted, and begins anew where start= says"
        found.add("note", f"inactive_threshold={_span(idle)}", means, "inactive_threshold=0")
    wait = (config.get("ack_wait") or 0) / 1e9
    if 0 < wait < 1:
        means = "a pause of the process that is longer brings messages twice"
        found.add("note", f"ack_wait={_span(wait)}", means, "ack_wait=30")


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


# -- reading ---------------------------------------------------------------------------------------------------


async def inspect(broker: Nats, edges: Sequence[Edge]) -> list[Verdict]:
    """Look at each stream and consumer. Raises `BrokerUnavailable` and `BrokerRefused`."""

    async def start(client: Client) -> None:
        pass

    # A right that is denied is told to nobody who asks: there is no answer, and that has to be noticed in time.
    target = copy(broker.target)
    target.options = target.options.model_copy(update={"timeout": min(_PATIENCE, target.options.timeout)})
    link = Link(target, "", start)
    try:
        client = await link.connected()
        sync = await _sync(target.options.monitoring)
        return [judge(edge, await _facts(link, client, edge, sync), target.options.replicas) for edge in edges]
    finally:
        await link.close()


async def _facts(link: Link, client: Client, edge: Edge, sync: Sync) -> Facts:
    endpoint = edge.endpoint
    if not isinstance(endpoint, NatsStream):
        return Facts()
    reader = endpoint.reader(edge.group, edge.bound)
    try:
        name = endpoint.stream
        if endpoint.anywhere:
            found = await _asked(link, client, "STREAM.NAMES", {"subject": endpoint.place.pattern})
            name = ((found or {}).get("streams") or [name])[0]
        stream = await _asked(link, client, f"STREAM.INFO.{name}")
        if stream is None or edge.role != "source":
            return Facts(stream and stream["config"], sync=sync)
        consumer = await _asked(link, client, f"CONSUMER.INFO.{name}.{reader.name}")
    except BrokerRefused as error:
        return Facts(refused=" ".join(str(error).split()).partition(": ")[2])
    gone = 0
    if consumer is not None and not reader.filter:  # with a filter, what is gone may have been others'
        delivered = int((consumer.get("delivered") or {}).get("stream_seq") or 0)
        gone = max(0, int(stream["state"]["first_seq"]) - 1 - delivered)
    return Facts(stream["config"], consumer and consumer["config"], gone, sync)


async def _asked(link: Link, client: Client, subject: str, request: Any = None) -> dict[str, Any] | None:
    """An answer of JetStream's API; None where there is no such stream or consumer."""
    told = await link.ask(client, subject, request)
    error = told.get("error")
    if error is None:
        return told
    if error.get("err_code") in _MISSING:
        return None
    raise answer(error, link.where)


async def _sync(monitoring: str | None) -> Sync:
    """How often the server writes to its disk, which only its monitoring tells."""
    if monitoring is None:
        return Sync(why="only the server's monitoring tells it")
    try:
        told = await get_json(f"{monitoring.rstrip('/')}/jsz?config=true", _PATIENCE)
        config = told["config"]
        return Sync(0.0 if config.get("sync_always") else float(config["sync_interval"]) / 1e9)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Sync(why=f"{monitoring}: {error}")
