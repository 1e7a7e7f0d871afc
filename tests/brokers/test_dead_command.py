"""`headrace dead` on each broker with a server: what died is listed, shown, put back, and goes through."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

TOPOLOGY = """
import os
from pydantic import BaseModel
from headrace import Topology, broker

server = broker(os.environ["URL"])
name = os.environ["NAME"]


def place(of):
    if hasattr(server, "queue"):
        return server.queue(of)
    if hasattr(server, "topic"):
        return server.topic(of)
    return server.stream(name, subject=of) if hasattr(server, "subject") else server.stream(of)


class Order(BaseModel):
    id: int
    customer: str


topology = Topology(name)


@topology.publisher(place(f"{name}.out"))
@topology.subscriber(place(f"{name}.in"))
async def check(order: Order) -> Order:
    if "MENDED" not in os.environ:
        raise ValueError(f"order {order.id} is odd")
    return order
"""


class Shell:
    """Runs the command on one topology, whose places are new."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.name = f"dead{uuid4().hex[:8]}"
        self.environment = os.environ | {"URL": url, "NAME": self.name}
        (folder / "orders.py").write_text(TOPOLOGY)

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=55,
            check=False,
        )
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(params=["redis", "nats", "rabbitmq", "kafka"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    server: Redis | Nats | RabbitMQ | Kafka = request.getfixturevalue(f"{request.param}_server")
    return Shell(tmp_path, server.url)


def test_dead_letters_are_listed_shown_and_put_back(shell: Shell) -> None:
    source = f"{shell.name}.in"
    bodies = "\n".join(json.dumps({"id": number, "customer": "ann"}) for number in (1, 2, 3))
    shell.run("publish", "orders.py", source, "-", "--header", "tenant=7", stdin=bodies)
    shell.run("run", "orders.py", "--burst")

    shell.run("dead", "list", "orders.py")
    found = json.loads(shell.run("dead", "list", "orders.py", "--json"))
    reasons = sorted(letter["reason"] for letter in found)
    assert reasons == [f"order {number} is odd" for number in (1, 2, 3)], "listing leaves them where they are"
    assert {letter["headers"]["tenant"] for letter in found} == {"7"}
    assert {letter["origin"] for letter in found} == {source}
    assert json.loads(found[0]["body"])["customer"] == "ann"
    shown = shell.run(
        "dead", "show", "orders.py", found[0]["id"] if found[0]["position"] is None else found[0]["position"]
    )
    assert "ValueError" in shown

    assert "1 put back" in shell.run("dead", "redrive", "orders.py", "--reason", "order 2*")
    assert "2 put back" in shell.run("dead", "redrive", "orders.py")
    ended = shell.run("run", "orders.py", "--burst", MENDED="1")
    assert ended == ""
    assert json.loads(shell.run("dead", "list", "orders.py", "--json")) == []
