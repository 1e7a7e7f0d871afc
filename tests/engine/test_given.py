"""What `Engine` is given, and what it says of what it cannot be."""

from typing import Any

import pytest

from headrace import Engine, Topology


def test_what_is_as_it_should_be_is_taken() -> None:
    engine = Engine(drain=0, stalled_after=0.5)
    assert engine.patience == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"drain": -1}, ValueError, ("drain=-1", "0 or more")),
        ({"drain": float("nan")}, ValueError, ("drain=nan",)),
        ({"drain": float("inf")}, ValueError, ("drain=inf",)),
        ({"drain": "5"}, TypeError, ("drain='5'", "seconds")),
        ({"drain": True}, TypeError, ("drain=True",)),
        ({"drain": None}, TypeError, ("drain=None",)),
        ({"stalled_after": 0}, ValueError, ("stalled_after=0", "more than 0")),
        ({"clock": 3}, TypeError, ("clock=3", "Clock")),
        ({"connect": "redis://"}, TypeError, ("connect='redis://'",)),
        ({"meter_provider": "x"}, TypeError, ("meter_provider='x'", "MeterProvider")),
        ({"tracer_provider": object}, TypeError, ("tracer_provider=", "TracerProvider")),
    ],
)
def test_what_cannot_be_is_refused_by_name_with_what_is_expected(
    arguments: dict[str, Any], error: type[Exception], words: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        Engine(**arguments)
    for word in ("Engine(", "expected", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(("topology", "words"), [("orders", "'orders'"), ([Topology("a")], "Engine(*topologies)")])
def test_what_is_no_topology_is_refused(topology: Any, words: str) -> None:
    with pytest.raises(TypeError, match="expected a Topology") as caught:
        Engine(topology)
    assert words in str(caught.value)
