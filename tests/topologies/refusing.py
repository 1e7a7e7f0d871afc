"""What the tests of declarations that cannot work have in common."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import TopologyError
from topologies import Topology

Declare = Callable[[Topology], None]


class Cases:
    """Topologies that are refused. The line marked `# refused` is the one that the error must name."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, problem: str, remedy: str) -> Callable[[Declare], Declare]:
        """A case: what its error says is wrong, and what it says to do."""

        def case(declare: Declare) -> Declare:
            self.all.append(pytest.param(declare, problem, remedy, id=declare.__name__))
            return declare

        return case


def refusal(work: Callable[[], Any]) -> TopologyError:
    """The error that this raises: of two lines, short, and without the error behind it."""
    with pytest.raises(TopologyError) as caught:
        work()
    assert len(str(caught.value).splitlines()) == 2, str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.__cause__ is None
    return caught.value


def check(declare: Declare, problem: str, remedy: str) -> None:
    """Declare and compile a case, and compare its error with what it has to say."""
    topology = Topology("cases")

    def compile_it() -> None:
        declare(topology)
        topology.graph()

    error = refusal(compile_it)
    assert problem in error.problem
    assert remedy in error.remedy
    lines, start = inspect.getsourcelines(declare)
    marked = [start + number for number, line in enumerate(lines) if "# refused" in line]
    if marked:
        assert error.place == f"{_shown(inspect.getfile(declare))}:{marked[0]}"


def _shown(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
