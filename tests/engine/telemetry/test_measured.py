"""What is remembered of a stage from one reading to the next: at times that the test chooses."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Counts, Outbox
from engine.telemetry import measured as module
from engine.telemetry.measured import Measured


class Stage:
    """A stage of some workers, and a clock."""

    def __init__(self, workers: int = 1) -> None:
        self.now = 100.0
        self.counts, self.mailbox = Counts(), list[int]()
        self.workers = [SimpleNamespace(busy_since=None, outbox=Outbox([])) for _ in range(workers)]
        self.pool = SimpleNamespace(workers=self.workers, size=workers)
        running: Any = self
        self.measured = Measured(running, {}, self.now, _rated=self.now)

    def wait(self, after: float = 0.0) -> float | None:
        return self._at(after, self.measured.wait)

    def times(self, after: float = 0.0) -> tuple[float, float, float]:
        times: tuple[float, float, float] = self._at(after, self.measured.times)
        return times

    def _at(self, after: float, read: Any) -> Any:
        self.now += after
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "perf_counter", lambda: self.now)
            return read()

    def begin(self, at: int = 0) -> None:
        self.workers[at].busy_since = self.now

    def end(self, at: int = 0) -> None:
        self.counts.busy_seconds += self.now - self.workers[at].busy_since
        self.counts.handled += 1
        self.workers[at].busy_since = None


def test_a_slow_stage_is_waited_for_as_long_as_it_takes_however_often_it_is_read() -> None:
    stage = Stage()
    stage.mailbox = [1, 2, 3, 4, 5]
    for left in (4, 3, 2, 1):
        stage.mailbox.pop()
        stage.begin()
        for _ in range(6):
            wait = stage.wait(after=1.0)
            assert wait is not None
            assert wait <= 6.01 * left
        stage.end()
        assert stage.wait() == pytest.approx(6 * left)


def test_having_nothing_to_do_makes_no_stage_slow() -> None:
    stage = Stage()
    stage.counts.handled = 100
    assert stage.wait(after=10.0) == 0.0  # 10 a second
    for _ in range(100):
        assert stage.wait(after=60.0) == 0.0
    stage.mailbox = [1] * 20
    stage.begin()
    assert stage.wait(after=0.01) == pytest.approx(2.0)
    stage.counts.handled += 10
    assert stage.wait(after=1.0) == pytest.approx(2.0, rel=0.05)


def test_a_handler_that_does_not_return_is_waited_for_longer_and_longer() -> None:
    stage = Stage()
    stage.counts.handled = 1000
    stage.wait(after=1.0)
    stage.mailbox = [1] * 10
    stage.begin()
    waits = [stage.wait(after=10.0) for _ in range(6)]
    assert waits == pytest.approx([100, 200, 300, 400, 500, 600])


def test_waiting_for_room_counts_like_handling() -> None:
    stage = Stage()
    stage.mailbox = [1]
    assert stage.wait(after=5.0) is None, "nothing is known of it"
    stage.workers[0].outbox.since = stage.now
    assert stage.wait(after=30.0) == pytest.approx(30)
    assert stage.times() == pytest.approx((0, 30, 5))


def test_a_message_in_hand_is_busy_time_before_it_is_done() -> None:
    stage = Stage(workers=2)
    stage.begin()
    assert stage.times(after=60.0) == pytest.approx((60, 0, 60))
    stage.end()
    assert stage.times() == pytest.approx((60, 0, 60))
    assert stage.times(after=1.0) == pytest.approx((60, 0, 62))


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "end", "crash", "block", "room", "resize"]), st.floats(0, 100)), max_size=30
    )
)
def test_no_time_ever_falls(steps: list[tuple[str, float]]) -> None:
    stage, before = Stage(workers=2), (0.0, 0.0, 0.0)
    worker = stage.workers[0]
    for step, after in steps:
        outbox = worker.outbox
        match step:
            case "begin" if worker.busy_since is None and outbox.since is None:
                stage.begin()
            case "end" if worker.busy_since is not None:
                stage.end()
            case "crash":
                worker.busy_since = None
            case "block" if worker.busy_since is None and outbox.since is None:
                outbox.since = stage.now
            case "room" if outbox.since is not None:
                stage.counts.blocked_seconds, outbox.since = (
                    stage.counts.blocked_seconds + stage.now - outbox.since,
                    None,
                )
            case "resize":
                stage.pool.size = 3 - stage.pool.size
        times = stage.times(after)
        assert all(now >= then for now, then in zip(times, before, strict=True))
        before = times
