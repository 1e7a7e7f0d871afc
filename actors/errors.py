"""The one error tree of the project.

HeadraceError
├── TopologyError          a declaration that cannot work; names file, stage and remedy
├── BrokerError
│   ├── BrokerUnavailable  out of reach for now: waited for, never counted as a failure
│   ├── BrokerRefused      it answered no, and trying again cannot help: wrong password, declared otherwise
│   └── PublishError       the broker refused some messages of a run
├── DecodeError            a body or header that is not what the handler asked for
├── SettlementError        a receipt settled twice
├── MailboxClosed          put into a mailbox that takes nothing more
└── SupervisionError
    ├── IntensityExceeded  too many restarts in the window: the supervisor gave up
    └── DrainTimeout       the drain's time was over before its work was
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class HeadraceError(Exception):
    """Whatever Headrace itself raises."""


class TopologyError(HeadraceError):
    """A declaration is wrong: says which, where it stands and what to write instead."""

    def __init__(self, problem: str, *, remedy: str = "", place: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        self.place = place
        where = f"{place}: " if place else ""
        then = f"\n  {remedy}" if remedy else ""
        super().__init__(f"{where}{problem}{then}")


class BrokerError(HeadraceError):
    """A broker did not do what it was asked."""


class BrokerUnavailable(BrokerError):
    """A broker is out of reach; whoever meets this waits and tries again."""


class BrokerRefused(BrokerError):
    """A broker answered no: says which, what it said, and what to change. Somebody has to mend it."""


class PublishError(BrokerError):
    """Some messages of a run were refused: `failures` maps their index in the run to the reason.

    Every message of the run that is not named was published and confirmed.
    """

    def __init__(self, failures: Mapping[int, Exception]) -> None:
        self.failures = dict(failures)
        first = next(iter(self.failures.values()), None)
        super().__init__(f"{len(self.failures)} messages were refused; the first: {first}")


class DecodeError(HeadraceError):
    """A body or a header is not what the handler declared; retrying cannot help."""


class SettlementError(HeadraceError):
    """A receipt was settled more often than it has branches."""


class MailboxClosed(HeadraceError):
    """The mailbox takes nothing more: its stage is draining or gone."""


class SupervisionError(HeadraceError):
    """A supervisor could not do its work."""


class IntensityExceeded(SupervisionError):
    """More restarts than `intensity` within `period` seconds: the fault is passed upward."""

    def __init__(self, supervisor: str, child: str, intensity: int, period: float) -> None:
        self.supervisor = supervisor
        self.child = child
        often = f" after more than {intensity} restarts in {period:g} s" if intensity else ""
        super().__init__(
            f"{supervisor}: gave up{often}; the last to crash was {child}: see the error it was logged with"
        )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a stage had fetched and could not finish: how many messages, the age of the oldest in seconds, and why."""

    stage: str
    count: int
    oldest: float = 0.0
    waiting: tuple[str, ...] = ()
    """What they waited for, there and in the stages behind."""

    def __str__(self) -> str:
        why = f": {', '.join(self.waiting)}" if self.waiting else ""
        return f"{self.stage} {self.count} (oldest {self.oldest:.1f} s{why})"


class DrainTimeout(SupervisionError):
    """The drain's time was over; what was `unfinished` was given back. `left` counts it by stage."""

    def __init__(self, seconds: float, unfinished: Sequence[Unfinished] = ()) -> None:
        self.unfinished = tuple(unfinished)
        self.left = {each.stage: each.count for each in unfinished}
        listed = "; ".join(map(str, unfinished)) or "nothing"
        super().__init__(f"not drained within {seconds:g} s; given back to their brokers: {listed}")
