"""How long things take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.client.estimates import Estimates, Pace
from runcast.wire import limits_client as limits


def test_nothing_is_known_at_first() -> None:
    assert Estimates().estimate_s("search") is None


def test_a_slow_call_moves_nothing() -> None:
    estimates = Estimates()
    for took_s in (1.0, 1.1, 60.0, 0.9, 1.0):
        estimates.record("search", took_s)
    assert estimates.estimate_s("search") == 1.0
    assert estimates.estimate_s("read") is None


def test_old_calls_are_forgotten() -> None:
    estimates = Estimates()
    for _ in range(limits.ESTIMATE_CALLS_MAX):
        estimates.record("search", 9.0)
    for _ in range(limits.ESTIMATE_CALLS_MAX):
        estimates.record("search", 1.0)
    assert estimates.estimate_s("search") == 1.0


def test_tools_are_bounded_and_the_longest_unused_goes() -> None:
    estimates = Estimates()
    for index in range(limits.ESTIMATE_TOOLS_MAX):
        estimates.record(f"t{index}", 1.0)
    estimates.record("t0", 1.0)
    estimates.record("one more", 1.0)
    assert estimates.estimate_s("t0") == 1.0
    assert estimates.estimate_s("t1") is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_an_estimate_lies_within_what_was_seen(durations: list[float]) -> None:
    estimates = Estimates()
    for took_s in durations:
        estimates.record("search", took_s)
    newest = durations[-limits.ESTIMATE_CALLS_MAX :]
    estimate_s = estimates.estimate_s("search")
    assert estimate_s is not None
    assert min(newest) <= estimate_s <= max(newest)


def test_what_is_left_follows_from_the_pace() -> None:
    pace = Pace(100.0)
    assert pace.remaining_s(100.0, 0.0) is None
    assert pace.remaining_s(110.0, 0.25) == pytest.approx(30.0)
    assert pace.remaining_s(120.0, 0.8) == pytest.approx(5.0)
    assert pace.remaining_s(121.0, 1.0) == 0.0


def test_progress_that_falls_begins_anew() -> None:
    pace = Pace(0.0)
    pace.remaining_s(10.0, 0.9)
    assert pace.remaining_s(20.0, 0.5) is None
    assert pace.remaining_s(30.0, 0.6) == pytest.approx(40.0)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1)), max_size=30))
def test_what_is_left_is_never_negative(steps: list[tuple[float, float]]) -> None:
    pace, now = Pace(0.0), 0.0
    for passed_s, progress in steps:
        now += passed_s
        remaining_s = pace.remaining_s(now, progress)
        assert remaining_s is None or remaining_s >= 0.0
