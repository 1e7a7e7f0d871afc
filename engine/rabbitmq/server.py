"""`Server`: how to reach one RabbitMQ server, and the connections there are to it."""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from engine.brokers.endpoint import Enterable
from engine.rabbitmq.options import RabbitMQOptions
from engine.rabbitmq.shared import Shared


class Server(Enterable):
    """Opens nothing when it is made.

    All sources of an event loop share one connection and all sinks another, each with a channel of its own.
    """

    system = "rabbitmq"

    def __init__(self, url: str = "amqp://guest:guest@localhost/", **options: Any) -> None:
        self._options = RabbitMQOptions.of(url, options)
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Shared]] = WeakKeyDictionary()

    def asking(self) -> Shared:
        """A new connection, for looking at what there is; it reads nothing and publishes nothing."""
        return Shared(self._options, "pre-flight")

    @property
    def told(self) -> RabbitMQOptions:
        """What it was told of its server."""
        return self._options

    def reading(self) -> Shared:
        """The connection of all sources in the running event loop."""
        return self._shared("consuming")

    def writing(self) -> Shared:
        """The connection of all sinks in the running event loop. A server that is short of memory stops this one."""
        return self._shared("publishing")

    def _shared(self, purpose: str) -> Shared:
        mine = self._connections.setdefault(asyncio.get_running_loop(), {})
        if purpose not in mine:
            mine[purpose] = Shared(self._options, purpose)
        return mine[purpose]

    def __repr__(self) -> str:
        return f"RabbitMQ({self._options.where})"
