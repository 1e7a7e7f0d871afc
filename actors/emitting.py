"""`Emitter`: what a generator yields goes on while its message is still being handled."""

from collections.abc import Callable
from typing import Any

from actors.bound import Aside
from actors.message import Message
from actors.outbox import Outbox, one_of_many

RUN = 256
"""The most messages that a worker takes at once, or has made of one before it waits for room behind."""


class Emitter:
    """Passes on what the generator of one worker yields, as `Emit` asks for it.

    An item is one branch more of its message, which is done when the generator is and all of them are settled.
    """

    def __init__(self, outbox: Outbox, pass_on: Callable[[Message, Any], None]) -> None:
        self._outbox = outbox
        self._pass_on = pass_on
        self._aside: Aside | None = None
        self._message: Message | None = None
        self._part = Message()
        """What each item of that message is derived of; anew for each try."""

    def begin(self, aside: Aside | None) -> None:
        """A handler is made ready, which lets its time stand by `aside` where it is kept to one."""
        self._aside = aside
        self.forget()

    def forget(self) -> None:
        """The next item is of another message, or of another try: that has another body, and a trace of its own."""
        self._message = None

    async def emit(self, message: Message, result: Any, at_once: bool = False) -> None:
        """Pass on one more item; `at_once` where nobody sees the generator wait."""
        if self._message is not message or self._part.body is not message.body:
            self._message, self._part = message, one_of_many(message)
        message.receipt.split(1)
        try:
            self._pass_on(self._part, result)
        except BaseException:
            message.receipt.unsplit(1)
            raise
        if len(self._outbox) >= RUN:
            room = self._outbox.flush()
            await (room if self._aside is None else self._aside(room))
        elif at_once:
            self._outbox.flush_nowait()
