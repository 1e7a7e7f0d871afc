"""Where the servers' programs are on this machine."""

from pathlib import Path

KAFKA_VERSION = "4.3.1"


class Missing(Exception):
    """A server is not installed. Says which one and how to get it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} is not installed. {remedy}")


def redis_server() -> Path:
    """Return Redis's server."""
    return _found(
        "Redis",
        _on_path("redis-server"),
        "Run `make servers`, or as root `apt-get install redis-server` (elsewhere: `brew install redis`).",
    )
