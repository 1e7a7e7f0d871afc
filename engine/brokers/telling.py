"""`Telling`: has somebody to tell, once, when something is known of a run on its way."""

from collections.abc import Callable


class Telling:
    """What a run of messages on its way begins with. `known` says whether there is something to tell by now."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], object]] = []

    @property
    def known(self) -> bool:
        """Whether whoever asks need not wait to be told."""
        return False

    def then(self, callback: Callable[[], object]) -> None:
        """Call that once when something is known, now if it is."""
        if self.known:
            callback()
        else:
            self._callbacks.append(callback)

    def tell(self) -> None:
        """Call all who wait for it."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
