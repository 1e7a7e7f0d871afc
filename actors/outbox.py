"""`Outbox`: what a worker made, on its way to the mailboxes behind, in runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from actors.mailbox import Mailbox
from actors.message import NOWHERE, Message, Origin, Provenance, carried

Adapter = Callable[[Any], Any]
LaneOf = Callable[[Message], Hashable]


@dataclass(frozen=True, slots=True, eq=False)
class Outlet:
    """A way from one stage to a mailbox behind it.

    `adapt` makes of a body what the stage behind takes, where that is not the same; `lane` gives the key that the
    stage behind keeps order by.
    """

    name: str
    mailbox: Mailbox[Message]
    adapt: Adapter | None = None
    lane: LaneOf | None = None

    def fit(self, message: Message) -> Message:
        """Make a message ready for the stage behind; raises what `adapt` and `lane` raise."""
        if self.adapt is not None:
            message.body = self.adapt(message.body)
        if self.lane is not None:
            message.lane = self.lane(message)
            hash(message.lane)
        return message

    @property
    def plain(self) -> bool:
        """Whether messages go on as they are."""
        return self.adapt is None and self.lane is None


class Outbox:
    """One buffer per outlet. It outlives a crash of its worker, so what was made is passed on all the same."""

    __slots__ = ("_pairs", "blocked", "buffers", "outlets", "since")

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self.outlets = tuple(outlets)
        self.buffers: tuple[list[Message], ...] = tuple([] for _ in outlets)
        self.blocked = 0.0
        """Seconds that it waited for room behind, since somebody last looked and set it to 0."""
        self.since: float | None = None
        """While it waits for room: since when."""
        self._pairs = tuple(zip(self.buffers, (outlet.mailbox for outlet in outlets), strict=True))

    def without_last(self) -> Outbox:
        """The same outbox less its last outlet, sharing the buffers of the others."""
        part = Outbox(self.outlets[:-1])
        part.buffers = self.buffers[:-1]
        return part

    def flush_nowait(self) -> None:
        """Put what fits; the rest stays."""
        for buffer, mailbox in self._pairs:
            if buffer:
                mailbox.put_nowait(buffer)

    async def flush(self) -> None:
        """Put everything, waiting for room: this is where backpressure is felt. Cancelled, the rest stays."""
        for buffer, mailbox in self._pairs:
            if buffer:
                mailbox.put_nowait(buffer)
                if buffer:
                    began = self.since = perf_counter()
                    try:
                        await mailbox.put(buffer)
                    finally:
                        self.since = None
                        self.blocked += perf_counter() - began

    def __len__(self) -> int:
        return sum(map(len, self.buffers))


def passed_on(message: Message, result: Any) -> Message:
    """What goes on for a handler's result: a body, or a `Message` that sets more than the body."""
    if type(result) is not Message:
        return message.derive(result)
    made = message.derive(result.body)
    if result is not message:
        if result.key is not None:
            made.key = result.key
        if result.headers is not None:
            made.headers = result.headers
        if result.reply_to is not None:
            made.reply_to = result.reply_to
        if result.origin is not NOWHERE:
            made.origin = carried(message.origin, _overlaid(message.origin, result.origin))
    return made


def one_of_many(message: Message) -> Message:
    """The message for one of several results to be derived of: without its id, which each of them would have."""
    if message.origin.id is None:
        return message
    part = message.derive(message.body)
    part.reply_to = message.reply_to
    plain = _overlaid(message.origin, NOWHERE)
    plain.id = None
    part.origin = carried(message.origin, plain)
    return part


def _overlaid(below: Provenance, above: Provenance) -> Origin:
    """An origin with what `above` sets, and otherwise what `below` says."""
    made = Origin()
    for name in Origin.__slots__:
        value = getattr(above, name)
        setattr(made, name, getattr(below, name) if value is None else value)
    return made
