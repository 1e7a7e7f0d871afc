"""Telling a running engine what to do: pause and resume a stage, change the size of its pool."""

from collections.abc import Sequence
from difflib import get_close_matches

from actors import HeadraceError, Intake
from engine.assembly.assembly import Assembly
from engine.assembly.running import Running
from topologies import MOST_WORKERS


class ControlError(HeadraceError):
    """What was asked for cannot be done to this stage now; says why, and what to do instead."""


class UnknownStage(ControlError, KeyError):
    """There is no such topology, or no such stage in it."""

    def __str__(self) -> str:
        return str(self.args[0])


def find(assemblies: Sequence[Assembly], topology: str, stage: str) -> Running:
    """The stage as it runs. Raises `UnknownStage`, which names what is close."""
    if not assemblies:
        raise ControlError("the engine has not started yet; try again when /startupz answers 200")
    found = next((each for each in assemblies if each.graph.name == topology), None)
    if found is None:
        names = [each.graph.name for each in assemblies]
        raise UnknownStage(f"there is no topology {topology!r:.80}; {_hint(topology, names)}")
    if stage not in found.stages:
        raise UnknownStage(f"{topology} has no stage {stage!r:.80}; {_hint(stage, list(found.stages))}")
    return found.stages[stage]


def pause(running: Running) -> None:
    """Have its sources fetch nothing; what was fetched goes on. It stays so through restarts, until `resume`."""
    for intake in _intakes(running):
        intake.pause()


def resume(running: Running) -> None:
    """Have its sources fetch again."""
    for intake in _intakes(running):
        intake.resume()


async def scale(running: Running, workers: int | None) -> None:
    """Have that many workers. A pool that finds its own size keeps to that one, until it is given None.

    Those that leave finish what they have in hand. Raises `ControlError` for a number out of bounds.
    """
    name, sizer = running.stage.name, running.sizer
    if workers is None:
        if sizer is None:
            raise ControlError(f"{name} does not find its own size: give a number of workers, 1 to {MOST_WORKERS}")
        sizer.pinned = False
        return
    if not 1 <= workers <= MOST_WORKERS:
        instead = "pause it instead: without workers it would never drain" if workers < 1 else "start more processes"
        raise ControlError(f"{name} can have 1 to {MOST_WORKERS} workers, not {workers}; {instead}")
    if running.mailbox.closed:
        raise ControlError(f"{name} is draining: its pool keeps its size")
    if sizer is not None:
        sizer.pinned = True
    await running.pool.resize(workers)


def _intakes(running: Running) -> list[Intake]:
    if not running.intakes:
        upstream = ", ".join(running.stage.upstream) or "the stages before it"
        raise ControlError(
            f"{running.stage.name} takes from no broker, only what is fetched can be paused; pause {upstream}"
        )
    return running.intakes


def _hint(given: str, names: Sequence[str]) -> str:
    close = get_close_matches(given, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names[:10])}"
