"""NATS with JetStream: open, with a login, with TLS, with an operator who signs users' tokens, or three of them."""

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers.fleet import Fleet
from tests.servers.ports import LOOPBACK, ask, free_port
from tests.servers.process import Server
from tests.servers.programs import nats_server


class Nats(Server):
    """One NATS server that keeps its streams in its folder.

    Clients need no login; with `required` they do, and with `operator` they need the file `credentials`. With `tls`
    the server insists on TLS; it is an option and no second port, as NATS has one port, and nats-py speaks TLS only
    where the server insists.
    """

    name = "nats"
    scheme = "nats"
    patience = 15

    def __init__(
        self,
        folder: Path,
        *arguments: Any,
        required: bool = False,
        tls: bool = False,
        operator: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(folder, *arguments, **options)
        self.required = required
        self.tls = tls
        self.operator = operator

    @property
    def url(self) -> str:
        return self.login_url if self.required else self.tls_url if self.tls else self.open_url

    @property
    def open_url(self) -> str:
        """Without a login; refused where one is required."""
        return f"nats://{self.host}:{self.port}"

    @property
    def login_url(self) -> str:
        """With a user and a password."""
        return f"nats://{self.user}:{self.password}@{self.host}:{self.port}"

    @property
    def tls_url(self) -> str:
        """With TLS."""
        if not self.tls:
            raise ValueError("This NATS server has no TLS. One that has: servers.get(Nats, tls=True).")
        return f"tls://{self.host}:{self.port}"

    @property
    def credentials(self) -> Path:
        """The file that proves who a client is, where an operator asks for it."""
        return self.folder / "user.creds"

    def prepare(self) -> None:
        settings: dict[str, Any] = {
            "server_name": "headrace",
            "host": self.host,
            "port": self.port,
            "jetstream": {"store_dir": str(self.folder / "data")},
            **self._authorization(),
        }
        if self.tls:
            certificates = self.certificates
            settings["tls"] = {
                "cert_file": str(certificates.server),
                "key_file": str(certificates.server_key),
                "ca_file": str(certificates.authority),
                "timeout": 5,
            }
        # What NATS reads is a superset of JSON, as long as the braces around the whole are left out.
        lines = [f"{key}: {json.dumps(value)}" for key, value in {**settings, **self.settings}.items()]
        (self.folder / "nats.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(nats_server()), "-c", "nats.conf"]

    def answers(self) -> bool:
        return b'"jetstream":true' in ask(self.port, b"")

    def _authorization(self) -> dict[str, Any]:
        if self.operator:
            from tests.servers.nats_operator import Operator

            operator = Operator()
            self.credentials.write_text(operator.credentials())
            return operator.settings()
        users = [{"user": self.user, "password": self.password}]
        if self.required:
            return {"authorization": {"users": users}}
        users.append({"user": "anybody", "password": self.password})
        return {"authorization": {"users": users}, "no_auth_user": "anybody"}


class NatsCluster(Fleet):
    """Three servers that know each other. A stream may have three replicas there, one of which leads."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        ports = [free_port() for _ in range(3)]
        routes = [f"nats://{LOOPBACK}:{port}" for port in ports]
        nodes = []
        for number, port in enumerate(ports):
            cluster = {"name": "headrace", "host": LOOPBACK, "port": port, "routes": routes}
            settings = {"server_name": f"headrace-{number}", "cluster": cluster}
            nodes.append(Nats(folder / f"node-{number}", *arguments, settings=settings))
        super().__init__(*nodes)

    def named(self, server: str) -> Server:
        """The node that calls itself that."""
        return self.nodes[int(server.removeprefix("headrace-"))]

    def ready(self) -> bool:
        """Whether they agree who leads all of them."""
        return all(b'"type"' in _asked(node.port, "$JS.API.INFO") for node in self.nodes)


def _asked(port: int, subject: str) -> bytes:
    """What is answered to an empty request; nothing where that is an error."""
    with socket.create_connection((LOOPBACK, port), timeout=1) as connection, suppress(TimeoutError):
        said = b'CONNECT {"verbose":false}\r\nSUB a 1\r\n' + f"PUB {subject} a 0\r\n\r\n".encode()
        connection.sendall(said)
        heard = b""
        while not heard.endswith(b"}\r\n") or b"MSG a 1" not in heard:
            heard += connection.recv(65536)
        return b"" if b'"error"' in heard else heard
    return b""
