"""`Receipt`: settled once per branch, the worst branch decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Failure, Outcome, Receipt, SettlementError, join
from actors.receipt import acknowledge_all
from tests.actors.fakes import Completed, message


def failure(reason: str = "no") -> Failure:
    return Failure(ValueError(reason), "stage", 1, 0.0, 0.0)


def receipt() -> tuple[Receipt, Completed]:
    owner = Completed()
    return Receipt(owner, "body"), owner


def settle(made: Receipt, outcome: Outcome) -> None:
    if outcome is Outcome.DONE:
        made.acknowledge()
    elif outcome is Outcome.DEAD:
        made.fail(failure())
    else:
        made.give_back()


@pytest.mark.parametrize("outcome", Outcome)
def test_its_owner_is_told_once_of_each_outcome(outcome):
    made, owner = receipt()
    settle(made, outcome)
    assert owner == [made]
    assert made.outcome is outcome


@pytest.mark.parametrize("again", Outcome)
def test_settling_twice_raises_and_tells_the_owner_nothing(again):
    made, owner = receipt()
    made.acknowledge()
    with pytest.raises(SettlementError, match="settled more often than it has branches: 'body'"):
        settle(made, again)
    assert len(owner) == 1


def test_is_complete_when_every_branch_is_settled():
    made, owner = receipt()
    made.split(2)
    made.acknowledge()
    made.acknowledge()
    assert not owner
    made.acknowledge()
    assert owner == [made]
    assert made.outcome is Outcome.DONE


def test_branches_that_came_to_nothing_are_taken_back():
    made, owner = receipt()
    made.split(3)
    made.unsplit(3)
    made.acknowledge()
    assert owner == [made]


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=12))
def test_the_worst_branch_decides(outcomes):
    made, owner = receipt()
    made.split(len(outcomes) - 1)
    for outcome in outcomes:
        assert not owner
        settle(made, outcome)
    assert owner == [made]
    assert made.outcome == max(outcomes)


def test_of_several_failures_the_first_is_told():
    made, _ = receipt()
    made.split(1)
    made.fail(failure("first"))
    made.fail(failure("second"))
    assert made.failure is not None
    assert str(made.failure.error) == "first"


def test_a_failure_noted_before_the_last_try_does_not_decide():
    made, _ = receipt()
    made.failure = failure("first try")
    made.acknowledge()
    assert made.outcome is Outcome.DONE


def test_the_last_failure_replaces_one_that_was_only_noted():
    made, _ = receipt()
    made.failure = failure("first try")
    made.fail(failure("last try"))
    assert str(made.failure.error) == "last try"


# -- batches ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=6), st.lists(st.sampled_from(Outcome), max_size=4))
def test_what_becomes_of_a_batch_becomes_of_every_part(branches, other):
    owner = Completed()
    parts = [Receipt(owner, at) for at in range(3)]
    for part in parts:
        part.split(len(other))
        for outcome in other:
            settle(part, outcome)
    batch = join(parts)
    batch.split(len(branches) - 1)
    for outcome in branches:
        assert not owner
        settle(batch, outcome)
    assert owner == parts
    assert {part.outcome for part in parts} == {max([*branches, *other])}


def test_the_failure_of_a_batch_is_that_of_its_parts():
    owner = Completed()
    parts = [Receipt(owner), Receipt(owner)]
    join(parts).fail(failure("all of it"))
    assert [str(part.failure.error) for part in parts if part.failure] == ["all of it"] * 2


def test_a_batch_settled_twice_raises():
    batch = join([Receipt(Completed())])
    batch.acknowledge()
    with pytest.raises(SettlementError):
        batch.acknowledge()


def test_a_batch_of_batches_settles_every_message():
    owner = Completed()
    parts = [Receipt(owner) for _ in range(4)]
    join([join(parts[:2]), join(parts[2:])]).give_back()
    assert [part.outcome for part in owner] == [Outcome.RETURNED] * 4


# -- let go ----------------------------------------------------------------------------------------------------------


def test_let_go_without_an_outcome_it_counts_as_not_done():
    made, owner = receipt()
    with made:
        pass
    assert owner == [made]
    assert made.outcome is Outcome.RETURNED


def test_let_go_by_an_error_it_counts_as_not_done_and_the_error_goes_on():
    made, owner = receipt()
    made.split(3)
    with pytest.raises(ZeroDivisionError), made:
        raise ZeroDivisionError
    assert owner == [made]
    assert made.outcome is Outcome.RETURNED


def test_settled_in_its_block_it_stays_as_it_is():
    made, owner = receipt()
    with made:
        made.fail(failure())
    assert owner == [made]
    assert made.outcome is Outcome.DEAD


def test_a_branch_settled_after_its_block_raises():
    made, _ = receipt()
    with made:
        made.split(1)
    with pytest.raises(SettlementError):
        made.acknowledge()


# -- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_is_acknowledged_branch_by_branch_and_in_order():
    owner = Completed()
    run = [message(body, owner) for body in "abc"]
    run[1].receipt.split(1)
    acknowledge_all(run)
    assert owner == [run[0].receipt, run[2].receipt]
    with pytest.raises(SettlementError):
        acknowledge_all(run[:1])


def test_says_how_it_is():
    made, _ = receipt()
    made.split(1)
    made.fail(failure())
    assert repr(made) == "<Receipt DEAD, 1 branches open>"
