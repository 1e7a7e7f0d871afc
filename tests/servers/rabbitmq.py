"""RabbitMQ: one node with a port for AMQP, one for AMQP over TLS, and a port mapper of its own."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tests.servers.ports import ask, free_port
from tests.servers.process import Server
from tests.servers.programs import epmd, rabbitmq_server, rabbitmqctl


class RabbitMQ(Server):
    """One RabbitMQ node. `guest` may log in from here, as on every new RabbitMQ, and so may `user`.

    `settings` are lines of rabbitmq.conf. The consistent-hash exchange is switched on, and with `management` the
    management API at `management_url`.
    """

    name = "rabbitmq"
    scheme = "amqp"

    def __init__(self, folder: Path, *arguments: Any, management: bool = False, **options: Any) -> None:
        super().__init__(folder, *arguments, **options)
        self.management = management
        self.tls_port = free_port()
        self.management_port = free_port()
        self._distribution_port = free_port()
        self._mapper_port = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.host}:{self.port}/"

    @property
    def login_url(self) -> str:
        """With the user and the password of the tests."""
        return f"amqp://{self.user}:{self.password}@{self.host}:{self.port}/"

    @property
    def tls_url(self) -> str:
        """The port that speaks TLS."""
        return f"amqps://guest:guest@{self.host}:{self.tls_port}/"

    @property
    def management_url(self) -> str:
        """Where the management API is, if it is switched on."""
        return f"http://{self.host}:{self.management_port}"

    def prepare(self) -> None:
        certificates = self.certificates
        lines = {
            "listeners.tcp.1": f"{self.host}:{self.port}",
            "listeners.ssl.1": f"{self.host}:{self.tls_port}",
            "ssl_options.cacertfile": str(certificates.authority),
            "ssl_options.certfile": str(certificates.server),
            "ssl_options.keyfile": str(certificates.server_key),
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
            "load_definitions": str(self.folder / "definitions.json"),
            "management.tcp.ip": self.host,
            "management.tcp.port": str(self.management_port),
            "log.console": "true",
            "log.file": "false",
        }
        text = "".join(f"{key} = {value}\n" for key, value in {**lines, **self.settings}.items())
        (self.folder / "rabbitmq.conf").write_text(text)
        (self.folder / "definitions.json").write_text(json.dumps(self._definitions()))
        plugins = ["rabbitmq_consistent_hash_exchange", *(["rabbitmq_management"] if self.management else [])]
        (self.folder / "plugins").write_text(f"[{','.join(plugins)}].\n")

    def command(self) -> list[str]:
        # The node would start a port mapper that stays when it ends, and would share it with others' nodes.
        mapper = f"{shlex.quote(str(epmd()))} -address {self.host} -port {self._mapper_port}"
        return ["/bin/sh", "-c", f"{mapper} & exec {shlex.quote(str(rabbitmq_server()))}"]

    def environment(self) -> dict[str, str]:
        folder = self.folder
        others = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        return others | {
            "HOME": str(folder),  # where Erlang keeps the secret that the node and rabbitmqctl share
            "ERL_EPMD_ADDRESS": self.host,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG": "-color",
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RUNNING_UNDER_SYSTEMD": "true",  # no shell between us and the node, so that signals reach it
        }

    def answers(self) -> bool:
        return ask(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01\x00\x00")

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node and return what it prints. Takes a second or two."""
        command = [str(rabbitmqctl()), "--quiet", "--node", self._node, *arguments]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def write_down_declarations(self) -> None:
        """Have the node write to disk which queues and exchanges there are, before it is killed.

        It does so by itself within seconds; messages it confirms when they are on disk, but declarations before.
        """
        self.ctl("eval", "mnesia:sync_log().")

    @property
    def _node(self) -> str:
        return "headrace@localhost"

    def _definitions(self) -> dict[str, Any]:
        everything = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        users = {"guest": "guest", self.user: self.password}
        return {
            "vhosts": [{"name": "/"}],
            "users": [{"name": name, "password": word, "tags": "administrator"} for name, word in users.items()],
            "permissions": [{"user": name, **everything} for name in users],
        }
