"""`Member`: what makes a source of Redis one of several: a name of its own, two connections, and to be heard of."""

import asyncio
from collections.abc import Awaitable, Callable
from socket import gethostname

from actors import BrokerError
from engine.redis.options import Target
from engine.redis.slots import Slot
from engine.redis.wire import Servers, Wire


class Member:
    """One of those who read `place`, which ends with a key's name or a group of it; both connections are to that key.

    By `reader` it reads, which takes as long as nothing is there, and by `teller` it says everything else meanwhile.
    """

    def __init__(self, target: Target, key: str, place: str) -> None:
        servers = Servers(target)
        self.reader = Wire(servers, key)
        self.teller = Wire(servers, key)
        self._name = target.options.consumer or gethostname()
        self._scope = f"{target.where} {place} {self._name}"
        self._slot: Slot | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is between `begin` and `end`."""
        return self._renewing is not None

    def take_name(self) -> str | None:
        """A name that nobody else on this machine has; None where it has one already."""
        if self._slot is not None:
            return None
        self._slot = Slot(self._scope)
        return f"{self._name}:{self._slot.number}"

    def begin(self, renew: Callable[[], Awaitable[object]], every: float) -> None:
        """From now on let others hear of it: await `renew` every so many seconds, also where it failed."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(renew, every))

    async def _renew(self, renew: Callable[[], Awaitable[object]], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await renew()
            except BrokerError:
                continue  # whoever fetches or settles meets the same trouble, and says so

    async def end(self) -> None:
        """No longer let others hear of it: it is closed at once, and returns when nothing is under way."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait((renewing,))

    async def let_go(self) -> None:
        """Let others have the name, and close both connections."""
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        await self.reader.close()
        await self.teller.close()

    async def ping(self) -> None:
        """Return when the server has answered; asked beside whatever is being read."""
        await self.teller.ask("PING")

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self.reader.connected
