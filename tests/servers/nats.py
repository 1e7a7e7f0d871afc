"""NATS with JetStream: open, with a login, with TLS, or with an operator who signs every user's token."""

import json
from pathlib import Path
from typing import Any

from tests.servers.ports import ask
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
