"""Compile a handler and run it as a worker would, without a worker."""

from collections.abc import Mapping
from logging import getLogger
from typing import Any

from actors import Bound, Message
from topologies import Handler
from topologies.handler import compile_handler
from topologies.inject import AnyLogger
from topologies.place import Where


def compiled(function: Any, **options: Any) -> Handler:
    """The handler of a stage called `stage`, declared at `here.py:1`."""
    return compile_handler(function, Where("here.py:1", "stage"), **{"names": {}, **options})


class Worker:
    """Binds a handler and keeps what it emits."""

    def __init__(
        self, handler: Handler, context: Mapping[str, Any] | None = None, logger: AnyLogger | None = None
    ) -> None:
        self.emitted: list[tuple[Message, Any]] = []
        self.bound: Bound = handler.bind(self._emit, context or {}, logger or getLogger("tests"))

    async def handle(self, message: Message) -> Any:
        return await self.bound.invoke(message)

    @property
    def items(self) -> list[Any]:
        return [item for _, item in self.emitted]

    async def _emit(self, message: Message, item: Any, at_once: bool = False) -> None:
        self.emitted.append((message, item))


async def handled(function: Any, message: Message, context: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """What the handler returns for one message."""
    return await Worker(compiled(function, **options), context).handle(message)
