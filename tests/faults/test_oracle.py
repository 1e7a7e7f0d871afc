"""The oracle passes what may be, and fails each kind of wrong: a test of the tests."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.oracle import Arrival, Following, Plan, Verdict, judge, unmet

COUNT = 60
plans = st.builds(
    Plan, seed=st.integers(0, 5), messages=st.just(COUNT), keys=st.integers(1, 12), poison=st.sampled_from([0.0, 0.4])
)
numbers = st.integers(0, COUNT - 1)


def forwarded(plan: Plan, number: int) -> Arrival:
    """A message as a bridge has written it anew."""
    return Arrival(plan.key(number), json.dumps(plan.fields(number), separators=(",", ":")).encode())


def letter(plan: Plan, number: int) -> Arrival:
    return Arrival(plan.key(number), plan.body(number))


def well(plan: Plan) -> tuple[list[Arrival], list[Arrival]]:
    """What arrives and what is dead where nothing goes wrong."""
    everything = range(plan.messages)
    good = [number for number in everything if plan.kind(number) == "good"]
    bad = [number for number in everything if plan.kind(number) != "good"]
    return [forwarded(plan, number) for number in good], [letter(plan, number) for number in bad]


def judged(plan: Plan, arrived: Sequence[Arrival], dead: Sequence[Arrival] = ()) -> Verdict:
    everything = set(range(plan.messages))
    return judge(plan, everything, everything, arrived, dead)


def some_good(plan: Plan, number: int) -> int:
    """The first good message from there on, and around."""
    return next(each % COUNT for each in range(number, number + COUNT) if plan.kind(each % COUNT) == "good")


def place(plan: Plan, arrived: Sequence[Arrival], number: int) -> int:
    return arrived.index(forwarded(plan, number))


@given(plans)
def test_what_arrives_once_and_in_order_is_well(plan: Plan) -> None:
    arrived, dead = well(plan)
    verdict = judged(plan, arrived, dead)
    assert verdict.problems() == []
    assert (verdict.duplicates, verdict.arrived + verdict.dead) == (0, COUNT)


@given(plans, st.randoms())
def test_the_order_among_different_keys_does_not_matter(plan: Plan, chance: object) -> None:
    arrived, dead = well(plan)
    lanes = [[each for each in arrived if each.key == key] for key in sorted({each.key or "" for each in arrived})]
    mingled = []
    while lanes := [lane for lane in lanes if lane]:
        mingled.append(chance.choice(lanes).pop(0))  # type: ignore[attr-defined]  # a Random of hypothesis's
    assert judged(plan, mingled, dead).problems() == []


@given(plans, numbers, numbers)
def test_a_suffix_that_is_repeated_is_told_as_duplicates_and_is_well(plan: Plan, at: int, back: int) -> None:
    arrived, dead = well(plan)
    at = min(at, len(arrived))
    repeated = arrived[max(0, at - back) : at]
    verdict = judged(plan, arrived[:at] + repeated + arrived[at:], dead)
    assert verdict.problems() == []
    assert verdict.duplicates == len(repeated)


@given(plans, numbers)
def test_a_message_that_is_nowhere_is_missing(plan: Plan, number: int) -> None:
    arrived, dead = well(plan)
    gone = {forwarded(plan, number).body, letter(plan, number).body}
    verdict = judged(
        plan, [each for each in arrived if each.body not in gone], [each for each in dead if each.body not in gone]
    )
    assert verdict.missing == [number]
    assert any("missing" in problem for problem in verdict.problems())


@given(plans, numbers)
def test_a_message_that_nobody_confirmed_is_not_owed_but_may_come(plan: Plan, number: int) -> None:
    number = some_good(plan, number)
    arrived, dead = well(plan)
    everything = set(range(COUNT))
    owed = everything - {number}
    assert judge(plan, everything, owed, arrived, dead).problems() == []
    arrived.remove(forwarded(plan, number))
    assert judge(plan, everything, owed, arrived, dead).problems() == []


@given(plans, numbers)
def test_a_message_that_nobody_published_is_spurious(plan: Plan, number: int) -> None:
    number = some_good(plan, number)
    arrived, dead = well(plan)
    others = set(range(COUNT)) - {number}
    verdict = judge(plan, others, others, arrived, dead)
    assert verdict.spurious == [number]
    assert verdict.problems() != []


@given(plans.filter(lambda plan: plan.poison > 0), numbers)
def test_poison_at_the_destination_is_spurious(plan: Plan, number: int) -> None:
    bad = next((n % COUNT for n in range(number, number + COUNT) if plan.kind(n % COUNT) == "raises"), None)
    if bad is None:
        return
    arrived, dead = well(plan)
    assert judged(plan, [*arrived, forwarded(plan, bad)], dead).spurious == [bad]


@given(plans, numbers, st.data())
def test_a_changed_body_is_corrupted(plan: Plan, number: int, data: st.DataObject) -> None:
    number = some_good(plan, number)
    arrived, dead = well(plan)
    at = place(plan, arrived, number)
    body = bytearray(arrived[at].body)
    where = data.draw(st.integers(0, len(body) - 1))
    body[where] ^= data.draw(st.integers(1, 127))
    arrived[at] = arrived[at]._replace(body=bytes(body))
    verdict = judged(plan, arrived, dead)
    assert len(verdict.corrupted) == 1
    assert verdict.missing == [number]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"1", b'{"id": true}', b'{"id": -1}', b'{"id": "1"}'])
def test_what_is_not_a_message_at_all_is_corrupted(body: bytes) -> None:
    plan = Plan(1, COUNT)
    assert len(judged(plan, [*well(plan)[0], Arrival(None, body)]).corrupted) == 1
    assert len(judged(plan, well(plan)[0], [Arrival(None, body)]).corrupted) == 1


@given(plans, numbers)
def test_a_message_under_another_key_is_corrupted(plan: Plan, number: int) -> None:
    number = some_good(plan, number)
    arrived, dead = well(plan)
    at = place(plan, arrived, number)
    arrived[at] = arrived[at]._replace(key="somebody else")
    assert len(judged(plan, arrived, dead).corrupted) == 1


@given(plans.filter(lambda plan: plan.poison > 0), numbers)
def test_a_changed_dead_letter_is_corrupted_and_what_it_was_is_missing(plan: Plan, number: int) -> None:
    arrived, dead = well(plan)
    if not dead:
        return
    at = number % len(dead)
    changed = dead[at]._replace(body=dead[at].body + b" ")
    verdict = judged(plan, arrived, [*dead[:at], changed, *dead[at + 1 :]])
    assert len(verdict.corrupted) == 1
    assert len(verdict.missing) == 1


@given(plans, numbers)
def test_a_good_message_that_is_dead_is_not_missing_but_wrong(plan: Plan, number: int) -> None:
    number = some_good(plan, number)
    arrived, dead = well(plan)
    arrived.remove(forwarded(plan, number))
    verdict = judged(plan, arrived, [*dead, letter(plan, number)])
    assert (verdict.missing, verdict.astray) == ([], [number])
    assert verdict.problems() != []


@given(plans, numbers)
def test_a_first_delivery_behind_a_later_one_of_its_key_is_an_inversion(plan: Plan, number: int) -> None:
    arrived, dead = well(plan)
    number = some_good(plan, number)
    at = place(plan, arrived, number)
    behind = [each for each in range(at + 1, len(arrived)) if arrived[each].key == arrived[at].key]
    if not behind:
        return
    late = arrived.pop(at)
    arrived.insert(behind[0], late)
    verdict = judged(plan, arrived, dead)
    assert verdict.inversions == [number]
    assert verdict.problems(ordered=True) != []
    assert verdict.problems(ordered=False) == []


@given(plans, numbers)
def test_repeating_the_late_one_does_not_hide_the_inversion(plan: Plan, number: int) -> None:
    arrived, dead = well(plan)
    at = place(plan, arrived, some_good(plan, number))
    behind = [each for each in arrived[at + 1 :] if each.key == arrived[at].key]
    if behind:
        early = [*arrived[:at], *behind, *arrived[at:]]
        assert judged(plan, early, dead).inversions != []


def test_a_run_whose_faults_did_not_happen_proves_nothing() -> None:
    assert unmet({"kills": 3, "redelivered": 1}, {"kills": 3, "redelivered": 5}) == []
    assert unmet({"kills": 3, "redelivered": 1}, {"kills": 2}) == [
        "no proof: 2 kills, at least 3 were meant to happen",
        "no proof: 0 redelivered, at least 1 were meant to happen",
    ]


@given(st.integers(0, 50), st.integers(0, 2_000))
def test_everything_about_a_message_is_a_function_of_its_id(seed: int, number: int) -> None:
    first, again = Plan(seed, 2_000, poison=0.3), Plan(seed, 2_000, poison=0.3)
    assert (first.body(number), first.kind(number)) == (again.body(number), again.kind(number))
    assert first.died(letter(first, number)) == number
    assert first.body(number) != Plan(seed + 1, 2_000).body(number)


def test_poison_has_its_share_and_every_kind() -> None:
    plan = Plan(7, 20_000, poison=0.01)
    kinds = [plan.kind(number) for number in range(20_000)]
    assert 150 < len(kinds) - kinds.count("good") < 250
    assert set(kinds) == {"good", "undecodable", "invalid", "raises", "hangs"}
    assert plan.kind(20_000) == "good"


@given(st.integers(1, 12), numbers, numbers)
def test_following_a_run_passes_repetitions_of_what_was_there(keys: int, at: int, back: int) -> None:
    plan = Plan(3, COUNT, keys)
    arrived = [forwarded(plan, number) for number in range(COUNT)]
    following = Following(plan)
    following.arrived(arrived[:at])
    following.arrived(arrived[max(0, at - back) :])
    assert following.problems(COUNT) == []
    assert (following.total, following.duplicates) == (COUNT, min(at, back))


@given(st.integers(1, 12), numbers)
def test_following_a_run_fails_what_never_came_and_what_came_too_late(keys: int, number: int) -> None:
    plan = Plan(3, COUNT, keys)
    arrived = [forwarded(plan, each) for each in range(COUNT)]
    without, late = Following(plan), Following(plan)
    without.arrived(arrived[:number] + arrived[number + 1 :])
    late.arrived([*arrived[:number], *arrived[number + 1 :], arrived[number]])
    assert without.problems(COUNT) != []
    assert (late.problems(COUNT) != []) == (number + keys < COUNT), "the last of its key is never late"


def test_following_a_run_fails_what_is_corrupted() -> None:
    plan = Plan(3, 2)
    following = Following(plan)
    following.arrived([forwarded(plan, 0), Arrival("k1", b"{}")])
    assert following.problems(2) == ["1 missing", "1 corrupted"]
