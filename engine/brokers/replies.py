"""`Replies`: the inbox of one broker object, and the requests that wait for something in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import Event

from actors import Endpoint, Message

GROUP = "inbox"
AT_ONCE = 256
"""Replies that are fetched in one go."""


class Slot:
    """One request's place to find its reply in."""

    __slots__ = ("event", "reply")

    def __init__(self) -> None:
        self.event = Event()
        self.reply: Message | None = None


class Replies:
    """Hands each reply to the request with its correlation id; a reply that nobody waits for is dropped.

    It has no task of its own, so that a broker may be entered in one task and left in another: one of the waiting
    requests reads for all of them, and when it leaves wakes the next to go on with that.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.address = endpoint.name
        self.source = endpoint.source(GROUP)
        self._slots: dict[str, Slot] = {}
        self._reading = False

    @contextmanager
    def expect(self, correlation_id: str) -> Iterator[Slot]:
        """A slot for the reply with that correlation id, as long as the block lasts."""
        slot = self._slots[correlation_id] = Slot()
        try:
            yield slot
        finally:
            self._slots.pop(correlation_id, None)
            if not self._reading:
                for waiting in self._slots.values():
                    waiting.event.set()
                    break

    async def wait(self, slot: Slot) -> Message:
        """The reply in that slot, as soon as it has come."""
        while slot.reply is None:
            if self._reading:
                await slot.event.wait()
                slot.event = Event()
            else:
                await self._read()
        return slot.reply

    async def _read(self) -> None:
        self._reading = True
        try:
            run = await self.source.fetch(AT_ONCE)
            for message in run:
                slot = self._slots.pop(message.correlation_id or "", None)
                if slot is not None:
                    slot.reply = message
                    slot.event.set()
            await self.source.settle(run, ())
        finally:
            self._reading = False
