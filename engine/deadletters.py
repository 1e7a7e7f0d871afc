"""Dead letters: read where they lie, and put back where they came from."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from anyio import CancelScope, move_on_after

from actors import DEAD_LETTER_HEADERS, DEAD_LETTER_PREFIX, Endpoint, Message, PublishError, Source
from engine.memory import Memory
from topologies import Graph, Stage

GROUP = "headrace.dead"
"""The consumer group that dead letters are read by, where the broker has groups."""
QUIET = 1.0
"""Seconds without a letter after which there are no more; the first may take longer, while a broker makes the group."""
FIRST = 4.0
RUN = 200
MOST = 50_000
WHY = 20
"""Reasons that are told."""


@dataclass(frozen=True, slots=True)
class Grave:
    """Where the dead letters of one source lie."""

    stage: str
    origin: Endpoint
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Head:
    """What every view of a dead letter begins with. Times are ISO 8601."""

    grave: str
    position: str | None
    """Where it lies; with it, or by its id, it is asked for."""
    id: str | None
    key: str | None
    reason: str
    error_type: str
    stage: str
    attempts: int
    first_failure: str
    last_failure: str
    origin: str


@dataclass(frozen=True, slots=True)
class Letter(Head):
    """One dead letter. `body` is text where it is UTF-8."""

    traceback: str
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class Redriven:
    """What came of putting letters back. Those that the origin refused stay where they lay; so do those of others."""

    redriven: int = 0
    refused: int = 0
    left: int = 0
    why: list[str] = field(default_factory=list)
    """Why some stayed that were wanted, each reason once, the first of them."""

    def note(self, why: str) -> None:
        """Remember a reason."""
        if why not in self.why and len(self.why) < WHY:
            self.why.append(why)


def graves(graph: Graph) -> list[Grave]:
    """Where the dead letters of each source of a topology go."""
    found: dict[tuple[int, str, str], Grave] = {}
    for stage in graph.stages:
        for source in stage.sources:
            lies = _grave(stage, source)
            found.setdefault((id(lies.broker), lies.name, source.name), Grave(stage.name, source, lies))
    return list(found.values())


def _grave(stage: Stage, source: Endpoint) -> Endpoint:
    return stage.settings.dead_letter or source.dead_letter()


async def letters(grave: Grave, limit: int) -> list[Letter]:
    """Up to `limit` dead letters, the oldest first; they stay where they are."""
    broker = grave.endpoint.broker
    # A group that reads once, and never again, would hold up those who bury; one that has redriven is there already.
    if isinstance(broker, Memory) and not _has_redriven(broker, grave.endpoint.name):
        return [_shown(grave, message) for message in broker.messages(grave.endpoint.name)[:limit]]
    async with _open(grave, limit) as source:
        found: list[Message] = []
        async for run in _runs(source, limit):
            found += run
        await source.settle([], found)
        return [_shown(grave, message) for message in found]


def _has_redriven(broker: Memory, name: str) -> bool:
    topic = broker.statistics().topics.get(name)
    return topic is not None and GROUP in topic.groups


async def redrive(
    grave: Grave,
    limit: int,
    wanted: Callable[[Message], bool] = lambda message: True,
    told: Callable[[Redriven], Any] = lambda so_far: None,
) -> Redriven:
    """Publish dead letters to where they came from, and take them away once that is confirmed.

    Those not `wanted`, those refused, and those that came from elsewhere stay. Nothing is declared for them: where the
    origin is not there any more it refuses. A crash on the way may leave a letter that was already put back: at least
    once, here as everywhere.
    """
    result = Redriven()
    sink = _as_it_is(grave.origin).sink()
    await sink.open()
    kept: list[Message] = []
    try:
        async with _open(grave, limit) as source:
            async for run in _runs(source, limit):
                chosen = [message for message in run if wanted(message) and _belongs(message, grave, result)]
                refused: dict[int, Exception] = {}
                try:
                    await sink.publish([_revived(message, grave) for message in chosen])
                except PublishError as error:
                    refused = error.failures
                for why in refused.values():
                    result.note(str(why))
                back = [each for at, each in enumerate(chosen) if at not in refused]
                await source.settle(back, [])
                kept += [message for message in run if message not in back]
                result.redriven += len(back)
                result.refused += len(refused)
                told(result)
            await source.settle([], kept)
    finally:
        with CancelScope(shield=True), move_on_after(FIRST):
            await sink.close()
    result.left = len(kept)
    return result


def _as_it_is(origin: Endpoint) -> Endpoint:
    """The endpoint, taken as it is on its broker: what is missing is not declared."""
    taken: Callable[[], Endpoint] | None = getattr(origin, "as_it_is", None)
    return origin if taken is None else taken()


def _belongs(letter: Message, grave: Grave, result: Redriven) -> bool:
    """Whether a letter came from that source: several may have one place for their dead, and letters can be edited."""
    system, place = _told(letter, "origin-broker"), _told(letter, "origin-destination")
    covers: Callable[[str], bool] = getattr(grave.origin, "covers", grave.origin.name.__eq__)
    if system in ("", grave.origin.broker.system) and (not place or covers(place)):
        return True
    result.note(f"it came from {place or 'somewhere'} on {system or 'an unnamed broker'}, not from {grave.origin!r}")
    return False


@asynccontextmanager
async def _open(grave: Grave, limit: int) -> AsyncIterator[Source]:
    # Those that stay are held until the end: a broker that bounds what is held must not stop at them.
    source = grave.endpoint.source(GROUP, min(max(limit, RUN), MOST))
    await source.open()
    try:
        yield source
    finally:
        with CancelScope(shield=True), move_on_after(FIRST):
            await source.close()


async def _runs(source: Source, limit: int) -> AsyncIterator[list[Message]]:
    """What is there, in runs; it ends when nothing more comes for a while."""
    taken, patience = 0, FIRST
    while taken < limit:
        if taken and source.pending() == 0:
            return
        if not taken and source.pending() == 0:
            patience = QUIET
        run: list[Message] = []
        with move_on_after(patience):
            run = await source.fetch(min(RUN, limit - taken))
        if not run:
            return
        taken, patience = taken + len(run), QUIET
        yield run


def _revived(letter: Message, grave: Grave) -> Message:
    """The message that died: body and key as they were, its headers without those that say why."""
    headers = letter.headers or {}
    kept = {name: value for name, value in headers.items() if name not in DEAD_LETTER_HEADERS}
    made = Message(raw=letter.raw, key=letter.key, headers=kept, id=letter.id, correlation_id=letter.correlation_id)
    made.destination = _told(letter, "origin-destination") or grave.origin.name
    return made


def _shown(grave: Grave, message: Message) -> Letter:
    told = partial(_told, message)
    return Letter(
        grave=grave.endpoint.name,
        position=None if message.offset is None else str(message.offset),
        id=message.id,
        key=None if message.key is None else _text(message.key),
        reason=told("reason"),
        error_type=told("error-type"),
        stage=told("stage"),
        attempts=_number(told("attempts")),
        first_failure=told("first-failure"),
        last_failure=told("last-failure"),
        origin=told("origin-destination") or grave.origin.name,
        traceback=told("traceback"),
        headers={
            name: _text(each) for name, each in (message.headers or {}).items() if name not in DEAD_LETTER_HEADERS
        },
        body=_text(message.raw or b""),
    )


def _told(letter: Message, name: str) -> str:
    """What a letter says of itself; nothing where somebody has taken that out."""
    return _text((letter.headers or {}).get(DEAD_LETTER_PREFIX + name))


def _number(said: str) -> int:
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else 0


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""
