"""`Counts` and `Latency`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Counts, Latency


def test_counts_start_at_nothing():
    assert not any(getattr(Counts(), name) for name in Counts.__slots__)


def test_there_are_no_percentiles_of_fewer_than_two_samples():
    latency = Latency()
    assert latency.percentiles() is None
    latency.add(1.0)
    assert latency.percentiles() is None


def test_percentiles_are_those_of_all_that_is_kept():
    latency = Latency()
    for at in range(101):
        latency.add(at / 100)
    assert latency.percentiles() == pytest.approx((0.5, 0.99))


def test_only_the_last_samples_are_kept():
    latency = Latency()
    for at in range(10_000):
        latency.add(float(at))
    assert len(latency.samples) == 4096
    assert latency.samples[0] == 10_000 - 4096


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=200))
def test_percentiles_lie_among_the_samples_and_in_order(samples):
    latency = Latency()
    for sample in samples:
        latency.add(sample)
    percentiles = latency.percentiles()
    assert percentiles is not None
    median, most = percentiles
    assert min(samples) - 1e-6 <= median <= most + 1e-6
    assert most <= max(samples) * (1 + 1e-9) + 1e-6


def test_percentiles_that_were_told_before_are_told_anew_when_there_is_more():
    latency = Latency()
    latency.add(1.0)
    latency.add(1.0)
    assert latency.percentiles() == latency.percentiles() == (1.0, 1.0)
    latency.add(3.0)
    latency.add(3.0)
    assert (latency.percentiles() or (0, 0))[0] == 2.0
