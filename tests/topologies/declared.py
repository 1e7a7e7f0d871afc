"""What the tests of this floor declare with: a broker that has no server and does nothing, and one model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field

from actors import Capabilities, Endpoint, Sink, Source


@dataclass(frozen=True, eq=False)
class FakeBroker:
    """A broker by name alone."""

    system: str

    async def __aenter__(self) -> Any:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError

    def topic(self, name: str, **options: Any) -> "FakeEndpoint":
        return FakeEndpoint(self, name, options)

    queue = topic


@dataclass(frozen=True)
class FakeEndpoint:
    """An endpoint that can be declared, and not be used."""

    broker: FakeBroker
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Capabilities = field(default=Capabilities(), init=False)

    def source(self, group: str, bound: int = 256) -> Source:
        raise NotImplementedError

    def sink(self) -> Sink:
        raise NotImplementedError

    def dead_letter(self) -> Endpoint:
        return FakeEndpoint(self.broker, f"{self.name}.dead")

    def reply_to(self, destination: str) -> Endpoint:
        return FakeEndpoint(self.broker, destination)


kafka = FakeBroker("kafka")
rabbit = FakeBroker("rabbitmq")


class Order(BaseModel):
    id: int = Field(gt=0)
    customer: str
    priority: str = "low"
    total: float
