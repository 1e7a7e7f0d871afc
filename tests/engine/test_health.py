"""Whether an engine is ready and alive, and what is said of the stages that stand still."""

from typing import Any

import anyio
import pytest

from actors import BrokerUnavailable
from engine.health import REASONS, Health, Observed, StageHealth, Watch, sentence
from headrace import Engine, Harness, Memory, Retry, Topology

pytestmark = pytest.mark.anyio


def seen(stage: str = "orders", **gauges: Any) -> Observed:
    return Observed("shop", stage, gauges.pop("kind", "subscriber"), **gauges)


def judged(*stages: Observed, after: float = 100.0, watch: Watch | None = None) -> tuple[list[StageHealth], list[str]]:
    """What is said of stages that look the same now and that many seconds later."""
    watch = watch or Watch(stalled_after=60)
    watch.look(0.0, stages)
    healths, hopeless = watch.look(after, stages)
    return list(healths), list(hopeless)


def test_a_stage_without_work_is_idle_however_long() -> None:
    [health], hopeless = judged(seen(), after=10_000)
    assert (health.unmoved, health.waiting_for, health.stalled) == (None, None, False)
    assert health.told == "orders is idle"
    assert hopeless == []


def test_a_stage_that_makes_progress_is_not_stalled() -> None:
    watch = Watch(stalled_after=60)
    healths: Any = ()
    for now in range(0, 1000, 50):
        healths, _ = watch.look(float(now), [seen("router", kind="router", waiting=5, progress=now)])
    assert not healths[0].stalled


@pytest.mark.parametrize(
    ("gauges", "reason"),
    [
        ({"connected": False, "trouble": "orders is out of reach"}, "broker"),
        ({"kind": "publisher", "held": 3}, "broker"),
        ({"settling": True, "open": 3, "watermark": 100.0}, "broker"),
        ({"burial": "refused", "open": 1, "watermark": 100.0}, "burial"),
        ({"held": 1, "in_hand": 100.0, "open": 1, "watermark": 100.0}, "handler"),
        ({"held": 2, "retrying": 2, "open": 2, "watermark": 100.0}, "retry"),
        ({"held": 9, "retrying": 1, "in_hand": 0.1, "open": 9, "watermark": 100.0}, "retry"),
        ({"waiting": 3, "running": False}, "start"),
        ({"waiting": 3}, "batch"),
        ({"open": 3, "watermark": 100.0}, "downstream"),
        ({"held": 3, "blocked": True, "open": 3, "watermark": 100.0}, "downstream"),
        ({"pending": 3}, "source"),
    ],
)
def test_the_reason_of_waiting_is_told(gauges: dict[str, Any], reason: str) -> None:
    [health], _ = judged(seen(**gauges))
    assert health.waiting_for == reason
    assert health.waiting_for in REASONS
    assert "orders" in health.told


def test_what_is_paused_is_never_stalled() -> None:
    [health], hopeless = judged(seen(paused=True, pending=10))
    assert (health.waiting_for, health.stalled, hopeless) == ("paused", False, [])


def test_a_handler_within_its_own_timeout_is_no_stall() -> None:
    slow = seen(held=1, in_hand=100.0, open=1, watermark=100.0, timeout=300.0, patience=300.0)
    assert not judged(slow)[0][0].stalled


def test_a_handler_without_a_timeout_is_told_early_and_makes_it_not_alive_late() -> None:
    [health], hopeless = judged(seen(held=1, in_hand=100.0, all_in_hand=100.0, open=1, watermark=100.0))
    assert health.stalled
    assert hopeless == []
    _, hopeless = judged(seen(held=1, in_hand=301.0, all_in_hand=301.0, open=1, watermark=301.0))
    assert len(hopeless) == 1
    assert "timeout" in hopeless[0]


