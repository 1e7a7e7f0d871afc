"""`Retry`: how often, and after how long, a failed message is tried again. Pure: it decides, others wait."""

from dataclasses import dataclass
from math import inf

from actors.errors import DecodeError
from actors.outcomes import Crash, Reject, RetryAfter


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with jitter.

    `attempts` counts all tries, the first among them. The wait before try n + 1 is `first * factor ** (n - 1)`
    seconds, at most `cap`, less a random share of up to `jitter` of it ("equal jitter",
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    At most `waiting` messages of a stage wait at once; what fails beyond that is dead at once, so that
    a thousand failures cannot fill the memory.
    """

    attempts: float = 3
    """A whole number, or `math.inf`: until it is handled."""
    first: float = 0.1
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.5
    waiting: float = 1000
    """A whole number, or `math.inf`: as many as there are."""

    def __post_init__(self) -> None:
        for name, least in (
            ("attempts", 1),
            ("first", 0),
            ("factor", 1),
            ("cap", 0),
            ("jitter", 0),
            ("waiting", 0),
        ):
            value = getattr(self, name)
            whole = name in ("attempts", "waiting")
            fits = isinstance(value, int) or (isinstance(value, float) and (value == inf or not whole))
            if not fits or not value >= least:
                kind, end = ("a whole number", ", or math.inf") if whole else ("a number", "")
                raise ValueError(f"Retry({name}={value!r:.60}): expected {kind}, at least {least}{end}")
        for name in ("first", "factor"):  # of which the first wait is made: 0 times infinity is no time
            if getattr(self, name) == inf:
                raise ValueError(f"Retry({name}=inf): expected a number less than infinity")
        if self.first > self.cap:
            raise ValueError(
                f"Retry(first={self.first!r}, cap={self.cap!r}): the first wait is over the longest; give cap= too"
            )
        if self.jitter > 1:
            raise ValueError(f"Retry(jitter={self.jitter!r}): expected a share from 0 to 1")

    @staticmethod
    def after(seconds: float) -> RetryAfter:
        """To raise in a handler: try this message again after that many seconds.

        Raises `ValueError` for what is no time, or never comes.
        """
        return RetryAfter(seconds)

    def delay(self, attempt: int, luck: float = 0.0) -> float:
        """The seconds to wait after try number `attempt`; `luck` from 0 to 1 picks the jitter."""
        try:
            wait = min(self.first * float(self.factor) ** (attempt - 1), self.cap)
        except OverflowError:
            wait = self.cap if self.first else 0.0
        return wait * (1 - self.jitter * luck)


NEVER = Retry(attempts=1)
"""The policy of a stage that names none: a failed message is dead."""
AFTER_CRASH = Retry()
"""The same for a message that was in the hands of a worker that crashed."""


def next_try(policy: Retry | None, attempt: int, error: BaseException, luck: float) -> float | None:
    """Seconds until the next try of a message that failed at try number `attempt`, or None: it is dead.

    A body that does not decode, and what a handler rejects, is never tried again. What a handler asks to be
    retried after some seconds is, for as many attempts as the policy has; without a policy, without end.
    """
    if isinstance(error, DecodeError | Reject):
        return None
    if isinstance(error, RetryAfter):
        return error.seconds if policy is None or attempt < policy.attempts else None
    if policy is None:
        # A worker that crashed says nothing against its message, until it does so again and again.
        policy = AFTER_CRASH if isinstance(error, Crash | SystemExit) else NEVER
    return policy.delay(attempt, luck) if attempt < policy.attempts else None
