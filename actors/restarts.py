"""What a supervisor decides, without acting: which children restart, how soon, and when to give up.

Strategies and intensity are those of Erlang/OTP (https://www.erlang.org/doc/system/sup_princ.html).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeVar

T = TypeVar("T")
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a supervisor deals with crashes among its children.

    More than `intensity` restarts within `period` seconds and it gives up, failing upward. Before each restart
    it waits `backoff * 2 ** n` seconds, at most `cap`, with jitter; n starts again at zero after `healthy` seconds
    without a crash.
    """

    intensity: int = 3
    period: float = 5.0
    strategy: Strategy = "one_for_one"
    backoff: float = 0.05
    cap: float = 5.0
    healthy: float = 30.0

    def __post_init__(self) -> None:
        if self.strategy not in ("one_for_one", "one_for_all", "rest_for_one"):
            raise ValueError(
                f"Supervision(strategy={self.strategy!r}): expected one_for_one, one_for_all or rest_for_one"
            )
        for name in ("intensity", "period", "backoff", "cap", "healthy"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"Supervision({name}={value!r:.60}): expected a number, at least 0")
        if not self.period:  # within which no crash would ever be counted
            raise ValueError(f"Supervision(period={self.period!r}): expected seconds, more than 0")


def affected(strategy: Strategy, children: list[T], crashed: T) -> list[T]:
    """The children to be stopped and started again, in their order, when that one crashed."""
    at = children.index(crashed)
    if strategy == "one_for_one":
        return [crashed]
    return children[at:] if strategy == "rest_for_one" else list(children)


@dataclass(slots=True)
class Restarts:
    """The crashes of the last `period` seconds, and what follows from one more."""

    policy: Supervision
    _recent: deque[float] = field(default_factory=deque)
    _streak: int = 0
    _last: float | None = None

    def crashed(self, now: float, luck: float = 0.0) -> float | None:
        """Seconds to wait before the restart, or None: the intensity is exceeded, give up."""
        policy = self.policy
        while self._recent and self._recent[0] <= now - policy.period:
            self._recent.popleft()
        self._recent.append(now)
        if len(self._recent) > policy.intensity:
            return None
        if self._last is not None and now - self._last >= policy.healthy:
            self._streak = 0
        wait: float = min(policy.backoff * 2.0 ** min(self._streak, 32), policy.cap)
        self._streak += 1
        self._last = now
        return wait * (1 - 0.5 * luck)
