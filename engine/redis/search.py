"""`Search`: what one consumer of a group reads next, its own leftovers before those of others and what is new."""

from collections.abc import Collection, Iterable, Mapping
from logging import getLogger
from time import monotonic
from typing import Any

from redis.exceptions import ResponseError

from actors import Message
from engine.redis.connection import Command
from engine.redis.errors import answer, code
from engine.redis.fields import entry_message
from engine.redis.group import MANY, Consumer, Start
from engine.redis.positions import reached, resumed
from engine.redis.wire import Wire

logger = getLogger("headrace.redis")
BLOCK = 5.0
"""Seconds that a read waits at the server before it looks for what dead consumers left."""


class Search:
    """Reads by that wire as `me`, and notes in `held` what it brings.

    First comes what a former process under the same name did not finish, then what other consumers have not renewed
    for `idle` milliseconds, then what is new.
    """

    def __init__(self, wire: Wire, me: Consumer, held: dict[bytes, Message], start: Start, idle: int) -> None:
        self.me = me
        self._wire = wire
        self._held = held
        self._start: Start = start
        self._idle = idle
        self._own: str | None = "-"
        """How far the search for what is pending here and not held has come; None when it is over."""
        self._swept: bytes | None = b"0-0"
        """How far the search for what others left has come; None until the next one is due."""
        self._sweep_at = 0.0
        self._inherits = True
        """Whether there may be something of a former process that was not found yet."""
        self._seen: bytes | None = None
        """The last entry that came to the group, as far as known here."""
        self.unfetched = set[bytes]()
        """What is no longer held without having been fetched, and may still be counted as handed out."""
        self.remade = 0
        """How often the group was found deleted, and made anew."""

    async def join(self, wire: Wire, me: Consumer) -> None:
        """Make the stream and the group where they are missing, and begin from the beginning."""
        self.me = me
        await self._create(wire)
        if self._start == "latest":
            self._seen = await reached(wire, me)
        self._inherits = True
        self.restart()

    def restart(self) -> None:
        """Look again for everything that is pending, here or with others, before what is new."""
        self._own, self._swept = "-", b"0-0"

    async def _create(self, wire: Wire, after: bytes | None = None) -> None:
        (reply,) = await wire.exchange((self.me.create(self._start, after),))
        if isinstance(reply, ResponseError) and code(reply) != "BUSYGROUP":
            raise answer(reply, wire.where)

    def lost(self) -> None:
        """An answer may have been lost on its way: what it brought is pending here."""
        self._own = "-"

    async def look(self, limit: int) -> list[Message]:
        """Entries to hand out, at most so many; none where there were none of that kind, or the wait was over."""
        if self._own is not None:
            return await self._leftovers(self._own, limit)
        if self._swept is not None:
            return await self._abandoned(self._swept, limit)
        return await self._new(limit)

    async def _new(self, limit: int) -> list[Message]:
        wait = min(max(self._sweep_at - monotonic(), 0.001), BLOCK)
        (reply,) = await self._wire.exchange((self.me.read(limit, int(wait * 1000)),), wait=wait)
        if isinstance(reply, ResponseError):
            if code(reply) not in ("NOGROUP", "UNBLOCKED"):
                raise answer(reply, self._wire.where)
            await self._rejoin()
        if monotonic() >= self._sweep_at:
            self._swept = b"0-0"
        if not isinstance(reply, list):
            return []
        self._seen = reply[0][1][-1][0]
        return self._take(reply[0][1])

    async def _rejoin(self) -> None:
        """Make the group anew, when somebody has deleted it, or its stream.

        One that began at the earliest does so again. One that began at the latest must not: what came meanwhile
        would be nobody's. It goes on behind what it has seen, and what is held is noted in it.
        """
        wire, me, after = self._wire, self.me, None
        if self._start == "latest" and self._seen is not None:
            after = await resumed(wire, me.stream, self._seen)
        await self._create(wire, after)
        if after is not None and self._held:
            await wire.exchange(me.hold(list(self._held)))
        self.remade += 1
        logger.warning("%s: somebody has deleted the group %s: made anew", wire.where, me.group)

    async def _leftovers(self, start: str, limit: int) -> list[Message]:
        """What is pending under this name without being held: of a former process, or of a lost answer."""
        rows = await self._ask_group(self.me.pending(start))
        lost = [row for row in rows if row[0] not in self._held]
        over = len(rows) < MANY and len(lost) <= limit
        self._inherits = self._inherits and not over
        self._own = None if over else f"({(lost[limit - 1] if len(lost) > limit else rows[-1])[0].decode()}"
        attempts = {row[0]: row[3] + (row[0] not in self.unfetched) for row in lost[:limit]}
        return self._take(await self._ask_group(self.me.claim(attempts)), attempts) if attempts else []

    async def _abandoned(self, start: bytes, limit: int) -> list[Message]:
        """What other consumers have had for too long, as far as it fits into one answer."""
        found = await self._ask_group(self.me.abandoned(self._idle, start, limit))
        if not found:
            return []
        self._swept = found[0]
        if self._swept == b"0-0":
            self._swept, self._sweep_at = None, monotonic() + min(BLOCK, self._idle / 2000)
        entries = [entry for entry in found[1] if entry and entry[0] not in self._held]
        if not entries:
            return []
        counts = await self._wire.exchange(self.me.whose(entry for entry, _ in entries))
        return self._take(entries, {row[0][0]: row[0][3] for row in counts if isinstance(row, list) and row})

    async def own(self, wire: Wire) -> dict[bytes, int]:
        """All that is pending here, and how often each was handed out."""
        found, start = dict[bytes, int](), "-"
        while True:
            (rows,) = await wire.exchange((self.me.pending(start),))
            if isinstance(rows, ResponseError):
                if code(rows) != "NOGROUP":
                    raise answer(rows, wire.where)
                return {}
            found |= {row[0]: row[3] for row in rows}
            if len(rows) < MANY:
                return found
            start = f"({rows[-1][0].decode()}"

    def parting(self, own: Mapping[bytes, int], unfetched: Iterable[bytes], keep: Collection[bytes]) -> list[Command]:
        """How others get at once what is pending here, except what is to be kept.

        What nobody fetched was counted as handed out, and was not: it stays in `unfetched` until this is known to have
        been done. The same goes for what is pending here and not held, if it can be of no former process: its answer
        was lost.
        """
        self.unfetched.update(unfetched)
        found = [entry for entry in own if entry not in keep]
        lost: Collection[bytes] = self.unfetched if self._inherits else self.unfetched | (own.keys() - self._held)
        counted = {entry: max(0, own[entry] - 1) for entry in found if entry in lost}
        return self.me.park(found) + self.me.count(counted, parked=True)

    async def _ask_group(self, command: Command) -> Any:
        """An answer about the group; nothing where somebody has deleted it, which the next read mends."""
        (reply,) = await self._wire.exchange((command,))
        if isinstance(reply, ResponseError):
            if code(reply) != "NOGROUP":
                raise answer(reply, self._wire.where)
            self._own = self._swept = None
            return []
        return reply

    def _take(self, entries: Iterable[Any], attempts: Mapping[bytes, int] | None = None) -> list[Message]:
        stream, held = self.me.stream, self._held
        run: list[Message] = []
        for found in entries:
            if not found or not found[1]:
                continue  # deleted from the stream while it was pending
            entry, fields = found
            message = entry_message(stream, entry, fields, attempts.get(entry, 2) if attempts is not None else 1)
            held[entry] = message
            run.append(message)
        if self.unfetched:
            self.unfetched.difference_update(held)
        return run
