"""What a run needs of a broker, on the broker's own client library: no code of the engine is on this side."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from tests.faults.oracle import Arrival


class Place(Protocol):
    """Source, destination and dead letters of one run. Whatever fails raises, and may be called again.

    `across` tells whether order by key is promised across several engines.
    """

    kind: ClassVar[type[Any]]
    across: ClassVar[bool]
    source: str
    destination: str
    """Their names; also what the dead letters' name is made of."""

    def __init__(self, server: Any, name: str) -> None: ...

    async def prepare(self) -> None:
        """Declare source and destination."""
        ...

    async def publish(self, run: Sequence[tuple[str, bytes]]) -> None:
        """Publish keys and bodies in this order, and return when all of them are confirmed."""
        ...

    async def count(self) -> int:
        """How many are at the destination; cheap."""
        ...

    async def arrived(self) -> list[Arrival]:
        """What is at the destination, in its order, and has not been returned before."""
        ...

    async def dead(self) -> list[Arrival]:
        """The dead letters that have not been returned before."""
        ...

    async def forget(self) -> None:
        """Let the server drop what has been read, where it would fill its memory in a long run."""
        ...

    async def refuse(self) -> None:
        """Have the server refuse what is published to the destination."""
        ...

    async def accept(self) -> None:
        """Have it take everything again."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


async def quietly(*closings: Any) -> None:
    """Await what closes connections that may be broken already."""
    for closing in closings:
        try:
            async with asyncio.timeout(5):
                await closing
        except (Exception, asyncio.CancelledError):
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