@pytest.mark.parametrize("reason", ["broker", "retry", "burial", "downstream"])
def test_waiting_for_others_never_makes_it_not_alive(reason: str) -> None:
    gauges: dict[str, dict[str, Any]] = {
        "broker": {"connected": False, "trouble": "gone"},
        "retry": {"held": 1, "retrying": 1},
        "burial": {"burial": "gone", "open": 1},
        "downstream": {"open": 1},
    }
    [health], hopeless = judged(seen(**gauges[reason], pending=5), after=1e6)
    assert (health.waiting_for, hopeless) == (reason, [])


def test_a_source_that_delivers_nothing_after_two_new_consumers_makes_it_not_alive() -> None:
    watch = Watch(stalled_after=60)
    watch.look(0.0, [seen(pending=5)])
    assert watch.look(100.0, [seen(pending=5, remade=1)])[1] == ()
    assert len(watch.look(200.0, [seen(pending=5, remade=2)])[1]) == 1


def test_the_blamed_stage_is_the_one_at_the_end_of_the_chain() -> None:
    stages = [
        seen("orders", open=3, watermark=100.0, behind=("route",)),
        seen("route", kind="router", held=3, blocked=True, behind=("fast", "slow")),
        seen("fast", kind="publisher"),
        seen("slow", kind="publisher", held=256, connected=False, trouble="slow is out of reach for 100 s"),
    ]
    (orders, *_), _ = judged(*stages)
    assert orders.waiting_for == "downstream"
    assert "slow is out of reach for 100 s" in orders.told


def test_every_reason_has_its_sentence() -> None:
    assert all("{" not in sentence(seen(), reason, 70.0) for reason in REASONS)
    assert len({sentence(seen(), reason, 70.0) for reason in REASONS}) == len(REASONS)


# -- in an engine ------------------------------------------------------------------------------------------------


async def test_an_engine_is_alive_and_not_ready_before_its_start_ready_while_it_runs_and_not_alive_after() -> None:
    memory = Memory()
    topology = Topology("shop")

    @topology.subscriber(memory.topic("orders"))
    async def take(body: dict[str, int]) -> None:
        return None

    engine = Engine(topology.graph())
    before = engine.health()
    assert (before.started, before.ready, before.alive) == (False, False, True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.healthy(5)
        running = engine.health()
        assert running == Health(True, True, True, False, (), running.stages)
        assert [stage.told for stage in running.stages] == ["take is idle"]
        engine.drain()
        draining = engine.health()
        assert (draining.ready, draining.alive, draining.draining) == (False, True, True)
    after = engine.health()
    assert (after.ready, after.alive, after.reasons[0]) == (False, False, "it has ended")


class Away:
    """A source whose broker is out of reach."""

    async def open(self) -> None:
        raise BrokerUnavailable("connection refused")

    async def close(self) -> None: ...

    def pending(self) -> int | None:
        return None


async def test_a_broker_out_of_reach_makes_it_not_ready_and_leaves_it_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    topology = Topology("shop")

    @topology.subscriber(memory.topic("orders"))
    async def take(body: dict[str, int]) -> None:
        return None

    harness = Harness(topology)
    monkeypatch.setattr(harness, "source", lambda endpoint, group, bound: Away())
    async with harness:
        await anyio.wait_all_tasks_blocked()
        harness.clock.advance(0.01)
        health = harness.engine.health()
        assert (health.ready, health.alive) == (False, True)
        assert health.stages[0].waiting_for == "broker"
        assert "connection refused" in health.stages[0].told


async def test_a_handler_that_does_not_return_is_told_and_its_stage_moves_again() -> None:
    memory = Memory()
    topology = Topology("shop")
    release = anyio.Event()

    @topology.subscriber(memory.topic("orders"), retry=Retry())
    async def take(body: dict[str, int]) -> None:
        await release.wait()

    harness = Harness(topology)
    harness.engine._watch.stalled_after = 0.05
    async with harness:
        await harness.publish(memory.topic("orders"), {"id": 1})
        with anyio.fail_after(10):
            while not (stage := harness.engine.health().stages[0]).stalled:
                harness.clock.advance(0.01)
                await anyio.sleep(0.001)
        assert stage.waiting_for == "handler"
        release.set()
        await harness.settle()
        assert not harness.engine.health().stages[0].stalled
