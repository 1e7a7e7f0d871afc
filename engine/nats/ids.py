"""`Ids`: under which id a message is published to JetStream, which stores an id once within a while."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from uuid import uuid4

from actors import Message, only_one
from engine.nats.confirms import Part, Run, checked
from engine.nats.headers import MESSAGE_ID, encode

TRACE = frozenset(("traceparent", "tracestate", "baggage"))
"""Headers of the trace that a message is sent in, as the W3C has it: made again it is sent in another one."""


class Ids:
    """Of one sink. `again` says whether a message that is made again after a crash is to have its id again."""

    __slots__ = ("_again", "_given", "_kept", "_name", "done")

    def __init__(self, again: bool) -> None:
        self._again = again
        self._name = uuid4().hex[:20]
        self._given = 0
        self._kept: dict[Message, str] = {}
        """Of runs that failed half-way: they may be published again."""
        self.done: set[Message] = set()
        """Of the same runs: what was confirmed, and need not be."""

    def parts_of(self, run: Sequence[Message]) -> tuple[list[Part], dict[int, Exception]]:
        """What of a run is to be published, each with its id; and what cannot be, with the reason."""
        parts: list[Part] = []
        failures: dict[int, Exception] = {}
        done = self.done
        for index, message in enumerate(run):
            if done and message in done:
                continue
            try:
                headers = encode(message, message.reply_to)
                subject = checked(message.destination)
            except (TypeError, ValueError) as error:
                failures[index] = error
                continue
            if MESSAGE_ID not in headers:
                headers[MESSAGE_ID] = self.id_of(message, subject, headers)
            parts.append(Part(index, message, subject, message.raw or b"", headers))
        return parts, failures

    def id_of(self, message: Message, subject: str, headers: dict[str, str]) -> str:
        """That of a run that failed; else a new one, or what it has again after a restart.

        The last where this is all that is made of another message: all that is published is part of that id, its trace
        apart, so that no two different messages share it.
        """
        if kept := self._kept.get(message):
            return kept
        made_of = only_one(message) if self._again else None
        if made_of is None:
            self._given += 1
            return f"{self._name}.{self._given}"
        if not TRACE.isdisjoint(headers):
            headers = {name: value for name, value in headers.items() if name not in TRACE}
        told = f"{made_of!r}{subject!r}{headers!r}".encode()
        return sha256(told + (message.raw or b"")).hexdigest()[:32]

    def keep(self, runs: Iterable[Run]) -> None:
        """What these failed with may be published again."""
        for run in runs:
            for part in run.parts:
                if part.index in run.left or part.index in run.refused:
                    self._kept[part.message] = part.headers[MESSAGE_ID]
                else:
                    self.done.add(part.message)

    def settle(self, run: Sequence[Message]) -> None:
        """These are published, or refused: what was kept of them is forgotten."""
        if self._kept or self.done:
            self.done.difference_update(run)
            for message in run:
                self._kept.pop(message, None)

    def clear(self) -> None:
        """Forget what was kept."""
        self._kept.clear()
        self.done.clear()
