"""The oracle: what a message's body has to be, and what is wrong with what arrived. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NamedTuple

Kind = Literal["good", "undecodable", "invalid", "raises", "hangs"]
SHOWN = 5
"""How many ids of each kind of wrong are told."""
_MARK = "not JSON: message "


class Arrival(NamedTuple):
    """What was found at a place: the body, and the key beside it where the broker carries one."""

    key: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """All messages of a run. Everything about one is a function of its id and of the seed.

    Ids count from 0; neighbours have different keys, so the messages of one key are `keys` apart. `poison` is the share
    that cannot be handled: one in twenty of those hangs, the others are not JSON, or not valid, or raise.
    """

    seed: int
    messages: int
    keys: int = 200
    poison: float = 0.0

    def key(self, number: int) -> str:
        """The key of a message."""
        return f"k{number % self.keys}"

    def sequence(self, number: int) -> int:
        """Its place among those of its key."""
        return number // self.keys

    def kind(self, number: int) -> Kind:
        """What is to become of it; beyond `messages`, where fresh ones come from, all are good."""
        if not self.poison or number >= self.messages:
            return "good"
        luck = int.from_bytes(sha256(f"kind {self.seed} {number}".encode()).digest()[:7]) / 2**56
        share = luck / self.poison
        if share >= 1:
            return "good"
        return "hangs" if share < 0.05 else "undecodable" if share < 0.4 else "invalid" if share < 0.7 else "raises"

    def body(self, number: int) -> bytes:
        """Its body, as it is published."""
        if self.kind(number) == "undecodable":
            return f"{_MARK}{number} {self._checksum(number)}".encode() + b"\xff"
        return json.dumps(self.fields(number)).encode()

    def fields(self, number: int) -> dict[str, object]:
        """What its body says."""
        sequence: object = "?" if self.kind(number) == "invalid" else self.sequence(number)
        return {"id": number, "key": self.key(number), "sequence": sequence, "checksum": self._checksum(number)}

    def _checksum(self, number: int) -> str:
        return sha256(f"{self.seed} {number} {self.key(number)} {self.sequence(number)}".encode()).hexdigest()

    def arrived(self, arrival: Arrival) -> int | None:
        """The id of what arrived at the destination, where a bridge has written it anew; None if it is corrupted."""
        try:
            found = json.loads(arrival.body)
            number = found["id"]
        except (ValueError, TypeError, KeyError):
            return None
        if type(number) is not int or number < 0 or found != self.fields(number):
            return None
        return number if arrival.key in (None, self.key(number)) else None

    def died(self, arrival: Arrival) -> int | None:
        """The id of a dead letter, which has to be what was published, byte by byte; None if it is corrupted."""
        text = arrival.body.decode(errors="replace")
        try:
            number = int(text.removeprefix(_MARK).split()[0]) if text.startswith(_MARK) else json.loads(text)["id"]
        except (ValueError, TypeError, KeyError, IndexError):
            return None
        if type(number) is not int or number < 0 or arrival.body != self.body(number):
            return None
        return number if arrival.key in (None, self.key(number)) else None


@dataclass(slots=True)
class Verdict:
    """What is wrong with a run, in ids, and what is only to be told of it."""

    owed: int
    arrived: int
    dead: int
    missing: list[int] = field(default_factory=list)
    """Confirmed to the producer; neither at the destination nor a dead letter."""
    spurious: list[int] = field(default_factory=list)
    """At the destination though nobody published it, or though no handler can have returned it."""
    corrupted: list[str] = field(default_factory=list)
    """Not what was published."""
    astray: list[int] = field(default_factory=list)
    """Dead, though nothing was wrong with it."""
    inversions: list[int] = field(default_factory=list)
    """Arrived for the first time after a later one of its key had."""
    duplicates: int = 0
    """Arrivals beyond the first of each."""

    @property
    def duplicated(self) -> float:
        """Duplicates in percent of what was to arrive."""
        return 100 * self.duplicates / max(1, self.owed)

    def problems(self, *, ordered: bool = True) -> list[str]:
        """What must not be, a line each; `ordered` says whether the order by key was promised."""
        found: dict[str, Sequence[object]] = {
            "missing": self.missing,
            "spurious": self.spurious,
            "corrupted": self.corrupted,
            "dead without a reason": self.astray,
        }
        if ordered:
            found["out of order"] = self.inversions
        return [
            f"{len(ids)} {what}: {', '.join(map(str, ids[:SHOWN]))}{' …' if len(ids) > SHOWN else ''}"
            for what, ids in found.items()
            if ids
        ]


def judge(
    plan: Plan,
    claimed: AbstractSet[int],
    owed: AbstractSet[int],
    arrived: Iterable[Arrival],
    dead: Iterable[Arrival] = (),
) -> Verdict:
    """Judge what arrived, in the order of its arrival, and what is dead.

    `claimed` are the ids that the producer may have published, `owed` those of them that the broker has confirmed.
    A redelivery may repeat what was there already; what it may never do is to bring something new of a key after
    something later of that key.
    """
    verdict = Verdict(owed=len(owed), arrived=0, dead=0)
    seen: set[int] = set()
    latest: dict[str, int] = {}
    for arrival in arrived:
        verdict.arrived += 1
        number = plan.arrived(arrival)
        if number is None:
            verdict.corrupted.append(repr(arrival.body[:80]))
        elif number not in claimed or plan.kind(number) != "good":
            verdict.spurious.append(number)
        elif number in seen:
            verdict.duplicates += 1
        else:
            seen.add(number)
            key = plan.key(number)
            if number < latest.setdefault(key, number):
                verdict.inversions.append(number)
            else:
                latest[key] = number
    gone = _dead(plan, claimed, dead, verdict)
    verdict.astray = sorted(number for number in gone if plan.kind(number) == "good")
    verdict.missing = sorted(owed - seen - gone)
    return verdict


def _dead(plan: Plan, claimed: AbstractSet[int], dead: Iterable[Arrival], verdict: Verdict) -> set[int]:
    gone: set[int] = set()
    for arrival in dead:
        verdict.dead += 1
        number = plan.died(arrival)
        if number is None:
            verdict.corrupted.append(f"dead letter {arrival.body[:80]!r}")
        elif number not in claimed:
            verdict.spurious.append(number)
        else:
            gone.add(number)
    return gone


def unmet(wanted: Mapping[str, int], made: Mapping[str, int] | Counter[str]) -> list[str]:
    """The faults that were meant to happen and did not: a run without them proves nothing."""
    return [
        f"no proof: {made.get(what, 0)} {what}, at least {least} were meant to happen"
        for what, least in wanted.items()
        if made.get(what, 0) < least
    ]


@dataclass(slots=True)
class Following:
    """Judges a run without poison while it goes on, with no memory of single messages: for a run of any length.

    Of each key the next arrival has to be the next of that key, or a repetition; a later one is a gap: what lies
    between is lost, or overtaken, and neither may be.
    """

    plan: Plan
    next: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    gaps: list[int] = field(default_factory=list)
    corrupted: list[str] = field(default_factory=list)

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Take note of what came, in its order."""
        for arrival in arrivals:
            number = self.plan.arrived(arrival)
            if number is None:
                self.corrupted.append(repr(arrival.body[:80]))
                continue
            key, sequence = self.plan.key(number), self.plan.sequence(number)
            due = self.next.get(key, 0)
            if sequence < due:
                self.duplicates += 1
                continue
            if sequence > due:
                self.gaps.append(number)
            self.next[key] = sequence + 1

    @property
    def total(self) -> int:
        """How many there are, if there are no gaps."""
        return sum(self.next.values())

    def missing(self, published: int) -> int:
        """How many of the first so many ids have not come."""
        keys = self.plan.keys
        due = {self.plan.key(number): len(range(number, published, keys)) for number in range(min(keys, published))}
        return sum(max(0, count - self.next.get(key, 0)) for key, count in due.items())

    def problems(self, published: int) -> list[str]:
        """What must not be, a line each."""
        found = {"missing": self.missing(published), "gaps": len(self.gaps), "corrupted": len(self.corrupted)}
        return [f"{count} {what}" for what, count in found.items() if count]
