"""Dead letters over HTTP: listed, shown whole, and put back. All of it needs the token: they are users' data."""

from collections.abc import Callable
from dataclasses import fields
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

from anyio import Lock, fail_after

from actors import DEAD_LETTER_PREFIX, BrokerError, Message
from engine.control import UnknownStage
from engine.deadletters import Grave, Head, Letter, graves, letters, redrive
from engine.engine import Engine
from engine.http.models import DeadLetters, GraveView, LetterBrief, LetterWhole, Redrive, RedriveResult
from engine.http.operations import Asked, Operation, Query
from engine.http.problems import Problem

PREVIEW = 500
"""Characters of a body that a list shows."""
WHOLE = 1_000_000
"""Characters of a body that are shown of a single letter."""
PATIENCE = 30.0
"""Seconds after which a broker that does not answer is no longer waited for."""
TOPOLOGY = Query("topology", "the topology whose dead letters are meant", {"type": "string", "minLength": 1})
SOURCE = Query("source", "the source that they came from, or where they lie", {"type": "string", "minLength": 1})
LIMIT = Query("limit", "the most letters of each source", {"type": "integer", "minimum": 1, "maximum": 1000})
POSITION = Query(
    "position",
    "the position or the id of a letter, as the list has it",
    {"type": "string", "minLength": 1},
    required=True,
)
PROBLEMS = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY)


class Dead:
    """Reads the dead letters of an engine's topologies, one request at a time: readers would share what there is."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = Lock()

    def operations(self) -> list[Operation]:
        """All that can be asked about dead letters."""
        return [
            Operation(
                "GET",
                "/dead",
                "Dead letters, the oldest first.",
                self.dead,
                DeadLetters,
                guarded=True,
                query=(TOPOLOGY, SOURCE, LIMIT),
                problems=PROBLEMS,
            ),
            Operation(
                "GET",
                "/dead/letter",
                "One dead letter, whole.",
                self.letter,
                LetterWhole,
                guarded=True,
                query=(POSITION, TOPOLOGY, SOURCE, LIMIT),
                problems=PROBLEMS,
            ),
            Operation(
                "POST",
                "/dead/redrive",
                "Put dead letters back where they came from. Those refused, and those not meant, stay.",
                self.redrive,
                RedriveResult,
                guarded=True,
                body=Redrive,
                problems=PROBLEMS,
            ),
        ]

    async def dead(self, asked: Asked) -> DeadLetters:
        topology, source = asked.query.get("topology"), asked.query.get("source")
        meant = self._meant(topology, source)
        found = await self._letters([grave for _, grave in meant], asked.query.get("limit", 100))
        return DeadLetters(
            tuple(GraveView(name, each.stage, each.origin.name, each.endpoint.name) for name, each in meant),
            tuple(_brief(letter) for letter in found),
        )

    async def letter(self, asked: Asked) -> LetterWhole:
        meant = self._meant(asked.query.get("topology"), asked.query.get("source"))
        position = asked.query["position"]
        there = await self._letters([grave for _, grave in meant], asked.query.get("limit", 1000))
        found = [letter for letter in there if position in (letter.position, letter.id)]
        if len(places := dict.fromkeys(letter.grave for letter in found)) > 1:
            detail = (
                f"{position!r:.80} is one in each of {', '.join(list(places)[:10])}; say which is meant as the source"
            )
            raise Problem(HTTPStatus.CONFLICT, detail)
        if found:
            return _whole(found[0])
        raise Problem(HTTPStatus.NOT_FOUND, "no dead letter there has that position or id; list them anew")

    async def redrive(self, asked: Asked) -> RedriveResult:
        body: Redrive = asked.body
        meant = [grave for _, grave in self._meant(body.topology, body.source)]
        redriven = refused = left = 0
        async with self._reading:
            for grave in meant:
                try:
                    result = await redrive(grave, body.limit, _matching(body.reason))
                except BrokerError as error:
                    raise _out_of_reach(error) from error
                redriven, refused = redriven + result.redriven, refused + result.refused
                left += result.left
        return RedriveResult(redriven, refused, left)

    def _meant(self, topology: str | None, source: str | None) -> list[tuple[str, Grave]]:
        graphs = [graph for graph in self.engine.graphs if topology in (None, graph.name)]
        if not graphs:
            raise UnknownStage(f"there is no topology {topology!r:.80}")
        found = [(graph.name, grave) for graph in graphs for grave in graves(graph)]
        meant = [each for each in found if source in (None, each[1].origin.name, each[1].endpoint.name)]
        if found and not meant:
            names = ", ".join(grave.origin.name for _, grave in found[:10])
            raise UnknownStage(f"there is no source {source!r:.80}; it takes from {names}")
        return meant

    async def _letters(self, meant: list[Grave], limit: int) -> list[Letter]:
        try:
            with fail_after(PATIENCE):
                async with self._reading:
                    return [letter for grave in meant for letter in await letters(grave, limit)]
        except (BrokerError, TimeoutError) as error:
            raise _out_of_reach(error) from error


def _out_of_reach(error: BaseException) -> Problem:
    told = str(error) or f"no answer within {PATIENCE:g} s"
    return Problem(HTTPStatus.BAD_GATEWAY, f"the broker of the dead letters: {told}")


def _matching(glob: str | None) -> Callable[[Message], bool]:
    def matches(message: Message) -> bool:
        reason: Any = (message.headers or {}).get(f"{DEAD_LETTER_PREFIX}reason", "")
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        return glob is None or fnmatchcase(text, glob)

    return matches


def _brief(letter: Letter) -> LetterBrief:
    return LetterBrief(**_head(letter), size=len(letter.body), preview=letter.body[:PREVIEW])


def _whole(letter: Letter) -> LetterWhole:
    size, body = len(letter.body), letter.body[:WHOLE]
    return LetterWhole(
        **_head(letter), size=size, traceback=letter.traceback, headers=letter.headers, body=body, cut=size > WHOLE
    )


def _head(letter: Letter) -> dict[str, Any]:
    return {each.name: getattr(letter, each.name) for each in fields(Head)}
