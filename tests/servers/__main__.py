"""Starts the servers for playing, prints where they are, and stops them on Ctrl-C: `python -m tests.servers`."""

import argparse
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.process import Server, ServerFailed
from tests.servers.programs import Missing
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.site import Site

KINDS: dict[str, type[Server]] = {kind.name: kind for kind in (Redis, Nats, RabbitMQ, Kafka)}


def main(arguments: list[str] | None = None) -> int:
    """Start what was asked for, print its URLs, and stay until told to stop."""
    names = _names(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Site() as site:
            servers = [site.prepare(KINDS[name]) for name in names]
            with console.status(f"Starting {', '.join(names)}"), ThreadPoolExecutor() as threads:
                list(threads.map(Server.start, servers))
            console.print(_table(servers))
            console.print("Data goes when they stop. Ctrl-C stops them.")
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except (Missing, ServerFailed) as failure:
        console.print(str(failure), style="red", markup=False)
        return 1
    return 0


def _names(arguments: list[str] | None) -> list[str]:
    parser = argparse.ArgumentParser(prog="make servers", description=__doc__)
    parser.add_argument("--only", default=",".join(KINDS), help="which of them, with commas between")
    names = [name.strip() for name in parser.parse_args(arguments).only.split(",")]
    for name in names:
        if name not in KINDS:
            parser.error(f"There is no server {name!r}. Choose from {', '.join(KINDS)}.")
    return names


def _table(servers: list[Server]) -> Table:
    table = Table("Server", "URL", "Process", title="Servers for playing")
    for server in servers:
        table.add_row(server.name, server.url, str(server.pid))
    return table


if __name__ == "__main__":
    sys.exit(main())
