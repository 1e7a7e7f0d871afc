"""Redis: one server, a cluster of three, and a pair watched by a sentinel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers.fleet import Fleet
from tests.servers.ports import ask, free_port
from tests.servers.process import Server, ServerFailed
from tests.servers.programs import redis_server


class Redis(Server):
    """One Redis that writes every command to its append-only file before it answers.

    Clients need no login; with `required` they do. The TLS port asks for a client's certificate but takes none too.
    """

    name = "redis"
    scheme = "redis"
    patience = 15

    def __init__(self, folder: Path, *arguments: Any, required: bool = False, **options: Any) -> None:
        super().__init__(folder, *arguments, **options)
        self.required = required
        self.tls_port = free_port()

    @property
    def url(self) -> str:
        return self.login_url if self.required else self.open_url

    @property
    def open_url(self) -> str:
        """Without a login; refused where one is required."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def login_url(self) -> str:
        """With a user and a password."""
        return f"redis://{self.user}:{self.password}@{self.host}:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """The port that speaks TLS."""
        login = f"{self.user}:{self.password}@" if self.required else ""
        return f"rediss://{login}{self.host}:{self.tls_port}/0"

    def prepare(self) -> None:
        certificates = self.certificates
        lines = {
            "bind": self.host,
            "port": str(self.port),
            "tls-port": str(self.tls_port),
            "tls-cert-file": str(certificates.server),
            "tls-key-file": str(certificates.server_key),
            "tls-ca-cert-file": str(certificates.authority),
            "tls-auth-clients": "optional",
            "dir": str(self.folder),
            "save": '""',
            "appendonly": "yes",
            "repl-diskless-sync-delay": "0",  # a new replica need not wait for others
            f"user {self.user}": f"on >{self.password} ~* &* +@all",
            "user default": "off" if self.required else "on nopass ~* &* +@all",
        }
        text = "".join(f"{key} {value}\n" for key, value in {**lines, **self.settings}.items())
        (self.folder / "redis.conf").write_text(text)

    def command(self) -> list[str]:
        return [str(redis_server()), "redis.conf"]

    def answers(self) -> bool:
        return ask(self.port, b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))


class Sentinel(Server):
    """A sentinel that alone decides when its primary is down, after half a second."""

    name = "redis-sentinel"
    scheme = "redis"
    patience = 15

    def __init__(self, folder: Path, *arguments: Any, orders: Sequence[str]) -> None:
        super().__init__(folder, *arguments)
        self._orders = orders

    def prepare(self) -> None:
        lines = [f"bind {self.host}", f"port {self.port}", f"dir {self.folder}"]
        lines += [f"sentinel {order}" for order in self._orders]
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(redis_server()), "sentinel.conf", "--sentinel"]

    def answers(self) -> bool:
        return ask(self.port, b"PING\r\n").startswith(b"+PONG")


class RedisSentinel(Fleet):
    """A primary, its replica, and a sentinel that knows which of the two is the primary of `service`."""

    service = "headrace"

    def __init__(self, folder: Path, *arguments: Any) -> None:
        first = Redis(folder / "first", *arguments)
        second = Redis(folder / "second", *arguments, settings={"replicaof": f"{first.host} {first.port}"})
        orders = [
            f"monitor {self.service} {first.host} {first.port} 1",
            f"down-after-milliseconds {self.service} 500",
            f"failover-timeout {self.service} 2000",
        ]
        self.redis = (first, second)
        self.sentinel = Sentinel(folder / "sentinel", *arguments, orders=orders)
        super().__init__(first, second, self.sentinel)

    @property
    def url(self) -> str:
        """Where the sentinel is."""
        return self.sentinel.url

    @property
    def sentinel_port(self) -> int:
        """The sentinel's port."""
        return self.sentinel.port

    @property
    def primary(self) -> Redis:
        """The one that the sentinel names as primary now."""
        named = ask(self.sentinel.port, f"SENTINEL GET-MASTER-ADDR-BY-NAME {self.service}\r\n".encode())
        for redis in self.redis:
            if f"\r\n{redis.port}\r\n".encode() in named:
                return redis
        raise ServerFailed(f"{self.sentinel!r} names no primary of {self.service}:\n{self.sentinel.log()}")

    def ready(self) -> bool:
        """Whether one of the two leads, the other follows, and the sentinel knows both."""
        known = ask(self.sentinel.port, f"SENTINEL REPLICAS {self.service}\r\n".encode())
        roles = [ask(redis.port, b"INFO replication\r\n") for redis in self.redis]
        return (
            b"slave-repl-offset" in known
            and sum(b"role:master" in role for role in roles) == 1
            and sum(b"master_link_status:up" in role for role in roles) == 1
        )


class RedisCluster(Fleet):
    """Three primaries that share the key space; no replicas."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
        ports = [free_port() for _ in range(3)]
        nodes = [
            Redis(folder / f"node-{bus}", *arguments, settings=settings | {"cluster-port": str(bus)}) for bus in ports
        ]
        self._buses = ports
        super().__init__(*nodes)

    @property
    def url(self) -> str:
        """The first node; a client learns of the others from it."""
        return self.nodes[0].url

    def assemble(self) -> None:
        """Let the nodes meet and give each a third of the slots."""
        first = self.nodes[0]
        bounds = [0, 5461, 10923, 16384]
        for node, bus, low, high in zip(self.nodes, self._buses, bounds[:-1], bounds[1:], strict=True):
            ask(node.port, f"CLUSTER ADDSLOTSRANGE {low} {high - 1}\r\n".encode())
            ask(first.port, f"CLUSTER MEET {node.host} {node.port} {bus}\r\n".encode())

    def ready(self) -> bool:
        """Whether every node knows all slots to be served."""
        replies = [ask(node.port, b"CLUSTER INFO\r\n") for node in self.nodes]
        return all(b"cluster_state:ok" in reply and b"cluster_known_nodes:3" in reply for reply in replies)
