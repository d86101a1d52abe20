"""Histograms: constant memory, and quantiles that are never too low."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.histogram import BOUNDS_MS, Histogram


def test_an_empty_one_says_nothing() -> None:
    assert (Histogram().quantile(0.99), Histogram().count) == (0.0, 0)


@given(st.lists(st.floats(-5, 100_000), min_size=1, max_size=50), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_a_quantile_is_at_most_one_bucket_too_high(times: list[float], share: float) -> None:
    histogram = Histogram()
    for ms in times:
        histogram.add(ms)
    ordered = sorted(max(ms, 0.0) for ms in times)
    exact = next(ms for rank, ms in enumerate(ordered, 1) if rank >= share * len(ordered))
    told = histogram.quantile(share)
    assert exact <= told <= next((bound for bound in BOUNDS_MS if bound >= exact), max(ordered))
    assert (histogram.count, sum(histogram.counts)) == (len(times), len(times))
    assert histogram.sum_ms == pytest.approx(sum(ordered))


def test_many_of_one_length_are_added_at_once() -> None:
    histogram = Histogram()
    histogram.add(7.0, 5)
    assert (histogram.count, histogram.sum_ms, histogram.counts[BOUNDS_MS.index(10)]) == (5, 35.0, 5)
    assert histogram.as_json()["p99_ms"] == 7.0
