"""Apache Kafka in KRaft mode: broker and controller in one process, with a listener for each way to log in."""

import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.servers.ports import ask, free_port
from tests.servers.process import Server
from tests.servers.programs import java, kafka, kafka_folder

# Taken by every start from the same empty, formatted folder, to which these belong.
NODE_ID = 1
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")

_LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=CONSOLE
appender.console.type=Console
appender.console.name=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1}: %m%n
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
"""

_HELLO = struct.pack(">ihhihc", 11, 18, 0, 1, 1, b"x")  # ApiVersions, version 0, from the client "x"


class Kafka(Server):
    """One Kafka that makes no topic unless asked to, and whose groups do not wait for more members.

    Listeners: `url` takes anybody, `login_url` asks for user and password (PLAIN or SCRAM), `tls_url` speaks TLS and
    `tls_login_url` both. The user `limited`, of the same password, may log in and do nothing. `settings` are lines of
    server.properties, `jvm` options of the Java machine.
    """

    name = "kafka"
    scheme = "kafka"
    limited = "limited"

    def __init__(self, folder: Path, *arguments: Any, jvm: Sequence[str] | None = None, **options: Any) -> None:
        super().__init__(folder, *arguments, **options)
        self.login_port = free_port()
        self.tls_port = free_port()
        self.tls_login_port = free_port()
        self._proxied_port = free_port()
        self._controller_port = free_port()
        self._jvm = jvm

    @property
    def bootstrap(self) -> str:
        """The listener that takes anybody, as clients of Kafka write it."""
        return f"{self.host}:{self.port}"

    @property
    def login_url(self) -> str:
        """The listener that asks for a user and a password (SASL_PLAINTEXT)."""
        return f"kafka://{self.user}:{self.password}@{self.host}:{self.login_port}"

    @property
    def tls_url(self) -> str:
        """The listener that speaks TLS (SSL)."""
        return f"kafka://{self.host}:{self.tls_port}"

    @property
    def tls_login_url(self) -> str:
        """The listener that speaks TLS and asks for a user and a password (SASL_SSL)."""
        return f"kafka://{self.user}:{self.password}@{self.host}:{self.tls_login_port}"

    @property
    def proxied_port(self) -> int:
        return self._proxied_port

    def prepare(self) -> None:
        shutil.copytree(kafka() / "formatted", self.folder / "data")
        lines = {**self._listeners(), **self._security(), **self._one_node(), **self.settings}
        (self.folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        (self.folder / "log4j2.properties").write_text(_LOGGING)

    def command(self) -> list[str]:
        jvm = shared_classes() if self._jvm is None else self._jvm
        return [*java_command("-Xmx512m", *jvm), "kafka.Kafka", "server.properties"]

    def answers(self) -> bool:
        return len(ask(self.port, _HELLO)) > 0

    def _listeners(self) -> dict[str, str]:
        protocols = {
            "OPEN": ("PLAINTEXT", self.port, self.port),
            "LOGIN": ("SASL_PLAINTEXT", self.login_port, self.login_port),
            "TLS": ("SSL", self.tls_port, self.tls_port),
            "TLSLOGIN": ("SASL_SSL", self.tls_login_port, self.tls_login_port),
            # Clients are told to come by the proxy's port.
            "PROXIED": ("PLAINTEXT", self.proxied_port, self.proxy_port),
        }
        controller = f"{self.host}:{self._controller_port}"
        listeners = [f"{name}://{self.host}:{port}" for name, (_, port, _) in protocols.items()]
        return {
            "listeners": ",".join([*listeners, f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(
                f"{name}://{self.host}:{port}" for name, (_, _, port) in protocols.items()
            ),
            "listener.security.protocol.map": ",".join(
                [*(f"{name}:{protocol}" for name, (protocol, _, _) in protocols.items()), "CONTROLLER:PLAINTEXT"]
            ),
            "inter.broker.listener.name": "OPEN",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"{NODE_ID}@{controller}",
        }

    def _security(self) -> dict[str, str]:
        certificates = self.certificates
        users = " ".join(f'user_{name}="{self.password}"' for name in (self.user, self.limited))
        plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        lines = {
            "sasl.enabled.mechanisms": ",".join(["PLAIN", *SCRAM]),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates.server_pair),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.authority),
            "listener.name.tls.ssl.client.auth": "requested",
            "ssl.principal.mapping.rules": r"RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{self.user}",
        }
        for listener in ("login", "tlslogin"):
            lines[f"listener.name.{listener}.plain.sasl.jaas.config"] = plain
            for mechanism in SCRAM:
                lines[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = scram
        return lines

    def _one_node(self) -> dict[str, str]:
        internal = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        return {
            "process.roles": "broker,controller",
            "node.id": str(NODE_ID),
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            **{f"{topic}.replication.factor": "1" for topic in internal},
            **{f"{topic}.num.partitions": "1" for topic in internal},
            **{f"{topic}.min.isr": "1" for topic in internal[1:]},
            "group.initial.rebalance.delay.ms": "0",
            # After a kill -9 the new broker has to wait until the old one's session is over.
            "broker.heartbeat.interval.ms": "200",
            "broker.session.timeout.ms": "2000",
            "group.min.session.timeout.ms": "500",  # a test of a dead consumer need not wait for six seconds
        }


def java_command(*jvm: str) -> list[str]:
    """Return how to call Java with Kafka's classes. The order of the jars matters to the archive of classes."""
    jars = os.pathsep.join(sorted(map(str, (kafka_folder() / "libs").glob("*.jar"))))
    return [
        str(java()),
        "-XX:+ExitOnOutOfMemoryError",
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-cp",
        jars,
        *jvm,
    ]


def class_archive() -> Path:
    """Return where the classes are kept that a start of Kafka loads, as Java has them in memory: half the time."""
    return kafka_folder() / "classes.jsa"


def shared_classes() -> list[str]:
    """Return the options to start from that archive. Another Java than the one that made it will not mind."""
    archive = class_archive()
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] if archive.exists() else []
