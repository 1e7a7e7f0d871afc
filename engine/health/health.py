"""`Health`: whether an engine is started, ready and alive, and which of its stages stand still, and why.

Decides only: what was observed goes in (`observed.py`), judgements come out. Nothing here waits or logs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.health.observed import Observed
from engine.health.reasons import sentence, waiting_for

HOPELESS = 5.0
"""How many times `stalled_after` a handler without a timeout may take before the engine counts as not alive."""
REMADE = 2
"""Times that a consumer was made anew in vain after which the process itself had better be."""


@dataclass(frozen=True, slots=True)
class StageHealth:
    """One stage at one moment. Ages are in seconds."""

    topology: str
    stage: str
    connected: bool
    oldest: float | None
    """The age of the oldest unsettled message that came from its own sources."""
    unmoved: float | None
    """Seconds since its watermark moved, while it had work; None when it has none."""
    waiting_for: str | None
    """One of `REASONS` (`reasons.py`); None when it is idle or moving."""
    stalled: bool
    told: str
    """What it waits for, since when, on whom, and what to do, in one sentence."""


@dataclass(frozen=True, slots=True)
class Health:
    """How an engine is, for probes: `ready` to be relied on, `alive` unless only a restart could help."""

    started: bool
    ready: bool
    alive: bool
    draining: bool
    reasons: tuple[str, ...]
    """Why it is not ready, or not alive."""
    stages: tuple[StageHealth, ...]


@dataclass(slots=True)
class _Moves:
    """What a stage was last seen to have done, and when that changed."""

    progress: int
    remade: int
    at: float


@dataclass(slots=True)
class Watch:
    """Remembers when each stage was last seen to move, and judges them.

    `stalled_after` is in seconds. It may be asked at any time and by several: looking changes no judgement.
    """

    stalled_after: float = 60.0
    _moves: dict[tuple[str, str], _Moves] = field(default_factory=dict)

    def health(
        self,
        now: float,
        observed: Sequence[Observed],
        started: bool,
        draining: bool,
        fallen: str | None,
        away: Sequence[str],
    ) -> Health:
        """Judge an engine. `fallen` says why it does not run any more, `away` what is not connected."""
        stages, hopeless = self.look(now, observed)
        dead = (fallen,) if fallen is not None else hopeless
        unready = [] if started else ["it has not started"]
        unready += ["it is draining"] if draining else []
        unready += [f"waits for {what}" for what in away]
        ready = not dead and not unready
        return Health(started, ready, not dead, draining, (*dead, *unready), stages)

    def look(self, now: float, stages: Sequence[Observed]) -> tuple[tuple[StageHealth, ...], tuple[str, ...]]:
        """Judge the stages; with them why a restart could help, which is empty as long as it could not."""
        seen = {(each.topology, each.stage): each for each in stages}
        judged = {key: self._judged(now, each) for key, each in seen.items()}
        hopeless = [told for key, each in seen.items() if (told := self._hopeless(each, judged[key])) is not None]
        for key, each in seen.items():
            if judged[key].waiting_for == "downstream" and (end := _end_of_chain(each, seen, judged)) is not None:
                judged[key] = self._blaming(judged[key], end, judged[end.topology, end.stage])
        return tuple(judged[key] for key, each in seen.items() if not each.inner), tuple(hopeless)

    def _blaming(self, health: StageHealth, end: Observed, blamed: StageHealth) -> StageHealth:
        """Who waits for another is as patient as that other may be."""
        stalled = health.stalled and (health.unmoved or 0.0) >= end.patience
        return replace(health, stalled=stalled, told=f"{health.told}: {blamed.told}")

    def _judged(self, now: float, seen: Observed) -> StageHealth:
        unmoved = self._unmoved(now, seen)
        reason = waiting_for(seen, unmoved or 0.0)
        stalled = unmoved is not None and unmoved >= max(self.stalled_after, seen.patience) and reason is not None
        if reason is not None and not stalled and _moving(seen, unmoved):
            reason = None
        told = sentence(seen, reason, unmoved)
        return StageHealth(
            seen.topology,
            seen.stage,
            seen.connected,
            seen.oldest,
            unmoved,
            reason,
            stalled and reason != "paused",
            told,
        )

    def _unmoved(self, now: float, seen: Observed) -> float | None:
        moves = self._moves.setdefault((seen.topology, seen.stage), _Moves(seen.progress, seen.remade, now))
        if moves.progress != seen.progress:
            moves.progress, moves.remade, moves.at = seen.progress, seen.remade, now
        if not seen.work:
            moves.at = now
            return None
        if seen.watermark is not None:
            return seen.watermark
        return max(now - moves.at, seen.in_hand or 0.0)

    def _hopeless(self, seen: Observed, judged: StageHealth) -> str | None:
        """Why a restart could help this stage, if it could."""
        if judged.waiting_for == "handler" and seen.timeout is None:
            stuck = (seen.all_in_hand or 0.0) >= HOPELESS * self.stalled_after
            return judged.told if stuck else None
        if judged.waiting_for == "source" and judged.stalled:
            in_vain = seen.remade - self._moves[seen.topology, seen.stage].remade
            return judged.told if in_vain >= REMADE else None
        return None


def _moving(seen: Observed, unmoved: float | None) -> bool:
    """Whether a stage that is not stalled goes on as it should: a short wait is no news."""
    return seen.connected and seen.burial is None and unmoved is not None and unmoved < 1.0


def _end_of_chain(
    seen: Observed, stages: Mapping[tuple[str, str], Observed], judged: Mapping[tuple[str, str], StageHealth]
) -> Observed | None:
    """The stage at the end of a chain of waits for the stage behind; of several behind one the one that moves least."""
    chain, at = {seen.stage}, seen
    while at is seen or judged[at.topology, at.stage].waiting_for == "downstream":
        busy = [each for each in _next_at_work(at, stages) if each.stage not in chain]
        if not busy:
            break
        at = max(busy, key=lambda each: _weight(each, judged[each.topology, each.stage]))
        chain.add(at.stage)
    return None if at is seen else at


def _next_at_work(seen: Observed, stages: Mapping[tuple[str, str], Observed]) -> list[Observed]:
    """Those behind it that have work: past those that have passed theirs on."""
    found, names = [], list(seen.behind)
    for name in names:
        behind = stages.get((seen.topology, name))
        if behind is None:
            continue
        if behind.work or not behind.connected:
            found.append(behind)
        else:
            names += [each for each in behind.behind if each not in names]
    return found


def _weight(seen: Observed, judged: StageHealth) -> tuple[bool, bool, bool, float]:
    return judged.stalled, judged.waiting_for is not None, seen.retrying > 0, judged.unmoved or 0.0
