"""Faults: the last kinds of error of a stage, counted, with one text of each, and never the error itself."""

import gc
import weakref

from actors import Fault, Faults


class Heavy:
    """Something that a frame holds."""


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_errors_of_one_type_and_place_are_one_kind_with_the_text_of_the_first_in_a_second() -> None:
    faults = Faults()
    for number in range(1000):
        faults.add(raised(ValueError(f"number {number}")))
    (fault,) = faults.latest()
    assert (fault.type, fault.count, fault.text) == ("ValueError", 1000, "number 0")
    assert fault.place.startswith(__file__)
    assert "number 0" in fault.traceback
    assert fault.first <= fault.last


def test_those_seen_last_come_first_and_the_oldest_kinds_go() -> None:
    faults = Faults(kinds=2)
    for kind in (ValueError, KeyError, ValueError, TypeError):
        faults.add(kind("x"))
    assert [fault.type for fault in faults.latest()] == ["TypeError", "ValueError"]


def test_neither_the_error_nor_its_frames_are_held() -> None:
    faults = Faults()

    def fail() -> "weakref.ref[Heavy]":
        heavy = Heavy()
        try:
            raise ValueError(str(heavy))
        except ValueError as error:
            faults.add(error)
        return weakref.ref(heavy)

    held = fail()
    gc.collect()
    assert held() is None
    assert len(faults.latest()) == 1


def test_a_crash_that_was_counted_as_a_failure_is_counted_once() -> None:
    faults, error = Faults(), raised(ValueError("x"))
    faults.add(error)
    faults.crashed(error)
    faults.crashed(raised(KeyError("y")))
    assert [(fault.type, fault.count) for fault in faults.latest()] == [("KeyError", 1), ("ValueError", 1)]


def test_an_error_without_words_and_one_of_great_depth_are_counted_too() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        __repr__ = __str__

    def deep(levels: int) -> None:
        deep(levels - 1)

    faults = Faults()
    faults.add(raised(Unspeakable()))
    try:
        deep(10_000)
    except RecursionError as error:
        faults.add(error)
    found: list[Fault] = faults.latest()
    assert {fault.type for fault in found} == {"Unspeakable", "RecursionError"}
    assert all(len(fault.traceback) < 10_000 for fault in found)
