"""`Supervisor`: starts in order, restarts what crashes, gives up upward, and stops in reverse order within its time."""

from collections import defaultdict
from logging import ERROR

import pytest
from anyio import CancelScope, Event, create_task_group, move_on_after
from anyio.lowlevel import checkpoint

from actors import Child, IntensityExceeded, State, Supervision, SupervisionError, Supervisor, VirtualClock
from tests.actors.fakes import logger, quiet, running

pytestmark = pytest.mark.anyio

PATIENT = Supervision(intensity=1000, backoff=1, cap=1)


class Play:
    """Children whose lives a test directs, and what happened, in order."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.log: list[str] = []
        self.cues: dict[str, Event] = defaultdict(Event)
        self.errors: dict[str, BaseException] = {}
        self.unready: set[str] = set()
        """Children that do not say that they have started."""
        self.crash_at_start: set[str] = set()
        self.crash_at_stop: set[str] = set()
        self.deaf: dict[str, Event] = {}
        """Children that no cancellation reaches until the event."""

    def child(self, name: str, **options) -> Child:
        return Child(name, lambda started: self.live(name, started), **options)

    async def live(self, name, started):
        self.log.append(f"{name} starts")
        if name in self.crash_at_start:
            raise RuntimeError(f"{name} cannot start")
        if name not in self.unready:
            started()
        try:
            if name in self.deaf:
                with CancelScope(shield=True):
                    await self.deaf[name].wait()
            await self.cues[name].wait()
        except BaseException:
            self.log.append(f"{name} stops")
            if name in self.crash_at_stop:
                raise RuntimeError(f"{name} cannot stop") from None
            raise
        error = self.errors.pop(name, None)
        self.log.append(f"{name} crashes" if error else f"{name} ends")
        del self.cues[name]
        if error is not None:
            raise error

    def crash(self, name: str, error: BaseException | None = None) -> None:
        self.errors[name] = error or RuntimeError(f"{name} crashed")
        self.cues[name].set()

    def end(self, name: str) -> None:
        self.cues[name].set()

    async def pass_time(self, seconds: float) -> None:
        await quiet()
        self.clock.advance(seconds)
        await quiet()

    def so_far(self) -> list[str]:
        log, self.log = self.log, []
        return log

    def supervisor(self, names: str, policy: Supervision = PATIENT, name: str = "top", **options) -> Supervisor:
        return self.over([self.child(each, **options) for each in names], policy, name)

    def over(self, children: list[Child], policy: Supervision = PATIENT, name: str = "top") -> Supervisor:
        return Supervisor(name, children, policy, self.clock, logger)


@pytest.fixture
def play() -> Play:
    return Play()


def states(supervisor: Supervisor) -> list[str]:
    return [str(child.life.state) for child in supervisor.children]


# -- starting and ending ---------------------------------------------------------------------------------------------


async def test_starts_each_child_when_the_one_before_it_is_ready(play):
    gate = Event()

    async def slow(started):
        play.log.append("slow starts")
        await gate.wait()
        started()
        await play.cues["slow"].wait()

    supervisor, ready = play.over([play.child("a"), Child("slow", slow), play.child("b")]), []
    async with running(lambda: supervisor.run(lambda: ready.append(True))):
        assert play.so_far() == ["a starts", "slow starts"]
        assert states(supervisor) == ["running", "starting", "new"]
        assert not ready
        gate.set()
        await quiet()
        assert play.so_far() == ["b starts"]
        assert ready == [True]


async def test_ends_when_all_children_are_done(play):
    supervisor = play.supervisor("ab")
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.end("b")
        await quiet()
        assert states(supervisor) == ["running", "done"]
        play.end("a")
    assert states(supervisor) == ["done", "done"]
    assert supervisor.restarts == 0


async def test_a_child_that_ends_without_ever_being_ready_is_done(play):
    play.unready.add("a")
    play.end("a")
    supervisor = play.supervisor("ab")
    async with running(supervisor.run):
        assert play.so_far() == ["a starts", "a ends", "b starts"]


async def test_what_is_done_is_not_started_again_when_the_supervisor_is(play):
    supervisor = play.supervisor("ab", Supervision(intensity=0))
    play.end("a")
    for _ in range(2):
        play.crash("b")
        with pytest.raises(IntensityExceeded):
            await supervisor.run()
    assert play.so_far() == ["a starts", "a ends", "b starts", "b crashes", "b starts", "b crashes"]


async def test_a_supervisor_of_nothing_ends_at_once(play):
    await play.supervisor("").run()


# -- strategies ------------------------------------------------------------------------------------------------------


async def test_one_for_one_starts_only_the_crashed_child_again(play):
    supervisor = play.supervisor("abc")
    async with running(supervisor.run):
        play.so_far()
        play.crash("b")
        await quiet()
        assert play.so_far() == ["b crashes"]
        assert states(supervisor) == ["running", "restarting", "running"]
        await play.pass_time(1)
        assert play.so_far() == ["b starts"]
        assert states(supervisor) == ["running"] * 3
        assert supervisor.restarts == 1
        assert [child.life.restarts for child in supervisor.children] == [0, 1, 0]


async def test_one_for_all_stops_in_reverse_and_starts_in_order(play):
    supervisor = play.supervisor("abc", Supervision(intensity=9, strategy="one_for_all", backoff=1, cap=1))
    async with running(supervisor.run):
        play.so_far()
        play.crash("b")
        await quiet()
        assert play.so_far() == ["b crashes", "c stops", "a stops"]
        await play.pass_time(1)
        assert play.so_far() == ["a starts", "b starts", "c starts"]


async def test_rest_for_one_restarts_what_was_started_after(play):
    supervisor = play.supervisor("abcd", Supervision(intensity=9, strategy="rest_for_one", backoff=1, cap=1))
    async with running(supervisor.run):
        play.so_far()
        play.crash("b")
        await play.pass_time(1)
        assert play.so_far() == ["b crashes", "d stops", "c stops", "b starts", "c starts", "d starts"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_children_that_are_done_stay_done(play, strategy):
    supervisor = play.supervisor("abc", Supervision(intensity=9, strategy=strategy, backoff=1, cap=1))
    async with running(supervisor.run):
        play.end("c")
        await quiet()
        play.so_far()
        play.crash("a")
        await play.pass_time(1)
        assert play.so_far() == ["a crashes", "b stops", "a starts", "b starts"]


async def test_a_sibling_that_ends_while_it_is_being_stopped_is_restarted_with_the_others(play):
    async def stop():
        play.end("b")

    policy = Supervision(intensity=9, strategy="one_for_all", backoff=1, cap=1)
    supervisor = play.over([play.child("a"), play.child("b", stop=stop)], policy)
    async with running(supervisor.run):
        play.so_far()
        play.crash("a")
        await play.pass_time(1)
        assert play.so_far() == ["a crashes", "b ends", "a starts", "b starts"]


async def test_crashes_at_the_same_time_restart_a_group_once(play):
    policy = Supervision(intensity=1, strategy="one_for_all", backoff=1, cap=1)
    supervisor = play.supervisor("ab", policy)
    async with running(supervisor.run):
        play.so_far()
        play.crash("a")
        play.crash("b")
        await play.pass_time(1)
        assert sorted(play.so_far()[:2]) == ["a crashes", "b crashes"]
        assert states(supervisor) == ["running", "running"]
        assert supervisor.restarts == 1


async def test_a_crash_further_up_takes_over_a_restart_that_still_waits(play):
    policy = Supervision(intensity=9, strategy="rest_for_one", backoff=1, cap=1)
    supervisor = play.supervisor("abc", policy)
    async with running(supervisor.run):
        play.so_far()
        play.crash("b")
        await play.pass_time(0.4)
        play.crash("a")
        await quiet()
        assert play.so_far() == ["b crashes", "c stops", "a crashes"]
        play.clock.advance(0.1)
        await play.pass_time(10)
        assert play.so_far() == ["a starts", "b starts", "c starts"]


async def test_children_of_one_name_are_told_apart(play):
    twins = [play.child("twin"), Child("twin", lambda started: play.live("other", started))]
    supervisor = play.over(twins)
    async with running(supervisor.run):
        play.so_far()
        play.crash("twin")
        await play.pass_time(1)
        assert play.so_far() == ["twin crashes", "twin starts"]
        assert [child.life.restarts for child in twins] == [1, 0]


# -- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), ExceptionGroup("two", [ValueError()])])
async def test_whatever_a_child_raises_is_a_crash(play, error):
    supervisor = play.supervisor("a")
    async with running(supervisor.run):
        play.crash("a", error)
        await play.pass_time(1)
        assert play.so_far() == ["a starts", "a crashes", "a starts"]


async def test_a_crash_while_starting_is_a_crash_and_the_next_child_is_started(play):
    play.crash_at_start.add("a")
    supervisor = play.supervisor("ab")
    async with running(supervisor.run):
        assert play.so_far() == ["a starts", "b starts"]
        assert states(supervisor) == ["restarting", "running"]
        play.crash_at_start.clear()
        await play.pass_time(1)
        assert states(supervisor) == ["running", "running"]


async def test_the_backoff_grows_from_crash_to_crash(play):
    supervisor = play.supervisor("a", Supervision(intensity=100, backoff=1, cap=100, healthy=1000))
    async with running(supervisor.run):
        for longest in (1, 2, 4, 8):
            play.crash("a")
            await play.pass_time(longest / 2 - 0.01)
            assert states(supervisor) == ["restarting"]
            await play.pass_time(longest / 2 + 0.01)
            assert states(supervisor) == ["running"]


async def test_gives_up_when_the_intensity_is_exceeded(play, caplog):
    supervisor = play.supervisor("abc", Supervision(intensity=2, period=10, backoff=0))
    failed = []

    async def run():
        try:
            await supervisor.run()
        except IntensityExceeded as error:
            failed.append(error)

    async with running(run):
        for _ in range(2):
            play.crash("b")
            await play.pass_time(1)
        assert states(supervisor) == ["running"] * 3
        play.so_far()
        play.crash("b", ValueError("the last"))
        await quiet()
        assert play.so_far() == ["b crashes", "c stops", "a stops"]
    (error,) = failed
    assert (error.supervisor, error.child) == ("top", "b")
    assert str(error.__cause__) == "the last"
    assert str(error) == (
        "top: gave up after more than 2 restarts in 10 s; the last to crash was b: see the error it was logged with"
    )
    assert states(supervisor) == ["stopped"] * 3
    assert caplog.records[-1].levelno == ERROR


async def test_crashes_outside_the_window_are_forgotten(play):
    supervisor = play.supervisor("a", Supervision(intensity=1, period=10, backoff=0))
    async with running(supervisor.run):
        for _ in range(5):
            play.crash("a")
            await play.pass_time(0)
            await play.pass_time(10)
            assert states(supervisor) == ["running"]


async def test_a_supervisor_that_gave_up_is_restarted_by_its_own_with_a_new_window(play):
    inner = play.supervisor("ab", Supervision(intensity=1, period=100, backoff=0), name="inner")
    outer = play.over([Child("inner", inner.run, inner.stop)], Supervision(intensity=1, period=100, backoff=0))
    failed = []

    async def run():
        with pytest.raises(IntensityExceeded) as error:
            await outer.run()
        failed.append(error.value)

    async with create_task_group() as tasks:
        tasks.start_soon(run)
        for crashes in range(1, 4):
            await quiet()
            play.crash("a")
            await play.pass_time(0)
            await play.pass_time(0)
            assert not failed
            assert states(outer) == ["running"]
            assert outer.restarts == crashes // 2
        play.crash("a")
        await quiet()
    assert (failed[0].supervisor, failed[0].child) == ("top", "inner")
    assert isinstance(failed[0].__cause__, IntensityExceeded)
    assert states(inner) == ["stopped", "stopped"]


# -- stopping --------------------------------------------------------------------------------------------------------


async def test_stops_in_reverse_order(play):
    supervisor = play.supervisor("abc")
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.so_far()
        await supervisor.stop()
        assert play.so_far() == ["c stops", "b stops", "a stops"]
    assert states(supervisor) == ["stopped"] * 3


async def test_a_child_is_asked_to_stop_where_it_can_be_asked(play):
    async def stop():
        play.log.append("a is asked")
        play.end("a")

    supervisor = play.over([play.child("a", stop=stop)])
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        await supervisor.stop()
    assert play.so_far() == ["a starts", "a is asked", "a ends"]
    assert states(supervisor) == ["stopped"]


async def test_a_child_that_does_not_do_as_asked_is_cancelled_in_time(play):
    async def stop():
        play.log.append("a is asked")

    supervisor = play.over([play.child("b"), play.child("a", stop=stop, stop_within=0.01)])
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.so_far()
        await supervisor.stop()
    assert play.so_far() == ["a is asked", "a stops", "b stops"]


async def test_asking_that_never_ends_is_cancelled_in_time(play):
    supervisor = play.over([play.child("a", stop=Event().wait, stop_within=0.01)])
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        await supervisor.stop()
    assert states(supervisor) == ["stopped"]


async def test_asking_that_fails_stops_the_child_all_the_same(play, caplog):
    async def stop():
        raise RuntimeError("cannot ask")

    supervisor = play.over([play.child("a"), play.child("b", stop=stop)])
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        await supervisor.stop()
    assert states(supervisor) == ["stopped", "stopped"]
    assert "b could not be asked to stop" in caplog.text


async def test_a_child_that_hangs_is_told_of_and_holds_up_no_other(play, caplog):
    play.deaf["b"] = Event()
    supervisor = play.supervisor("abc", stop_within=0.01)
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.so_far()
        await supervisor.stop()
        assert play.so_far() == ["c stops", "a stops"]
        assert "b did not stop within 0.01 s" in caplog.text
        assert states(supervisor) == ["stopped", "stopping", "stopped"]
        play.deaf["b"].set()
    assert states(supervisor) == ["stopped"] * 3


async def test_a_crash_while_stopping_is_the_end_of_it(play):
    play.crash_at_stop.add("b")
    supervisor = play.supervisor("abc")
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        await supervisor.stop()
    assert states(supervisor) == ["stopped"] * 3
    assert supervisor.restarts == 0


async def test_a_crash_of_another_while_one_is_being_stopped_restarts_nothing(play):
    async def stop():
        play.crash("a")
        await quiet()
        play.end("b")

    supervisor = play.over([play.child("a"), play.child("b", stop=stop)], Supervision(intensity=0))
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.so_far()
        await supervisor.stop()
    assert play.so_far() == ["a crashes", "b ends"]
    assert states(supervisor) == ["stopped", "stopped"]


async def test_stopped_while_it_starts_it_starts_no_more(play):
    play.unready.add("b")
    supervisor, ready = play.supervisor("abc"), []
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run, lambda: ready.append(True))
        await quiet()
        await supervisor.stop()
    assert play.so_far() == ["a starts", "b starts", "b stops", "a stops"]
    assert not ready


async def test_stopped_before_it_runs_it_ends_at_once_and_can_be_run_later(play):
    supervisor = play.supervisor("ab")
    await supervisor.stop()
    await supervisor.run()
    assert play.so_far() == []
    async with running(supervisor.run):
        assert play.so_far() == ["a starts", "b starts"]


async def test_stopped_during_a_backoff_it_does_not_wait_for_it(play):
    supervisor = play.supervisor("ab")
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.crash("a")
        await quiet()
        await supervisor.stop()
    assert states(supervisor) == ["stopped", "stopped"]
    play.so_far()
    await play.pass_time(100)
    assert play.so_far() == []


async def test_stopped_while_a_group_is_being_stopped_it_restarts_nothing(play):
    gate = Event()
    policy = Supervision(intensity=9, strategy="one_for_all", backoff=1, cap=1)

    async def stop():
        await gate.wait()
        play.end("b")

    supervisor = play.over([play.child("a"), play.child("b", stop=stop)], policy)
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.crash("a")
        await quiet()
        assert states(supervisor) == ["crashed", "stopping"]
        tasks.start_soon(supervisor.stop)
        await quiet()
        gate.set()
        await quiet()
    assert states(supervisor) == ["stopped", "stopped"]
    await play.pass_time(100)
    assert play.so_far() == ["a starts", "b starts", "a crashes", "b stops"]


async def test_a_sibling_that_cannot_be_stopped_is_reason_to_give_up(play):
    play.deaf["b"] = Event()
    policy = Supervision(intensity=9, strategy="one_for_all", backoff=1)
    supervisor = play.supervisor("ab", policy, stop_within=0.01)
    failed = []

    async def run():
        with pytest.raises(SupervisionError, match="top: gave up: b does not stop, and cannot be started again"):
            await supervisor.run()
        failed.append(True)

    async with create_task_group() as tasks:
        tasks.start_soon(run)
        await quiet()
        play.crash("a")
        while supervisor.children[0].life.state is not State.STOPPED:
            await quiet()
        play.deaf["b"].set()
    assert failed
    assert states(supervisor) == ["stopped", "stopped"]


# -- cancelled from outside ------------------------------------------------------------------------------------------


async def test_cancelled_it_stops_its_children_in_reverse_order(play):
    supervisor = play.supervisor("abc")
    async with running(supervisor.run):
        play.so_far()
    assert play.so_far() == ["c stops", "b stops", "a stops"]
    assert states(supervisor) == ["stopped"] * 3


async def test_cancelled_while_starting_it_stops_what_has_started(play):
    play.unready.add("b")
    supervisor = play.supervisor("abc")
    async with running(supervisor.run):
        play.so_far()
    assert play.so_far() == ["b stops", "a stops"]
    assert states(supervisor) == ["stopped"] * 3


async def test_cancelled_during_a_backoff_it_ends(play):
    supervisor = play.supervisor("ab")
    async with running(supervisor.run):
        play.crash("a")
        await quiet()
    assert states(supervisor) == ["stopped", "stopped"]


async def test_cancelled_while_giving_up_it_still_stops_in_order(play):
    gate = Event()

    async def stop():
        await gate.wait()
        play.end("c")

    children = [play.child("a"), play.child("b"), play.child("c", stop=stop)]
    supervisor = play.over(children, Supervision(intensity=0))

    async def run():
        with pytest.raises(IntensityExceeded):
            await supervisor.run()

    async with create_task_group() as tasks:
        tasks.start_soon(run)
        await quiet()
        play.so_far()
        play.crash("a")
        await quiet()
        tasks.cancel_scope.cancel()
        gate.set()
    assert play.so_far() == ["a crashes", "c ends", "b stops"]


async def test_after_cancellation_it_can_be_run_again(play):
    supervisor = play.supervisor("ab")
    for _ in range(2):
        async with running(supervisor.run):
            assert states(supervisor) == ["running", "running"]


# -- nested ----------------------------------------------------------------------------------------------------------


def nest(play: Play, names: str, within: float = 5.0, **options) -> tuple[Supervisor, list[Supervisor]]:
    """A supervisor over supervisors of two children each: a1, a2, b1, b2, ..."""
    inner = [
        play.over([play.child(f"{name}{at}", **options) for at in (1, 2)], Supervision(intensity=0), name)
        for name in names
    ]
    return play.over([Child(each.name, each.run, each.stop, within, each.cut) for each in inner]), inner


async def test_nested_supervisors_start_and_stop_depth_first(play):
    outer, _ = nest(play, "ab")
    async with create_task_group() as tasks:
        tasks.start_soon(outer.run)
        await quiet()
        assert play.so_far() == ["a1 starts", "a2 starts", "b1 starts", "b2 starts"]
        await outer.stop()
        assert play.so_far() == ["b2 stops", "b1 stops", "a2 stops", "a1 stops"]


async def test_a_nested_supervisor_that_gives_up_is_started_anew(play):
    outer, inner = nest(play, "ab")
    async with running(outer.run):
        play.so_far()
        play.crash("a1")
        await play.pass_time(1)
        assert play.so_far() == ["a1 crashes", "a2 stops", "a1 starts", "a2 starts"]
        assert states(outer) == ["running", "running"]
        assert states(inner[0]) == ["running", "running"]


@pytest.mark.parametrize("asked", [{}, {"stop": Event().wait}], ids=["cancelled", "asked"])
async def test_the_time_of_a_nested_supervisor_bounds_that_of_its_children(play, caplog, asked):
    outer, _ = nest(play, "ab", within=0.02, stop_within=600, **asked)
    for name in ("b1", "b2"):
        play.deaf[name] = Event()
    async with create_task_group() as tasks:
        tasks.start_soon(outer.run)
        await quiet()
        play.so_far()
        await outer.stop()
        assert play.so_far() == ["a2 stops", "a1 stops"]
        assert "b did not stop within 0.02 s" in caplog.text
        for name in ("b1", "b2"):
            play.deaf[name].set()


async def test_time_that_is_over_is_over_on_every_level_below(play):
    middle, _ = nest(play, "ab", within=600, stop_within=600, stop=Event().wait)
    top = play.over([play.child("first"), Child("middle", middle.run, middle.stop, 0.02, middle.cut)])
    async with create_task_group() as tasks:
        tasks.start_soon(top.run)
        await quiet()
        play.so_far()
        await top.stop()
        stopped = play.so_far()
        assert sorted(stopped[:-1]) == ["a1 stops", "a2 stops", "b1 stops", "b2 stops"]
        assert stopped[-1] == "first stops"
    assert states(top) == ["stopped", "stopped"]


async def test_whoever_has_no_more_time_to_stop_it_has_all_children_cancelled_at_once(play):
    supervisor = play.supervisor("abc", stop=Event().wait, stop_within=600)
    play.deaf["b"] = Event()
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.so_far()
        with move_on_after(0.02):
            await supervisor.stop()
        await quiet()
        assert sorted(play.so_far()) == ["a stops", "c stops"]
        play.deaf["b"].set()
    assert states(supervisor) == ["stopped"] * 3


async def test_one_that_gives_up_while_it_is_stopped_is_bounded_as_well(play):
    inner = play.supervisor("ab", Supervision(intensity=0), "inner", stop=Event().wait, stop_within=600)
    outer = play.over([Child("inner", inner.run, inner.stop, 0.02, inner.cut)])
    async with create_task_group() as tasks:
        tasks.start_soon(outer.run)
        await quiet()
        play.crash("a")
        await quiet()
        assert states(inner) == ["crashed", "stopping"]
        await outer.stop()
    assert states(inner) == ["stopped", "stopped"]


async def test_children_that_do_not_need_one_another_are_stopped_side_by_side(play):
    asked, all_asked = [], Event()

    async def stop():
        asked.append(True)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()

    children = [play.child(name, stop=stop, stop_within=600) for name in "abc"]
    for name in "abc":
        play.deaf[name] = all_asked
    supervisor = Supervisor("top", children, PATIENT, play.clock, logger, side_by_side=True)
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        tasks.start_soon(supervisor.stop)
        await quiet()
        assert len(asked) == 3
        for name in "abc":
            play.end(name)
    assert len(asked) == 3


async def test_cancellation_reaches_the_nested_in_order(play):
    outer, _ = nest(play, "ab")
    async with running(outer.run):
        play.so_far()
    assert play.so_far() == ["b2 stops", "b1 stops", "a2 stops", "a1 stops"]


# -- children that come and go ---------------------------------------------------------------------------------------


async def test_a_child_added_while_it_runs_is_started_last(play):
    supervisor = play.supervisor("ab")
    async with running(supervisor.run):
        await supervisor.add(play.child("c"))
        assert play.so_far() == ["a starts", "b starts", "c starts"]
        play.crash("c")
        await play.pass_time(1)
        assert play.so_far() == ["c crashes", "c starts"]


async def test_a_child_added_before_it_runs_is_started_with_the_others(play):
    supervisor = play.supervisor("a")
    await supervisor.add(play.child("b"))
    async with running(supervisor.run):
        assert play.so_far() == ["a starts", "b starts"]


async def test_a_child_added_while_it_stops_is_not_started(play):
    async def stop():
        await supervisor.add(play.child("c"))
        play.end("b")

    supervisor = play.over([play.child("a"), play.child("b", stop=stop)])
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        await supervisor.stop()
    assert "c starts" not in play.log
    assert states(supervisor) == ["stopped"] * 3


async def test_children_that_leave_are_forgotten_once_they_are_done(play):
    supervisor = play.supervisor("abc")
    async with running(supervisor.run):
        _, b, c = supervisor.children
        play.end("b")
        await quiet()
        supervisor.prune({b, c})
        assert supervisor.children == [supervisor.children[0], c]
        play.crash("c")
        await play.pass_time(1)
        play.end("c")
        await quiet()
        supervisor.prune(set())
        assert [child.name for child in supervisor.children] == ["a"]


async def test_a_child_that_leaves_and_was_only_stopped_is_kept_for_the_next_run(play):
    supervisor = play.supervisor("ab")
    async with running(supervisor.run):
        pass
    supervisor.prune(set(supervisor.children))
    assert len(supervisor.children) == 2


@pytest.mark.parametrize("turns", range(12))
async def test_children_may_be_added_at_any_turn_of_its_end(play, turns):
    async def short(started):
        started()

    supervisor = play.supervisor("a")
    async with create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await quiet()
        play.end("a")
        for _ in range(turns):
            await checkpoint()
            tasks.start_soon(supervisor.add, Child("late", short))
    await supervisor.run()
    assert {child.life.state for child in supervisor.children} <= {State.DONE, State.STOPPED}


async def test_says_how_its_children_are(play):
    supervisor = play.supervisor("ab")
    async with running(supervisor.run):
        play.end("b")
        await quiet()
        assert repr(supervisor) == "<Supervisor top (one_for_one): a running, b done>"
