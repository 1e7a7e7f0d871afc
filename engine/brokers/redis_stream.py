"""Redis streams: `StreamSource` reads for a consumer group, and leaves nothing unfinished behind."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from socket import gethostname
from time import monotonic
from typing import Any, Literal

from redis.exceptions import ResponseError

from actors import BrokerError, BrokerUnavailable, Message, delivered
from engine.brokers.reading import Reading
from engine.brokers.redis_errors import answer, code
from engine.brokers.redis_fields import Entry, entry_of, parts_of
from engine.brokers.redis_options import Target
from engine.brokers.redis_wire import Command, Servers, Wire, chunks
from engine.brokers.slots import Slot

Start = Literal["earliest", "latest"]
BLOCK = 5.0
"""Seconds that a read waits at the server before it looks for what dead consumers left."""
PARKED = "returned"
"""The consumer that gets what a closing one could not finish, with an age at which any other may take it."""
LONG_AGO = 365 * 24 * 3600 * 1000
MANY = 1000
"""Ids in one command."""

# Only where nothing is pending: removing a consumer throws away what it has.
_LEAVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end"""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a source reads: `start` is where a group that is new begins."""

    stream: str
    group: str
    start: Start


class StreamSource:
    """Reads a stream as one consumer of a group.

    First comes what a former process under the same name did not finish, then what other consumers have not renewed
    for `min_idle`, then what is new. Whatever is held is renewed every third of that time, so that it may take as long
    as it takes. What is returned stays with this consumer and is handed out again before anything else.
    """

    def __init__(self, target: Target, read: Subscription) -> None:
        options = target.options
        self._read = read
        self._idle = round(options.min_idle * 1000)
        self._name = options.consumer or gethostname()
        self._scope = f"{target.where} {read.stream} {read.group} {self._name}"
        self._servers = Servers(target)
        self._reader = Wire(self._servers, read.stream)
        self._teller = Wire(self._servers, read.stream)
        self._reading: Reading[list[Message]] = Reading()
        self._renewing: asyncio.Task[None] | None = None
        self._slot: Slot | None = None
        self._consumer = ""
        self._held: dict[bytes, Message] = {}
        """What was read and is not settled, by id."""
        self._back: list[tuple[tuple[int, int], Message]] = []
        """What was returned, to be handed out again in the order of the stream."""
        self._ready: deque[Message] = deque()
        self._own: str | None = "-"
        """How far the search for what is pending here and not held has come; None when it is over."""
        self._swept: bytes | None = b"0-0"
        """How far the search for what others left has come; None until the next one is due."""
        self._sweep_at = 0.0
        self._most = MANY
        """Entries in one answer; fewer after trouble."""
        self._renewed = 0.0

    # -- from open to close --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the stream and the group where they are missing, and take a name in it."""
        if self._slot is None:
            self._slot = Slot(self._scope)
            self._consumer = f"{self._name}:{self._slot.number}"
        try:
            await self._join(self._teller)
        except BaseException:
            await self._let_go()
            raise
        self._own, self._swept, self._renewed = "-", b"0-0", monotonic()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    async def _join(self, wire: Wire) -> None:
        start = "0" if self._read.start == "earliest" else "$"
        (reply,) = await wire.exchange((("XGROUP", "CREATE", *self._key, start, "MKSTREAM"),))
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
        rows = await self._teller.ask("XPENDING", *self._key, "-", "+", MANY * 10, self._consumer)
        commands: list[Command] = [
            ("XCLAIM", *self._key, PARKED, 0, *part, "IDLE", LONG_AGO, "JUSTID")
            for part in chunks([row[0] for row in rows], MANY)
        ]
        # What was returned was counted as handed out again, which it no longer will be.
        commands += self._counts(PARKED, (again for _, again in self._back), 1)
        await self._teller.exchange([*commands, ("EVAL", _LEAVE, 1, *self._key, self._consumer)])

    async def _let_go(self) -> None:
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        await self._reader.close()
        await self._teller.close()

    @property
    def _key(self) -> tuple[str, str]:
        return self._read.stream, self._read.group

    # -- fetching ------------------------------------------------------------------------------------------------

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them: what was returned first, then in the order of the stream."""
        while True:
            if self._renewing is None:
                raise BrokerUnavailable(f"this source of {self._read.stream} is closed: open it before fetching")
            if self._back:
                run = [message for _, message in self._back[:limit]]
                del self._back[:limit]
                return run
            if self._ready:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            run = await self._reading.result(lambda: self._next(limit)) or []
            if len(run) <= limit and not self._back:
                if run:
                    return run
            else:
                self._ready.extend(run)

    async def _next(self, limit: int) -> list[Message]:
        """Something to hand out; as long as there is nothing, again."""
        try:
            while not (run := await self._look(min(limit, self._most))):
                pass
        except Exception:
            self._own = "-"  # an answer may have been lost on its way: what it brought is pending here
            self._most = max(1, min(limit, self._most) // 4)  # or it was too much for a slow connection
            raise
        self._most = min(MANY, self._most * 2)
        return run

    async def _look(self, limit: int) -> list[Message]:
        if self._own is not None:
            return await self._leftovers(limit)
        if self._swept is not None:
            return await self._abandoned(limit)
        return await self._new(limit)

    async def _new(self, limit: int) -> list[Message]:
        wait = min(max(self._sweep_at - monotonic(), 0.001), BLOCK)
        (reply,) = await self._reader.exchange((self._read_command(limit, wait),), wait=wait)
        if isinstance(reply, ResponseError):
            if code(reply) not in ("NOGROUP", "UNBLOCKED"):
                raise answer(reply, self._reader.where)
            await self._join(self._reader)  # somebody has deleted the stream, or the group
        if monotonic() >= self._sweep_at:
            self._swept = b"0-0"
        return self._take(reply[0][1]) if isinstance(reply, list) else []

    def _read_command(self, limit: int, wait: float) -> Command:
        start = ("XREADGROUP", "GROUP", self._read.group, self._consumer, "COUNT", limit)
        return *start, "BLOCK", max(1, int(wait * 1000)), "STREAMS", self._read.stream, ">"

    async def _leftovers(self, limit: int) -> list[Message]:
        """What is pending under this name without being held: of a former process, or of a lost answer."""
        assert self._own is not None
        rows = await self._ask_group("XPENDING", *self._key, self._own, "+", limit, self._consumer)
        self._own = f"({rows[-1][0].decode()}" if len(rows) == limit else None
        attempts = {row[0]: row[3] + 1 for row in rows if row[0] not in self._held}
        if not attempts:
            return []
        entries = await self._ask_group("XCLAIM", *self._key, self._consumer, 0, *attempts)
        return self._take(entries, attempts)

    async def _abandoned(self, limit: int) -> list[Message]:
        """What other consumers have had for too long, as far as it fits into one answer."""
        assert self._swept is not None
        found = await self._ask_group("XAUTOCLAIM", *self._key, self._consumer, self._idle, self._swept, "COUNT", limit)
        if not found:
            return []
        self._swept = found[0]
        if self._swept == b"0-0":
            self._swept, self._sweep_at = None, monotonic() + min(BLOCK, self._idle / 2000)
        entries = [entry for entry in found[1] if entry and entry[0] not in self._held]
        if not entries:
            return []
        asked: list[Command] = [("XPENDING", *self._key, entry, entry, 1) for entry, _ in entries]
        counts = await self._reader.exchange(asked)
        return self._take(entries, {row[0][0]: row[0][3] for row in counts if isinstance(row, list) and row})

    async def _ask_group(self, *command: str | bytes | int) -> Any:
        """An answer about the group; nothing where somebody has deleted it, which the next read mends."""
        (reply,) = await self._reader.exchange((command,))
        if isinstance(reply, ResponseError):
            if code(reply) != "NOGROUP":
                raise answer(reply, self._reader.where)
            self._own = self._swept = None
            return []
        return reply

    def _take(self, entries: Iterable[Any], attempts: dict[bytes, int] | None = None) -> list[Message]:
        stream, held = self._read.stream, self._held
        run: list[Message] = []
        for found in entries:
            if not found or not found[1]:
                continue  # deleted from the stream while it was pending
            entry, fields = found
            raw, key, headers, reply_to = parts_of(fields)
            attempt = attempts.get(entry, 2) if attempts is not None else 1
            message = delivered(raw, key, headers, entry_of(stream, entry, fields), attempt, reply_to)
            held[entry] = message
            run.append(message)
        return run

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge `done` in one command, and hand `returned` out again; what is not held is forgotten silently."""
        held = self._held
        acked = [entry for message in done if held.get(entry := _entry(message)) is message]
        back = [again for message in returned if (again := self._again(message)) is not None]
        commands: list[Command] = [("XACK", *self._key, *part) for part in chunks(acked, MANY)]
        commands += self._counts(self._consumer, back, 0)
        if commands:
            for reply in await self._teller.exchange(commands):
                if isinstance(reply, ResponseError) and code(reply) != "NOGROUP":
                    raise answer(reply, self._teller.where)
        for entry in acked:
            held.pop(entry, None)
        if back:
            for again in back:
                held[_entry(again)] = again
                self._back.append((_order(_entry(again)), again))
            self._back.sort(key=lambda pair: pair[0])
            self._reading.wake()

    def _counts(self, consumer: str, run: Iterable[Message], less: int) -> list[Command]:
        """Commands that write down how often each has been delivered."""
        by_attempt: dict[int, list[bytes]] = {}
        for message in run:
            by_attempt.setdefault(message.attempt - less, []).append(_entry(message))
        idle = ("IDLE", LONG_AGO) if consumer is PARKED else ()
        return [
            ("XCLAIM", *self._key, consumer, 0, *part, *idle, "RETRYCOUNT", attempt, "JUSTID")
            for attempt, ids in by_attempt.items()
            for part in chunks(ids, MANY)
        ]

    def _again(self, message: Message) -> Message | None:
        """The same message at its next attempt, as it was read; None where it is not held."""
        origin = message.origin
        if not isinstance(origin, Entry) or self._held.get(origin.entry) is not message:
            return None
        raw, key, headers, reply_to = parts_of(origin.fields)
        origin = entry_of(self._read.stream, origin.entry, origin.fields)
        return delivered(raw, key, headers, origin, message.attempt + 1, reply_to)

    # -- renewing ------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._idle / 3000)
            began = monotonic()
            try:
                ids = list(self._held)
                if ids and began - self._renewed >= self._idle / 1000:
                    ids = await self._still_mine(ids)
                claims: list[Command] = [
                    ("XCLAIM", *self._key, self._consumer, 0, *part, "JUSTID") for part in chunks(ids, MANY)
                ]
                if claims:
                    await self._teller.exchange(claims)
            except BrokerError:
                continue  # whoever fetches or settles meets the same trouble, and says so
            self._renewed = began

    async def _still_mine(self, ids: Sequence[bytes]) -> list[bytes]:
        """Those that no other consumer has taken over meanwhile; the others are no longer held."""
        rows = await self._teller.exchange([("XPENDING", *self._key, entry, entry, 1) for entry in ids])
        consumer = self._consumer.encode()
        mine = [row[0][0] for row in rows if isinstance(row, list) and row and row[0][1] == consumer]
        for entry in set(ids).difference(mine):
            self._held.pop(entry, None)
        return mine

    def pending(self) -> int | None:
        """Not known without asking the server."""
        return None

    def __repr__(self) -> str:
        state = "closed" if self._renewing is None else f"{len(self._held)} held"
        return f"<source of {self._read.stream} for {self._read.group}: {state}>"


def _entry(message: Message) -> bytes:
    origin = message.origin
    return origin.entry if isinstance(origin, Entry) else b""


def _order(entry: bytes) -> tuple[int, int]:
    """Ids are two numbers: as text 9-0 would come after 10-0."""
    moment, _, number = entry.partition(b"-")
    return int(moment), int(number)
