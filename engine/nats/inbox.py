"""`Inbox`: where the confirms of all that a sink publishes come, and which message each is for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from actors import BrokerRefused, BrokerUnavailable
from engine.nats.commands import Publication
from engine.nats.confirms import Run, found_text, too_long
from engine.nats.declare import answer, covers
from engine.nats.denials import Denials
from engine.nats.errors import refused

PIECE = 128 * 1024
"""Bytes that are handed to nats-py in one go, about."""
SPARE = 200
"""What a message has of them beside its body, about."""
_FULL = frozenset((10002, 10023, 10028, 10047, 10077, 10122))
"""What would happen to any other message too: nothing more fits into the stream, or onto the server."""
_ROOM = "raise the limits of the stream or of the account, or let old messages go (discard: old)"


def full(where: str, said: str) -> BrokerRefused:
    """The error for a stream, or a server, that has no room."""
    return refused(f"{where}: destination refuses for now", said, _ROOM)


class Inbox:
    """Of one sink, and of one connection after the other: what comes to it is told to the run that waits for it."""

    __slots__ = ("_number", "_pattern", "_prefix", "_read", "_twice", "_where", "waiting")

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        """What its stream is known to take, whenever that is found."""
        self._where = ""
        self._prefix = ""
        self._read = b""
        """The same, as it is read."""
        self._number = 0
        self.waiting: dict[int, tuple[Run, int]] = {}
        """What each expected confirm is for, by the number that its subject ends with."""
        self._twice = 0
        """Confirms that said: it is there already."""

    def begin(self, inbox: str, where: str) -> str:
        """Wait for what comes to that inbox of a new connection, `where` in words; the subject to subscribe to."""
        self._where = where
        self._prefix = f"{inbox}."
        self._read = self._prefix.encode()
        return f"{self._prefix}*"

    def pieces(self, run: Run, most: int) -> Iterator[list[Publication]]:
        """What is to be written of a run, each to be confirmed here; what is over `most` bytes is refused.

        What was written of it before is answered again now, and what is said about that has no meaning any more.
        """
        self.drop(run)
        run.denied = None
        waiting, prefix, numbers = self.waiting, self._prefix, run.numbers
        size = 0
        some: list[Publication] = []
        for part in list(run.left.values()):
            if (wrong := too_long(part.raw, part.headers, most)) is not None:
                run.refuse(part.index, wrong)
                continue
            self._number = number = self._number + 1
            waiting[number] = run, part.index
            numbers.append(number)
            some.append((part.subject, f"{prefix}{number}", part.headers, part.raw))
            size += len(part.raw) + SPARE
            if size >= PIECE:
                yield some
                some, size = [], 0
        if some:
            yield some

    def drop(self, run: Run) -> None:
        """Expect nothing more for a run."""
        for number in run.numbers:
            self.waiting.pop(number, None)
        run.numbers.clear()

    def wake(self) -> None:
        """Have all runs looked at."""
        for run in {run for run, _ in self.waiting.values()}:
            run.tell()

    def denied(self, said: str) -> None:
        """Have all runs looked at, for a right that the server denies: it says which, and not to whom."""
        for run in {run for run, _ in self.waiting.values()}:
            run.denied = run.denied or Denials()
            run.denied.note(said)
            run.tell()

    def objections(self, run: Run, denied: Denials) -> dict[int, str]:
        """What of a run the server has denied, with its words. A confirm of that is expected no more."""
        found: dict[int, str] = {}
        for number in run.numbers:
            _, index = self.waiting.get(number, (None, -1))
            if index in run.left and (said := denied.of(run.left[index].subject)):
                found[index] = said
                del self.waiting[number]
        return found

    def ahead(self, run: Run) -> int:
        """How many confirms are expected of a run, and of what was written before the last of it."""
        last = run.numbers[-1] if run.numbers else 0
        return sum(map(last.__ge__, self.waiting))

    def said_twice(self) -> int:
        """How many messages were there already, since this was asked last."""
        twice, self._twice = self._twice, 0
        return twice

    def take(self, subject: bytes, reply: bytes, body: bytes, headers: dict[str, str] | None) -> bool:
        """Take confirms as they are read; what has headers says that there is no stream."""
        if headers is not None or not self._read or not subject.startswith(self._read):
            return False
        self._confirm(subject[len(self._read) :], body, None)
        return True

    def told(self, subject: str, body: bytes, headers: Mapping[str, str] | None) -> None:
        """What was not taken."""
        self._confirm(subject[len(self._prefix) :].encode(), body, headers)

    def _confirm(self, number: bytes, body: bytes, headers: Mapping[str, str] | None) -> None:
        run, index = self.waiting.pop(int(number), (None, 0)) if number.isdigit() else (None, 0)
        if run is None:
            return
        if b'"duplicate":' in body:
            self._twice += 1
        if body and b'"error":' not in body:  # in a name its quotes would be escaped
            run.confirm(index)
        elif index in run.left:
            self._object(run, index, body, headers)

    def _object(self, run: Run, index: int, body: bytes, headers: Mapping[str, str] | None) -> None:
        """Take down what the server has against a message."""
        where, subject = self._where, run.left[index].subject
        if not body:
            if run.missing < 2 or covers(self._pattern, subject):  # its stream is gone, or has nobody who leads it
                run.missing = 1
                run.tell()
                return
            said = f"{(headers or {}).get('Status', 'nothing')}: no stream takes {subject}"
            run.refuse(index, refused(where, said, f"add {subject} to the subjects of a stream"))
            return
        try:
            error: Any = json.loads(body)["error"]
            found = answer(error, where)
        except (ValueError, KeyError, TypeError, AttributeError):
            run.refuse(index, refused(where, body[:200].decode(errors="backslashreplace")))
            return
        if error.get("err_code") in _FULL or isinstance(found, BrokerUnavailable):
            run.against = found if error.get("err_code") not in _FULL else full(where, found_text(error))
            run.tell()
        else:
            run.refuse(index, found)
