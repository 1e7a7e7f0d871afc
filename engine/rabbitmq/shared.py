"""`Shared`: the connection that all sources, or all sinks, of a broker have in common."""

import asyncio
from ssl import SSLContext

from actors import BrokerError, BrokerRefused
from engine.rabbitmq import refusals
from engine.rabbitmq.options import RabbitMQOptions
from engine.rabbitmq.wire import Wire


class Shared:
    """A connection that is opened by the first who needs it, again when it was lost, and closed after the last."""

    def __init__(self, options: RabbitMQOptions, purpose: str) -> None:
        self._options = options
        self._purpose = purpose
        self._users = 0
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()
        self._failures = 0
        self._error: BrokerError | None = None

    def join(self) -> None:
        """Need it, from now until `leave`."""
        self._users += 1

    async def leave(self) -> None:
        """Need it no more."""
        self._users -= 1
        if not self._users and self._wire is not None:
            wire, self._wire = self._wire, None
            await wire.close()

    async def wire(self) -> Wire:
        """The connection. Who waited while another's attempt failed shares its error, and does not wait once more."""
        failures = self._failures
        async with self._opening:
            if self._wire is not None and not self._wire.lost.done():
                return self._wire
            if self._failures != failures and self._error is not None:
                raise refusals.again(self._error)
            wire = Wire(self._options)
            try:
                await wire.open(await asyncio.to_thread(self._context), self._purpose)
            except BrokerError as error:
                self._failures += 1
                self._error = error
                raise
            self._wire = wire
            return wire

    def _context(self) -> SSLContext | None:
        try:
            return self._options.context()
        except OSError as error:  # ssl.SSLError is one
            raise BrokerRefused(
                f"RabbitMQ at {self._options.where}: its certificates cannot be read: {error}"
            ) from None
