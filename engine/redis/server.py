"""`Server`: how to reach one Redis server, or several that make one service."""

from typing import Any

from engine.brokers.endpoint import Enterable
from engine.redis.options import Target


class Server(Enterable):
    """Opens nothing when it is made. Sources and sinks have connections of their own."""

    system = "redis"

    def __init__(self, url: str = "redis://localhost:6379/0", **options: Any) -> None:
        self.target = Target(url, options)

    def __repr__(self) -> str:
        return f"Redis({self.target.where!r})"
