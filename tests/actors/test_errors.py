"""The error tree, the outcomes that handlers raise, and the small values that are checked when they are made."""

import re

import pytest

import actors
from actors import (
    Batch,
    BatchError,
    BrokerUnavailable,
    Capabilities,
    DrainTimeout,
    HandlerOutcome,
    HeadraceError,
    PublishError,
    TopologyError,
    Unfinished,
)
from actors import errors as module

ERRORS = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Exception)]


def test_every_error_is_in_the_drawing_and_in_the_tree():
    for error in ERRORS:
        assert issubclass(error, HeadraceError)
        assert error.__name__ in module.__doc__
        assert getattr(actors, error.__name__) is error


def test_the_drawing_is_the_tree():
    for line in module.__doc__.splitlines():
        name, depth = line.lstrip("│├└─ ").split("  ")[0], (len(line) - len(line.lstrip("│├└─ "))) // 4
        if depth:
            assert len(getattr(module, name).__mro__) - len(HeadraceError.__mro__) == depth


def test_a_wrong_declaration_is_told_with_its_place_and_remedy():
    error = TopologyError("two stages of one name", remedy="give one a name=", place="orders.py:7")
    assert str(error) == "orders.py:7: two stages of one name\n  give one a name="
    assert (error.problem, error.remedy, error.place) == ("two stages of one name", "give one a name=", "orders.py:7")
    assert str(TopologyError("bare")) == "bare"


def test_a_refusal_names_what_was_refused():
    reasons = {2: ValueError("too large"), 5: ValueError("no route")}
    error = PublishError(reasons)
    assert str(error) == "2 messages were refused; the first: too large"
    reasons.clear()
    assert set(error.failures) == {2, 5}


def test_a_drain_that_took_too_long_says_what_is_left():
    left = [Unfinished("check", 3, 31.04, ("2 in its handler", "1 in its mailbox")), Unfinished("load", 1, 0.25)]
    error = DrainTimeout(25, left)
    assert error.left == {"check": 3, "load": 1}
    assert str(error) == (
        "not drained within 25 s; given back to their brokers: "
        "check 3 (oldest 31.0 s: 2 in its handler, 1 in its mailbox); load 1 (oldest 0.2 s)"
    )
    assert str(DrainTimeout(2.5)).endswith("given back to their brokers: nothing")


def test_a_broker_out_of_reach_is_no_refusal():
    assert not issubclass(BrokerUnavailable, PublishError)


def test_outcomes_are_no_errors_of_headrace():
    assert not issubclass(HandlerOutcome, HeadraceError)


def test_a_batch_error_names_the_failures():
    errors = {0: ValueError("no")}
    error = BatchError(errors)
    errors.clear()
    assert (list(error.errors), str(error)) == ([0], "1 messages of the batch failed")


@pytest.mark.parametrize("wrong", ["no such customer", ValueError, None])
def test_a_batch_error_takes_errors_and_nothing_else(wrong):
    with pytest.raises(TypeError, match=f"BatchError: index 3 has {re.escape(repr(wrong))}: expected an exception"):
        BatchError({0: ValueError(), 3: wrong})


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_batch_has_a_whole_size(size):
    with pytest.raises(ValueError, match=r"Batch\(size=.*\): expected a whole number, at least 1"):
        Batch(size)


@pytest.mark.parametrize("wait", [-1, float("nan")])
def test_a_batch_waits_for_some_time_or_none(wait):
    with pytest.raises(ValueError, match=r"Batch\(wait=.*\): expected seconds, zero or more"):
        Batch(1, wait)
    assert Batch(1, 0).wait == 0


def test_an_endpoint_promises_redelivery_unless_it_says_otherwise():
    capabilities = Capabilities()
    assert capabilities.redelivery
    assert not capabilities.transactions
