"""What a look at a server's own settings finds: the guarantee that an edge really has, and what would strengthen it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from actors import Endpoint

Role = Literal["source", "destination", "dead"]
Level = Literal["refused", "warning", "limit", "note", "unread"]
Promise = Literal["at least once", "at most once", "at least once, within this process"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A way between a stage and a server: what a stage takes from, publishes to, or sends its dead letters to.

    `group` and `bound` are a source's, as the engine would open it. `max_body` is the longest body, in bytes, that may
    come this way unchanged. `ordered`: the stage keeps order by key.
    """

    role: Role
    stage: str
    endpoint: Endpoint
    group: str = ""
    bound: int = 256
    max_body: int = 64 * 1024 * 1024
    ordered: bool = False

    @property
    def template(self) -> bool:
        """Whether each message fills in where it goes, so that there is no one place to look at."""
        return "{" in self.endpoint.name

    def __str__(self) -> str:
        name = self.endpoint.name
        ways = {"source": f"{name} → {self.stage}", "destination": f"{self.stage} → {name}"}
        return ways.get(self.role, f"{self.stage} ⇢ {name}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One setting, what it does to the promise, and what to write instead.

    `refused`: nothing passes as long as it is so. `warning`: messages that were acknowledged are lost in everyday
    operation. `limit`: they are lost with a machine or a disk. `note`: nothing is lost, but it is worth knowing.
    `unread`: the server did not tell.
    """

    level: Level
    setting: str
    """As it is: `appendfsync=everysec`."""
    means: str
    advice: str = ""
    """The setting that would be better, as it is written; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an edge has; `promise` is what its kind of endpoint can do at best, None where the server did not answer."""

    edge: Edge
    promise: Promise | None = None
    findings: tuple[Finding, ...] = ()
    problem: str = ""
    """Why nothing is known of it."""

    @property
    def guarantee(self) -> str:
        """The guarantee in a sentence: what is promised, and what takes from it."""
        if self.promise is None:
            return "not known"
        refused = [finding.means for finding in self.findings if finding.level == "refused"]
        if refused:
            return f"nothing passes: {'; '.join(refused)}"
        told = [finding.means for finding in self.findings if finding.level in ("warning", "limit")]
        but = f", but {'; '.join(told)}" if told else ""
        return f"{self.promise}{self.reservation}{but}"

    @property
    def reservation(self) -> str:
        """What is added where the server has not told everything."""
        return ", as far as it can be told" if any(finding.level == "unread" for finding in self.findings) else ""

    @property
    def kept(self) -> bool:
        """Whether the promise is true: nothing is refused, and nothing acknowledged is lost in everyday operation."""
        return not any(finding.level in ("refused", "warning") for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Made of what JSON knows."""
        edge = self.edge
        return {
            "stage": edge.stage,
            "role": edge.role,
            "endpoint": edge.endpoint.name,
            "system": edge.endpoint.broker.system,
            "server": repr(edge.endpoint.broker),
            "guarantee": self.guarantee,
            "promise": self.promise,
            "kept": None if self.promise is None else self.kept,
            "problem": self.problem or None,
            "findings": [
                {"level": each.level, "setting": each.setting, "means": each.means, "advice": each.advice or None}
                for each in self.findings
            ],
        }


@dataclass(slots=True)
class Found:
    """Findings as they are made, the gravest first when they are told."""

    promise: Promise = "at least once"
    findings: list[Finding] = field(default_factory=list)

    def add(self, level: Level, setting: str, means: str, advice: str = "") -> None:
        """Note a finding; one that is there already is not told twice."""
        finding = Finding(level, setting, means, advice)
        if finding not in self.findings:
            self.findings.append(finding)

    def unread(self, what: str, why: str, advice: str = "") -> None:
        """Note that the server has not told something."""
        self.add("unread", what, f"not told: {why}", advice)

    def verdict(self, edge: Edge) -> Verdict:
        """What they come to. Where messages themselves say where they go, there was no such place to look at."""
        if edge.template:
            self.unread(edge.endpoint.name, "each message fills in where it goes")
        return Verdict(edge, self.promise, in_order(self.findings))


_GRAVITY: Sequence[Level] = ("refused", "warning", "limit", "note", "unread")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first, else in the order in which they were found."""
    return tuple(sorted(findings, key=lambda finding: _GRAVITY.index(finding.level)))
