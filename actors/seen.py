"""What was done already: `Recent`, a bounded set with times, and `SeenHere`, which keeps one in this process."""

from collections.abc import Iterable, Sequence

from actors.clock import Clock


class Recent:
    """A set whose members are forgotten `window` seconds after they were added; the oldest go where `most` is passed.

    Pure: whoever asks says what time it is, which never goes back.
    """

    __slots__ = ("_since", "most", "window")

    def __init__(self, window: float, most: int) -> None:
        self.window = window
        self.most = most
        self._since: dict[bytes, float] = {}
        """When each was added, the oldest first."""

    def add(self, identities: Iterable[bytes], now: float) -> None:
        """Have them as members for a whole window from now on; what is too much goes."""
        since = self._since
        for identity in identities:
            if identity in since:
                del since[identity]  # so that it goes to the end
            since[identity] = now
        while len(since) > self.most:
            del since[next(iter(since))]

    def has(self, identity: bytes, now: float) -> bool:
        """Whether it was added less than a window ago."""
        since = self._since.get(identity)
        return since is not None and now - since < self.window

    def forget(self, now: float) -> None:
        """Let go of those that are members no more."""
        since, window = self._since, self.window
        while since:
            oldest = next(iter(since))
            if now - since[oldest] < window:
                return
            del since[oldest]

    def __len__(self) -> int:
        return len(self._since)


class SeenHere:
    """`Seen` in the memory of this process: gone when it ends."""

    def __init__(self, window: float, most: int, clock: Clock) -> None:
        self._recent = Recent(window, most)
        self._clock = clock

    async def open(self) -> None:
        """Nothing to do."""

    async def known(self, identities: Sequence[bytes]) -> list[bool]:
        """Whether each was done within the window."""
        has, now = self._recent.has, self._clock.now()
        return [has(identity, now) for identity in identities]

    async def keep(self, identities: Sequence[bytes]) -> None:
        """They are done as of now."""
        now = self._clock.now()
        self._recent.forget(now)
        self._recent.add(identities, now)

    async def close(self) -> None:
        """Nothing to do; what was kept stays."""

    def __repr__(self) -> str:
        return f"<remembers {len(self._recent)} for {self._recent.window:g} s>"
