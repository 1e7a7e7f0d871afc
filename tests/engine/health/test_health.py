"""Whether an engine is ready and alive, and what is said of the stages that stand still."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import BrokerUnavailable
from engine.health.health import Health, StageHealth, Watch
from engine.health.observed import Observed
from engine.health.reasons import REASONS, sentence
from headrace import Actor, Engine, Harness, Memory, Retry, Topology

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
        ({"connected": False, "duplicates": "the store of orders is out of reach"}, "duplicates"),
        ({"settling": True, "open": 3, "watermark": 100.0}, "broker"),
        ({"burial": "refused", "open": 1, "watermark": 100.0}, "burial"),
        ({"held": 1, "in_hand": 100.0, "open": 1, "watermark": 100.0}, "handler"),
        ({"held": 2, "retrying": 2, "open": 2, "watermark": 100.0}, "retry"),
        ({"held": 9, "retrying": 1, "in_hand": 0.1, "open": 9, "watermark": 100.0}, "retry"),
        ({"waiting": 3, "running": False}, "start"),
        ({"connected": False, "trouble": "out of reach", "tried": False, "running": False}, "start"),
        ({"connected": False, "trouble": "out of reach", "tried": False}, "broker"),
        ({"connected": False, "trouble": "out of reach", "running": False}, "broker"),
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


def test_the_blamed_stage_is_found_behind_one_that_has_passed_everything_on() -> None:
    stages = [
        seen("orders", open=1, watermark=100.0, behind=("route",)),
        seen("route", kind="router", behind=("out",)),
        seen("out", kind="publisher", held=1),
    ]
    assert "out has waited 100 s for its broker to confirm" in judged(*stages)[0][0].told


def test_who_waits_for_a_handler_within_its_timeout_is_no_stall_either() -> None:
    orders = seen("orders", open=1, watermark=100.0, behind=("charge",))
    charge = seen("charge", held=1, in_hand=100.0, timeout=300.0, patience=300.0)
    (first, second), _ = judged(orders, charge)
    assert (first.stalled, second.stalled) == (False, False)
    assert "its timeout=300" in first.told


def test_what_is_a_part_of_another_stage_is_blamed_and_not_listed() -> None:
    orders = seen("orders", open=1, watermark=100.0, behind=("orders/replies",))
    replies = seen("orders/replies", kind="publisher", held=1, inner=True)
    [health], _ = judged(orders, replies)
    assert "orders/replies has waited 100 s for its broker to confirm" in health.told


@given(
    st.lists(
        st.builds(
            seen,
            st.sampled_from("abcd"),
            kind=st.sampled_from(["subscriber", "router", "publisher"]),
            behind=st.lists(st.sampled_from("abcd"), max_size=3).map(tuple),
            connected=st.booleans(),
            waiting=st.integers(0, 3),
            held=st.integers(0, 3),
            retrying=st.integers(0, 3),
            open=st.integers(0, 3),
            watermark=st.none() | st.floats(0, 1000),
            in_hand=st.none() | st.floats(0, 1000),
            blocked=st.booleans(),
            paused=st.booleans(),
            pending=st.none() | st.integers(0, 3),
        ),
        max_size=4,
        unique_by=lambda each: each.stage,
    )
)
def test_whatever_is_seen_a_stall_has_a_reason_and_work_and_a_chain_ends(stages: list[Observed]) -> None:
    for health, each in zip(judged(*stages)[0], stages, strict=True):
        assert health.told
        assert (health.unmoved is None) == (not each.work)
        if health.stalled:
            assert each.work
            assert health.waiting_for in REASONS
            assert health.unmoved is not None
            assert health.unmoved >= 60


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


async def test_while_an_actor_starts_nobody_blames_its_broker() -> None:
    memory, topology, go = Memory(), Topology("shop"), anyio.Event()

    @topology.subscriber(memory.topic("in"))
    class Warm(Actor):
        async def on_start(self) -> None:
            await go.wait()

        async def receive(self, body: dict) -> None: ...

    engine = Engine(topology)
    async with memory, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        with anyio.fail_after(10):
            while not engine.running:
                await anyio.sleep(0.005)
        await anyio.wait_all_tasks_blocked()
        health = engine.health()
        [stage] = health.stages
        assert stage.waiting_for == "start"
        assert "look at on_start" in stage.told
        assert health.reasons == ("it has not started", "waits for Warm: none of its workers has started")
        go.set()
        await engine.started.wait()
        engine.drain()
