"""`Retry`: how often and how soon, decided purely."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import DecodeError, Reject, Retry, RetryAfter, next_try

seconds = st.floats(0, 1e9)
shares = st.floats(0, 1)
policies = st.builds(
    lambda first, cap, **others: Retry(first=min(first, cap), cap=cap, **others),
    attempts=st.integers(1, 50),
    first=seconds,
    factor=st.floats(1, 1e6) | st.integers(1, 10**6),
    cap=seconds,
    jitter=shares,
)


@given(policies, st.integers(1, 10_000), shares)
def test_a_wait_is_at_most_the_cap_and_less_at_most_the_jitter(policy, attempt, luck):
    wait, longest = policy.delay(attempt, luck), policy.delay(attempt)
    assert 0 <= wait <= longest <= policy.cap
    assert wait >= longest * (1 - policy.jitter) * (1 - 1e-9)


@given(policies, st.integers(1, 1000))
def test_without_jitter_no_wait_is_shorter_than_the_one_before(policy, attempt):
    assert policy.delay(attempt) <= policy.delay(attempt + 1)


@given(seconds, st.floats(1, 10), st.integers(1, 20))
def test_a_wait_grows_by_the_factor_until_the_cap(first, factor, attempt):
    assert math.isclose(Retry(first=first, factor=factor, cap=1e40).delay(attempt), first * factor ** (attempt - 1))


def test_nothing_stays_nothing_however_often_it_is_doubled():
    assert Retry(first=0, factor=1e6).delay(10_000) == 0


@given(policies, st.integers(1, 100), shares)
def test_there_are_as_many_tries_as_attempts(policy, attempt, luck):
    again = next_try(policy, attempt, ValueError(), luck)
    assert (again is not None) == (attempt < policy.attempts)
    if again is not None:
        assert again == policy.delay(attempt, luck)


@given(st.none() | policies, st.integers(1, 100), st.sampled_from([DecodeError("x"), Reject("x")]))
def test_what_does_not_decode_and_what_is_rejected_is_never_tried_again(policy, attempt, error):
    assert next_try(policy, attempt, error, 0.0) is None


@given(st.integers(1, 10**9), shares)
def test_without_end_it_is_tried_again_after_every_attempt(attempt, luck):
    policy = Retry(attempts=math.inf, waiting=math.inf)
    assert next_try(policy, attempt, ValueError(), luck) == policy.delay(attempt, luck)
    assert next_try(policy, attempt, Retry.after(5), luck) == 5


@given(st.integers(1, 100))
def test_without_a_policy_a_failure_is_final(attempt):
    assert next_try(None, attempt, ValueError(), 0.0) is None


@given(st.none() | policies, st.integers(1, 100), seconds)
def test_what_asks_for_a_time_gets_it_as_often_as_the_policy_allows(policy, attempt, wait):
    again = next_try(policy, attempt, Retry.after(wait), 0.0)
    assert again == (wait if policy is None or attempt < policy.attempts else None)


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, "5", None, True])
def test_a_time_that_never_comes_cannot_be_asked_for(wrong):
    with pytest.raises(ValueError, match=rf"Retry\.after\({wrong!r}\): expected seconds, zero or more"):
        Retry.after(wrong)


def test_a_time_to_wait_is_told():
    assert str(RetryAfter(2.5)) == "asked to be retried after 2.5 s"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"attempts": 0}, r"Retry\(attempts=0\): expected a whole number, at least 1"),
        ({"attempts": 1.5}, r"Retry\(attempts=1.5\): expected a whole number, at least 1"),
        ({"attempts": math.nan}, r"Retry\(attempts=nan\): expected a whole number, at least 1, or math.inf"),
        ({"attempts": -math.inf}, r"Retry\(attempts=-inf\): expected a whole number, at least 1, or math.inf"),
        ({"waiting": 0.5}, r"Retry\(waiting=0.5\): expected a whole number, at least 0, or math.inf"),
        ({"waiting": math.nan}, r"Retry\(waiting=nan\): expected a whole number, at least 0, or math.inf"),
        ({"first": "1s"}, r"Retry\(first='1s'\): expected a number, at least 0"),
        ({"first": -1}, r"Retry\(first=-1\): expected a number, at least 0"),
        ({"factor": 0.5}, r"Retry\(factor=0.5\): expected a number, at least 1"),
        ({"first": 0, "factor": math.inf}, r"Retry\(factor=inf\): expected a number less than infinity"),
        ({"first": math.inf, "cap": math.inf}, r"Retry\(first=inf\): expected a number less than infinity"),
        ({"first": 60}, r"Retry\(first=60, cap=30.0\): the first wait is over the longest; give cap= too"),
        ({"cap": -0.1}, r"Retry\(cap=-0.1\)"),
        ({"cap": math.nan}, r"Retry\(cap=nan\)"),
        ({"jitter": 1.1}, r"Retry\(jitter=1.1\): expected a share from 0 to 1"),
        ({"waiting": -1}, r"Retry\(waiting=-1\)"),
        ({"attempts": "3"}, r"Retry\(attempts='3'\): expected a whole number"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Retry(**wrong)
