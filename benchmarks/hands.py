"""`Hands` and `Places`: what a loop written by hand needs of a broker's client, and what the harness needs."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self

GROUP = "bench"
PREFIX = "bench-"
"""What the names of our places begin with."""
READ = 256
"""Messages that a loop reads at once, and publishes in one window."""
Taken = list[tuple[Any, bytes]]
"""Bodies, each with what acknowledges it."""


class Hands(Protocol):
    """One broker's client in the hands of a loop, at least once. Open from enter to exit.

    Classes `Hands` keep to the client's ordinary API; classes `Lower` do the same one layer below, where it is public.
    `Fetch` is the ordinary way to read from where messages wait, where another way is faster.
    """

    windows: int
    """How many runs may be on their way to the server at once, without leaving their order."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    async def take(self, most: int) -> Taken:
        """Wait for messages; at most so many. May be called while the last ones are published and settled."""

    @abstractmethod
    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        """Publish all of them to each target, and wait for the confirms."""

    @abstractmethod
    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        """Acknowledge, now or with what is sent next. `ordered`: these and all that were taken before them."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until the server has all acknowledgements."""


class Places(Protocol):
    """One broker's sources and targets in the hands of the harness. Open from enter to exit."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    async def make(self, source: str, targets: Sequence[str]) -> None:
        """Make them, empty."""

    @abstractmethod
    async def put(self, place: str, bodies: Iterable[bytes]) -> None:
        """Publish, and wait for the confirms."""

    @abstractmethod
    async def read(self, place: str) -> list[bytes]:
        """All that is in a place, in its order."""

    @abstractmethod
    def follow(self, place: str) -> AsyncIterator[list[bytes]]:
        """What comes into a place, from its beginning, as it comes."""

    @abstractmethod
    async def left(self) -> list[str]:
        """What is there under names of ours: an earlier run was killed before it could remove it."""

    @abstractmethod
    async def remove(self, places: Sequence[str]) -> None:
        """Remove them, as far as they are there."""


BROKERS = ("redis", "nats", "rabbitmq", "kafka")


def hands(broker: str, url: str, source: str, way: str = "Hands") -> Hands:
    """The client of one broker for a loop that reads this source, by the class of that name.

    The module is imported here, and not before.
    """
    made: Hands = getattr(import_module(f"benchmarks.by_hand_{broker}"), way)(url, source)
    return made


def goes(broker: str, way: str) -> bool:
    """Whether there are hands of that name for this broker."""
    return hasattr(import_module(f"benchmarks.by_hand_{broker}"), way)


def places(broker: str, url: str) -> Places:
    """The places of one broker."""
    made: Places = import_module(f"benchmarks.at_{broker}").Places(url)
    return made
