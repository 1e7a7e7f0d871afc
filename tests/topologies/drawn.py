"""Endpoints of servers that there are not, for drawings: values, and nothing behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors import Capabilities, Sink, Source


@dataclass(frozen=True, eq=False)
class Server:
    """A broker by its kind."""

    system: str = "memory"

    async def __aenter__(self) -> Any:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Place:
    """An endpoint by its name."""

    broker: Server
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    can: Capabilities = field(default_factory=Capabilities)

    @property
    def capabilities(self) -> Capabilities:
        return self.can

    def source(self, group: str, bound: int = 256) -> Source:
        raise NotImplementedError

    def sink(self) -> Sink:
        raise NotImplementedError

    def dead_letter(self) -> "Place":
        return Place(self.broker, f"{self.name}.dead")

    def reply_to(self, destination: str) -> "Place":
        raise NotImplementedError
