"""Redis streams: `StreamSource` reads for a consumer group, and leaves nothing unfinished behind."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from logging import getLogger
from socket import gethostname
from time import monotonic
from typing import Any

from redis.exceptions import ResponseError

from actors import BrokerError, BrokerUnavailable, Message
from engine.redis.connection import Command
from engine.redis.errors import answer, code
from engine.redis.fields import Entry, entry_message
from engine.redis.group import MANY, Consumer, Start, order
from engine.redis.options import Target
from engine.redis.positions import reached, resumed
from engine.redis.reading import Reading
from engine.redis.slots import Slot
from engine.redis.wire import Servers, Wire

logger = getLogger("headrace.redis")
BLOCK = 5.0
"""Seconds that a read waits at the server before it looks for what dead consumers left."""


class StreamSource:
    """Reads a stream as one consumer of a group, which begins at `start` where it is new.

    First comes what a former process under the same name did not finish, then what other consumers have not renewed
    for `min_idle`, then what is new. Whatever is held is renewed every third of that time, so that it may take as long
    as it takes. What is returned stays with this consumer and is handed out again before anything else.

    Where more waits than is asked for, the next run is read while one is handled, so that nobody waits for the server:
    at most as many as were ever asked for at once.
    """

    def __init__(self, target: Target, stream: str, group: str, start: Start) -> None:
        options = target.options
        self._me = Consumer(stream, group)
        self._start: Start = start
        self._idle = round(options.min_idle * 1000)
        self._name = options.consumer or gethostname()
        self._scope = f"{target.where} {stream} {group} {self._name}"
        servers = Servers(target)
        self._reader = Wire(servers, stream)
        self._teller = Wire(servers, stream)
        self._reading: Reading[list[Message]] = Reading()
        self._renewing: asyncio.Task[None] | None = None
        self._slot: Slot | None = None
        self._held: dict[bytes, Message] = {}
        """What was read and is not settled, by id."""
        self._back: list[Message] = []
        """What was returned, to be handed out again in the order of the stream."""
        self._ready: list[Message] = []
        """What was read and not handed out yet."""
        self._own: str | None = "-"
        """How far the search for what is pending here and not held has come; None when it is over."""
        self._swept: bytes | None = b"0-0"
        """How far the search for what others left has come; None until the next one is due."""
        self._sweep_at = 0.0
        self._seen: bytes | None = None
        """The last entry that came to the group, as far as known here."""
        self.remade = 0
        """How often the group was found deleted, and made anew."""
        self._most = MANY
        """Entries in one answer; fewer after trouble."""
        self._asked = 1
        """The most that were asked for at once."""
        self._full = 0
        """How many reads in a row brought as many as they asked for."""
        self._renewed = 0.0

    # -- from open to close --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the stream and the group where they are missing, and take a name in it."""
        if self._slot is None:
            self._slot = Slot(self._scope)
            self._me = replace(self._me, name=f"{self._name}:{self._slot.number}")
        try:
            await self._join(self._teller)
            if self._start == "latest":
                self._seen = await reached(self._teller, self._me)
        except BaseException:
            await self._let_go()
            raise
        self._own, self._swept, self._renewed = "-", b"0-0", monotonic()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    async def _join(self, wire: Wire) -> None:
        (reply,) = await wire.exchange((self._me.create(self._start),))
        if isinstance(reply, ResponseError) and code(reply) != "BUSYGROUP":
            raise answer(reply, wire.where)

    async def close(self) -> None:
        """Give what is not settled to whichever consumer reads next; lets go of the name."""
        if self._renewing is None:
            return
        renewing, self._renewing = self._renewing, None
        self._reading.wake()
        try:
            renewing.cancel()
            await asyncio.wait((renewing,))
            await self._reading.stop()
            await self._leave()
        except BrokerError:
            pass  # what is left goes to others when it has been idle for long enough
        finally:
            self._held.clear()
            self._back.clear()
            self._ready.clear()
            await self._let_go()

    async def _leave(self) -> None:
        me = self._me
        rows = await self._teller.ask(*me.pending(most=MANY * 10))
        # What was returned was counted as handed out again, which it no longer will be.
        counted = {_entry(again): again.attempt - 1 for again in self._back}
        parked = me.park([row[0] for row in rows]) + me.count(counted, parked=True)
        await self._teller.exchange([*parked, me.leave()])

    async def _let_go(self) -> None:
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        await self._reader.close()
        await self._teller.close()

    # -- fetching ------------------------------------------------------------------------------------------------

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them: what was returned first, then in the order of the stream."""
        while True:
            if self._renewing is None:
                raise BrokerUnavailable(f"this source of {self._me.stream} is closed: open it before fetching")
            if self._back:
                run = self._back[:limit]
                del self._back[:limit]
                return run
            if run := self._ready[:limit]:
                del self._ready[:limit]
                if not self._ready:
                    self._read_ahead(limit)
                return run
            self._ready += await self._reading.result(lambda: self._next(limit)) or ()

    def _read_ahead(self, limit: int) -> None:
        """Have the next run read before it is asked for, where one full run has followed another."""
        most = self._asked = max(self._asked, limit)
        if self._full > 1:
            self._reading.begin(lambda: self._next(most))

    async def _next(self, limit: int) -> list[Message]:
        """Something to hand out; as long as there is nothing, again."""
        try:
            while not (run := await self._look(min(limit, self._most))):
                pass
        except Exception:
            self._own = "-"  # an answer may have been lost on its way: what it brought is pending here
            self._most = max(1, min(limit, self._most) // 4)  # or it was too much for a slow connection
            raise
        self._full = self._full + 1 if len(run) >= min(limit, self._most) else 0
        self._most = min(MANY, self._most * 2)
        return run

    async def _look(self, limit: int) -> list[Message]:
        if self._own is not None:
            return await self._leftovers(self._own, limit)
        if self._swept is not None:
            return await self._abandoned(self._swept, limit)
        return await self._new(limit)

    async def _new(self, limit: int) -> list[Message]:
        wait = min(max(self._sweep_at - monotonic(), 0.001), BLOCK)
        (reply,) = await self._reader.exchange((self._me.read(limit, int(wait * 1000)),), wait=wait)
        if isinstance(reply, ResponseError):
            if code(reply) not in ("NOGROUP", "UNBLOCKED"):
                raise answer(reply, self._reader.where)
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
        wire, me, after = self._reader, self._me, None
        if self._start == "latest" and self._seen is not None:
            after = await resumed(wire, me.stream, self._seen)
        (reply,) = await wire.exchange((me.create(self._start, after),))
        if isinstance(reply, ResponseError) and code(reply) != "BUSYGROUP":
            raise answer(reply, wire.where)
        if after is not None and self._held:
            await wire.exchange(me.hold(list(self._held)))
        self.remade += 1
        logger.warning("%s: somebody has deleted the group %s: made anew", wire.where, me.group)

    async def _leftovers(self, start: str, limit: int) -> list[Message]:
        """What is pending under this name without being held: of a former process, or of a lost answer."""
        rows = await self._ask_group(self._me.pending(start))
        lost = [row for row in rows if row[0] not in self._held]
        over = len(rows) < MANY and len(lost) <= limit
        self._own = None if over else f"({(lost[limit - 1] if len(lost) > limit else rows[-1])[0].decode()}"
        attempts = {row[0]: row[3] + 1 for row in lost[:limit]}
        return self._take(await self._ask_group(self._me.claim(attempts)), attempts) if attempts else []

    async def _abandoned(self, start: bytes, limit: int) -> list[Message]:
        """What other consumers have had for too long, as far as it fits into one answer."""
        found = await self._ask_group(self._me.abandoned(self._idle, start, limit))
        if not found:
            return []
        self._swept = found[0]
        if self._swept == b"0-0":
            self._swept, self._sweep_at = None, monotonic() + min(BLOCK, self._idle / 2000)
        entries = [entry for entry in found[1] if entry and entry[0] not in self._held]
        if not entries:
            return []
        counts = await self._reader.exchange(self._me.whose(entry for entry, _ in entries))
        return self._take(entries, {row[0][0]: row[0][3] for row in counts if isinstance(row, list) and row})

    async def _ask_group(self, command: Command) -> Any:
        """An answer about the group; nothing where somebody has deleted it, which the next read mends."""
        (reply,) = await self._reader.exchange((command,))
        if isinstance(reply, ResponseError):
            if code(reply) != "NOGROUP":
                raise answer(reply, self._reader.where)
            self._own = self._swept = None
            return []
        return reply

    def _take(self, entries: Iterable[Any], attempts: Mapping[bytes, int] | None = None) -> list[Message]:
        stream, held = self._me.stream, self._held
        run: list[Message] = []
        for found in entries:
            if not found or not found[1]:
                continue  # deleted from the stream while it was pending
            entry, fields = found
            message = entry_message(stream, entry, fields, attempts.get(entry, 2) if attempts is not None else 1)
            held[entry] = message
            run.append(message)
        return run

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge `done` in one command, and hand `returned` out again; what is not held is forgotten silently."""
        held, me = self._held, self._me
        acked = [
            message.origin.entry
            for message in done
            if type(message.origin) is Entry and held.get(message.origin.entry) is message
        ]
        back = {entry: self._again(message) for message in returned if held.get(entry := _entry(message)) is message}
        commands = me.acknowledge(acked) + me.count({entry: again.attempt for entry, again in back.items()})
        if commands:
            for reply in await self._teller.exchange(commands):
                if isinstance(reply, ResponseError) and code(reply) != "NOGROUP":
                    raise answer(reply, self._teller.where)
        for entry in acked:
            held.pop(entry, None)
        if back:
            held |= back
            self._back = sorted((*self._back, *back.values()), key=lambda again: order(_entry(again)))
            self._reading.wake()

    def _again(self, message: Message) -> Message:
        """The same message at its next attempt, as it was read."""
        known = message.origin
        assert isinstance(known, Entry)
        return entry_message(self._me.stream, known.entry, known.fields, message.attempt + 1)

    # -- renewing ------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._idle / 3000)
            began = monotonic()
            try:
                ids = list(self._held)
                if ids and began - self._renewed >= self._idle / 1000:
                    ids = await self._still_mine(ids)
                if ids:
                    await self._teller.exchange(self._me.renew(ids))
            except BrokerError:
                continue  # whoever fetches or settles meets the same trouble, and says so
            self._renewed = began

    async def _still_mine(self, ids: Sequence[bytes]) -> list[bytes]:
        """Those that no other consumer has taken over meanwhile; the others are no longer held."""
        rows = await self._teller.exchange(self._me.whose(ids))
        name = self._me.name.encode()
        mine = [row[0][0] for row in rows if isinstance(row, list) and row and row[0][1] == name]
        for entry in set(ids).difference(mine):
            self._held.pop(entry, None)
        return mine

    async def ping(self) -> None:
        """Return when the server has answered; asked beside whatever is being read."""
        await self._teller.ask("PING")

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._reader.connected

    def pending(self) -> int | None:
        """Not known without asking the server."""
        return None

    def __repr__(self) -> str:
        state = "closed" if self._renewing is None else f"{len(self._held)} held"
        return f"<source of {self._me.stream} for {self._me.group}: {state}>"


def _entry(message: Message) -> bytes:
    origin = message.origin
    return origin.entry if isinstance(origin, Entry) else b""
