"""How often stages are looked at, which takes time for each of them."""

import anyio
import pytest

from engine.health import stalls
from engine.health.health import Health
from engine.health.heartbeat import BEAT, Heartbeat

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("stalled_after", "beats"), [(0.1, 1), (60.0, 6)])
async def test_the_more_patience_is_asked_for_the_less_often_is_looked(
    stalled_after: float, beats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    enough = anyio.Event()
    beaten = 0

    class Counting(Heartbeat):
        def beat(self) -> None:
            nonlocal beaten
            beaten += 1

    def health() -> Health:
        looked.append(beaten)
        if len(looked) == 3:
            enough.set()
        return Health(True, True, True, False, (), ())

    async def soon(seconds: float) -> None:
        assert seconds == BEAT
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(stalls, "sleep", soon)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stalls.watch, health, Counting(), stalled_after)
        await enough.wait()
        tasks.cancel_scope.cancel()
    assert looked[:3] == [beats, 2 * beats, 3 * beats]
