"""What a Redis says of itself, and what that makes of a stream, a list or a channel. Changes nothing there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from engine.brokers.findings import Edge, Found, Verdict
from engine.redis.broker import Redis
from engine.redis.endpoints import RedisChannel, RedisInbox, RedisStream
from engine.redis.errors import said
from engine.redis.options import Address
from engine.redis.wire import Servers, Wire

ASKED = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "min-replicas-to-write")
_DENIED = "give this user +config|get, +info and the commands that read (ACL SETUSER)"


@dataclass(frozen=True, slots=True)
class Server:
    """What a server told of its settings; None for what it did not."""

    version: tuple[int, ...] = ()
    kind: str = "single"
    role: str = ""
    replicas: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """By the names of its configuration file; those that could not be read are missing."""
    denied: tuple[str, ...] = ()
    """What it said no to, in its words."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is under a name; `type` is `none` where nothing is, None where that is not told."""

    type: str | None = None
    expires: bool = False
    trimmed_unread: int = 0
    """Entries that were trimmed before this group had read them."""
    denied: tuple[str, ...] = ()


def judge(edge: Edge, server: Server, key: Key) -> Verdict:
    """What an edge has with that server and that key."""
    found = Found()
    endpoint = edge.endpoint
    if server.version and server.version < (6, 2):
        version = ".".join(map(str, server.version))
        found.add("refused", f"version {version}", "Headrace needs Redis 6.2 or newer", "a newer server")
    if server.role == "slave":
        means = "this server is a replica, and takes no messages"
        found.add("refused", "role=slave", means, "the URL of its primary, or redis+sentinel://")
    if isinstance(endpoint, RedisChannel):
        found.promise = "at most once"
        found.add("limit", "pub/sub", "who does not listen at that moment gets nothing", "redis.stream(...)")
        return found.verdict(edge)
    _persistence(found, server)
    _memory(found, server, key)
    _failover(found, server)
    _key(found, edge, key)
    for what in (*server.denied, *key.denied):
        found.unread("the server's settings", what, _DENIED)
    return found.verdict(edge)


def _persistence(found: Found, server: Server) -> None:
    settings = server.settings
    aof, fsync, save = settings.get("appendonly"), settings.get("appendfsync"), settings.get("save")
    if aof == "no" and save == "":
        found.add("warning", "appendonly=no, save=", "a restart of the server loses everything", "appendonly yes")
    elif aof == "no":
        setting = "appendonly=no" if save is None else f"appendonly=no, save={save}"
        found.add("warning", setting, "a crash of the server loses whatever is in no snapshot yet", "appendonly yes")
    elif aof == "yes" and fsync == "everysec":
        means = "the last second or two go with the machine"
        found.add("limit", "appendfsync=everysec", means, "appendfsync always")
    elif aof == "yes" and fsync == "no":
        means = "what the system has not yet written, half a minute or so, goes with the machine"
        found.add("limit", "appendfsync=no", means, "appendfsync always")


def _memory(found: Found, server: Server, key: Key) -> None:
    settings = server.settings
    limit, policy = settings.get("maxmemory"), settings.get("maxmemory-policy")
    evicts = policy is not None and (policy.startswith("allkeys") or (policy.startswith("volatile") and key.expires))
    if evicts and limit == "0":
        means = "evicts nothing as long as maxmemory is 0"
        found.add("note", f"maxmemory-policy={policy}", means, "maxmemory-policy noeviction")
    elif evicts:
        means = "a server short of memory evicts messages, read or not"
        found.add("warning", f"maxmemory-policy={policy}", means, "maxmemory-policy noeviction")
    if key.expires:
        found.add("warning", "a time to live on the key", "all of it goes when that is over", "PERSIST on the key")


def _failover(found: Found, server: Server) -> None:
    least = server.settings.get("min-replicas-to-write")
    means = "a failover loses what the replica did not have yet"
    if server.kind == "sentinel" or server.replicas:
        if least in (None, "0"):
            setting = "min-replicas-to-write=0" if least == "0" else f"replicas={server.replicas or 0}"
            found.add("limit", setting, means, "min-replicas-to-write 1, min-replicas-max-lag 10")
        else:
            found.add("limit", f"min-replicas-to-write={least}", f"{means}: replication is asynchronous")
    elif server.replicas == 0:
        found.add(
            "limit",
            "replicas=0",
            "an acknowledged message goes with the machine's disk",
            "a replica, and min-replicas-to-write 1",
        )


