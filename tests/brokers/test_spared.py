"""`Spared`: whatever comes, is given back unfetched or returned, the tries told are those that were made."""

from hypothesis import given
from hypothesis import strategies as st

from actors import Message, Origin
from engine.nats.spared import Spared


def delivered(sequence: int, attempt: int) -> Message:
    return Message(raw=b"", origin=Origin(source="s", offset=sequence), attempt=attempt)


@given(st.lists(st.sampled_from(["unfetched", "returned"]), max_size=12), st.integers(0, 3))
def test_only_what_was_fetched_counts_as_a_try(history: list[str], elsewhere: int) -> None:
    spared, deliveries, tries = Spared(), elsewhere, elsewhere
    held = delivered(2, 1)
    for fate in history:
        deliveries += 1
        came = delivered(1, deliveries)
        if fate == "unfetched":
            spared.spare([came], [came, held])
        else:
            tries += 1
            spared.discount([came])
            assert came.attempt == tries
    last = delivered(1, deliveries + 1)
    spared.discount([last, held])
    assert (last.attempt, held.attempt) == (tries + 1, 1)


def test_nothing_is_kept_of_what_others_have_by_now() -> None:
    spared = Spared()
    assert not spared
    spared.spare([delivered(1, 1)], [])
    spared.discount([delivered(2, 1)])
    spared.spare([delivered(3, 1)], [])
    again = [delivered(1, 2), delivered(3, 2)]
    spared.discount(again)
    assert [each.attempt for each in again] == [2, 1]


def test_what_has_not_come_again_is_remembered_when_nothing_or_something_else_is_given_back() -> None:
    spared = Spared()
    spared.spare([delivered(1, 1), delivered(2, 1)], [])
    spared.spare([], [])
    spared.discount([delivered(1, 2)])
    spared.spare([delivered(3, 1)], [])
    again = [delivered(2, 2), delivered(3, 2)]
    spared.discount(again)
    assert [each.attempt for each in again] == [1, 1]


def test_a_consumer_that_was_made_anew_counts_from_one() -> None:
    spared = Spared()
    spared.spare([delivered(1, 1)], [])
    anew = delivered(1, 1)
    spared.discount([anew])
    assert anew.attempt == 1
    spared.clear()
    assert not spared
