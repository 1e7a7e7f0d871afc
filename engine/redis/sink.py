"""`RedisSink`: publishes to streams, lists and channels, one pipeline a run."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.exceptions import ResponseError

from actors import BrokerUnavailable, Message, PublishError
from engine.redis.errors import EVERYBODY, answer, code
from engine.redis.options import Address, Target
from engine.redis.wire import Servers, Wire

Encode = Callable[[Message], bytes]
"""Packs the commands that publish a message; TypeError or ValueError where nothing could carry it."""
Part = tuple[int, Message, bytes]
"""A message's index in its run, itself, and the packed commands."""
AT_ONCE = 256 * 1024
"""Bytes that are sent before their answers are read."""
_PLAIN = frozenset((bytes, int))
"""What the server answers that has nothing against a command."""


class RedisSink:
    """Publishes to any destination of one kind. Used by several tasks, they take turns.

    What was confirmed before a connection broke is not published again when the same messages are. `kind` is the type
    that the destination has to have in Redis; where it is empty, or the name is a template, nothing is checked when it
    opens. Each message takes `answers` commands.
    """

    def __init__(self, target: Target, destination: str, encode: Encode, kind: str = "", answers: int = 1) -> None:
        self._destination = destination
        self._encode = encode
        self._kind = kind
        self._answers = answers
        self._various = not kind or "{" in destination
        self._servers = Servers(target)
        self._sharded = target.kind == "cluster"
        self._wires: dict[Address | None, Wire] = {}
        self._confirmed: set[Message] = set()
        """Of runs that failed half-way: what need not be published again."""
        self._open = False

    @property
    def destination(self) -> str:
        """The name of its endpoint."""
        return self._destination

    async def open(self) -> None:
        """Connect; raises `BrokerUnavailable`, and `BrokerRefused` where the destination holds something else."""
        try:
            await self._check(await self._wire(self._destination))
        except BaseException:
            await self.close()
            raise
        self._open = True

    async def _check(self, wire: Wire) -> None:
        (reply,) = await wire.exchange((("PING",) if self._various else ("TYPE", self._destination),))
        if not self._various and not isinstance(reply, ResponseError) and reply not in (b"none", self._kind.encode()):
            wrong = ResponseError(f"WRONGTYPE it is a {reply.decode()}, not a {self._kind}")
            raise answer(wrong, wire.where_of(self._destination))

    async def publish(self, run: Sequence[Message]) -> None:
        """Publish a run in order; where its destinations are on several nodes of a cluster, in order on each of them.

        What the server has against a single message is a `PublishError`; what it would have against all of them, or has
        against the only destination there is, is a `BrokerRefused`.
        """
        if not self._open:
            raise BrokerUnavailable(f"this sink of {self._destination} is closed: open it before publishing")
        parts, failures = self._parts(run)
        refused: dict[int, ResponseError] = {}
        sent: list[Message] = []
        try:
            for wire, some in await self._placed(parts):
                for chunk in _chunks(some):
                    refused |= await self._send(wire, chunk, sent)
        except BaseException:
            self._confirmed.update(sent)
            raise
        if self._confirmed:
            self._confirmed.difference_update(run)
        if refused:
            failures |= self._considered(run, refused)
        if failures:
            raise PublishError(failures)

    def _parts(self, run: Sequence[Message]) -> tuple[list[Part], dict[int, Exception]]:
        encode, confirmed = self._encode, self._confirmed
        parts: list[Part] = []
        failures: dict[int, Exception] = {}
        for index, message in enumerate(run):
            if confirmed and message in confirmed:
                continue
            try:
                parts.append((index, message, encode(message)))
            except (TypeError, ValueError) as error:
                failures[index] = error
        return parts, failures

    async def _send(self, wire: Wire, chunk: Sequence[Part], sent: list[Message]) -> dict[int, ResponseError]:
        """Publish a part of a run; what the server refused, by index. What it confirmed is added to `sent`."""
        replies: list[Any] = []
        every = self._answers
        refused: dict[int, ResponseError] = {}
        try:
            await wire.send(b"".join([packed for _, _, packed in chunk]), len(chunk) * every, replies)
        finally:
            if every == 1 and len(replies) == len(chunk) and _PLAIN.issuperset(map(type, replies)):
                sent += [message for _, message, _ in chunk]
                replies = []
            for (index, message, _), reply in zip(chunk, replies[::every], strict=False):
                if reply is None:  # of XADD with NOMKSTREAM
                    refused[index] = ResponseError("NOSTREAM there is none of that name any more")
                elif isinstance(reply, ResponseError):
                    refused[index] = reply
                else:
                    sent.append(message)
        for error in refused.values():
            if code(error) in EVERYBODY:
                raise answer(error, wire.where_of(self._destination))
        return refused

    def _considered(self, run: Sequence[Message], refused: dict[int, ResponseError]) -> dict[int, Exception]:
        where = self._wires.get(None) or next(iter(self._wires.values()))
        if len(refused) == len(run) and not self._various:
            raise answer(next(iter(refused.values())), where.where_of(self._destination))
        return {index: answer(error, where.where_of(run[index].destination)) for index, error in refused.items()}

    async def _placed(self, parts: list[Part]) -> list[tuple[Wire, list[Part]]]:
        """The run by connection: one, unless it is for a cluster."""
        if not self._sharded:
            return [(await self._wire(self._destination), parts)] if parts else []
        by_name: dict[str, Wire] = {}
        placed: dict[Wire, list[Part]] = {}
        for part in parts:
            name = part[1].destination
            wire = by_name.get(name)
            if wire is None:
                wire = by_name[name] = await self._wire(name)
            placed.setdefault(wire, []).append(part)
        return list(placed.items())

    async def _wire(self, name: str) -> Wire:
        address = await self._servers.place(name) if self._sharded else None
        wire = self._wires.get(address)
        if wire is None:
            wire = self._wires[address] = Wire(self._servers, address=address)
        return wire

    async def ping(self) -> None:
        """Return when the server has answered, in a cluster the one that this destination is on."""
        await (await self._wire(self._destination)).ask("PING")

    async def close(self) -> None:
        """Let go of the connections; what a failed run had confirmed is forgotten."""
        self._open = False
        self._confirmed.clear()
        wires = list(self._wires.values())
        self._wires.clear()
        for wire in wires:
            await wire.close()

    def __repr__(self) -> str:
        return f"<sink of {self._destination}: {'open' if self._open else 'closed'}>"


def _chunks(parts: list[Part]) -> Iterator[list[Part]]:
    """A run in parts of about so many bytes."""
    start, size = 0, 0
    for at, part in enumerate(parts):
        size += len(part[2])
        if size >= AT_ONCE:
            yield parts[start : at + 1]
            start, size = at + 1, 0
    if start < len(parts):
        yield parts[start:]