def _key(found: Found, edge: Edge, key: Key) -> None:
    endpoint = edge.endpoint
    wanted = "stream" if isinstance(endpoint, RedisStream) else "list"
    if key.type == "none":
        found.add("note", endpoint.name, "there is none yet: it is made when first used")
    elif key.type not in (None, wanted):
        found.add("refused", endpoint.name, f"it is a {key.type}, not a {wanted}", "another name, or DEL of that key")
    if isinstance(endpoint, RedisStream) and endpoint.maxlen is not None and edge.role != "source":
        means = f"all but about the last {endpoint.maxlen:,} entries are trimmed, read or not"
        found.add("warning", f"maxlen={endpoint.maxlen}", means, "stream(name) without maxlen=")
    if key.trimmed_unread:
        means = f"{key.trimmed_unread:,} entries went before this group had read them"
        found.add("warning", "XTRIM, MAXLEN or XDEL", means, "trim less, or by XTRIM MINID behind the slowest group")


# -- reading ---------------------------------------------------------------------------------------------------


async def inspect(broker: Redis, edges: Sequence[Edge]) -> list[Verdict]:
    """Look at the server and at each name. Raises `BrokerUnavailable` and `BrokerRefused`."""
    servers = Servers(broker.target)
    known: dict[Address, Server] = {}
    verdicts = []
    for edge in edges:
        # In a cluster each key may be on another node.
        name = "headrace" if edge.template else edge.endpoint.name
        wire = Wire(servers, name)
        try:
            node = await servers.place(name)
            if node not in known:
                known[node] = await _server(wire, broker.target.kind)
            verdicts.append(judge(edge, known[node], await _look(wire, edge)))
        finally:
            await wire.close()
    return verdicts


async def _server(wire: Wire, kind: str) -> Server:
    info, *configs = await wire.exchange([("INFO",), *(("CONFIG", "GET", name) for name in ASKED)])
    denied = []
    told: dict[str, str] = {}
    if isinstance(info, ResponseError):
        denied.append(said(info))
    else:
        told = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    settings = _told_by_info(told)
    for name, reply in zip(ASKED, configs, strict=True):
        if isinstance(reply, ResponseError):
            denied.append(said(reply))
        elif reply:
            settings[name] = reply[1].decode()
    numbers = told.get("redis_version", "").split(".")
    version = tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else ()
    mode = "cluster" if told.get("redis_mode") == "cluster" else kind
    replicas = int(told["connected_slaves"]) if "connected_slaves" in told else None
    return Server(version, mode, told.get("role", ""), replicas, settings, tuple(dict.fromkeys(denied)))


def _told_by_info(told: Mapping[str, str]) -> dict[str, str]:
    """Settings that also stand in what every monitoring may read."""
    settings = {"appendonly": {"1": "yes", "0": "no"}.get(told.get("aof_enabled", ""))}
    settings |= {"maxmemory": told.get("maxmemory"), "maxmemory-policy": told.get("maxmemory_policy")}
    return {name: value for name, value in settings.items() if value is not None}


async def _look(wire: Wire, edge: Edge) -> Key:
    endpoint = edge.endpoint
    if edge.template or isinstance(endpoint, RedisChannel | RedisInbox):
        return Key()
    name = endpoint.name
    kind, expiry = await wire.exchange([("TYPE", name), ("PTTL", name)])
    if isinstance(kind, ResponseError):
        return Key(denied=(said(kind),))
    expires = isinstance(expiry, int) and expiry >= 0
    if kind != b"stream" or edge.role != "source":
        return Key(kind.decode(), expires)
    stream, groups = await wire.exchange([("XINFO", "STREAM", name), ("XINFO", "GROUPS", name)])
    if isinstance(stream, ResponseError) or isinstance(groups, ResponseError):
        denied = [said(each) for each in (stream, groups) if isinstance(each, ResponseError)]
        return Key("stream", expires, denied=tuple(denied))
    group = (getattr(endpoint, "group", None) or edge.group).encode()
    mine = next((each for each in map(_pairs, groups) if each[b"name"] == group), None)
    return Key("stream", expires, _trimmed(_pairs(stream), mine))


def _trimmed(stream: Mapping[bytes, Any], group: Mapping[bytes, Any] | None) -> int:
    """How many entries went before the group had read them, as far as Redis 7 tells: entries are counted there."""
    read = group.get(b"entries-read") if group is not None else None
    added = stream.get(b"entries-added")
    if not isinstance(read, int) or not isinstance(added, int):
        return 0
    return max(0, added - int(stream[b"length"]) - read)


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
