"""Counters become rates, a new process is seen, and percentiles are never too low."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.board.rates import NOTHING, add, change, quantile
from runcast.admin.board.told import BUCKETS, Told, read_told
from runcast.bus.histogram import BOUNDS_MS, Histogram


def told(uptime_s: float, sent: int = 0, **more: Any) -> Told:
    return read_told(msgspec.json.encode({"uptime_s": uptime_s, "events_sent": sent, **more}))


@pytest.mark.parametrize(
    ("before", "after", "seconds", "sent", "restarted"),
    [
        (None, told(100.0, 5000), 0.0, 0, False),  # nothing to compare with: no peak of all that ever happened
        (None, told(2.0, 50), 2.0, 50, False),  # it has just begun
        (told(10.0, 100), told(12.0, 140), 2.0, 40, False),
        (told(10.0, 100), told(16.0, 160), 6.0, 60, False),  # two were lost on the way
        (told(2.0, 100), told(2.0, 100), 2.0, 100, True),  # it began anew, and got as far
        (told(90.0, 100), told(2.0, 30), 2.0, 30, True),
        (told(1.0, 100), told(2.0, 30), 2.0, 30, True),  # so quickly that its uptime does not show it
    ],
)
def test_what_happened_between_two_tellings(before: Told | None, after: Told, seconds: float, sent: int, restarted: bool) -> None:
    happened = change(before, after)
    assert (happened.seconds, happened.sent, happened.restarted) == (seconds, sent, restarted)


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=30))
def test_all_that_is_counted_adds_up_whatever_restarts(steps: list[tuple[int, bool]]) -> None:
    before, uptime, count, happened, counted = told(0.0), 0.0, 0, 0, 0
    for events, restarts in steps:
        if restarts:
            uptime = count = 0
        uptime, count, happened = uptime + (1.0 if restarts else 2.0), count + events, happened + events
        after = told(uptime, count)
        counted += change(before, after).sent
        before = after
    assert counted == happened


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=50), st.floats(0, 1))
def test_a_percentile_is_never_too_low_and_one_bucket_too_high_at_most(durations: list[float], share: float) -> None:
    histogram = Histogram()
    for each in durations:
        histogram.add(each)
    found = quantile(histogram.counts, share, histogram.max_ms)
    assert found is not None
    exceed = sum(each > found for each in durations)
    assert exceed <= len(durations) * (1 - share)
    if found > BOUNDS_MS[0] and found in BOUNDS_MS:
        below = BOUNDS_MS[BOUNDS_MS.index(int(found)) - 1]
        assert any(each > below for each in durations)


def test_histograms_add_up() -> None:
    assert add([]) == NOTHING
    assert add([(1,) * BUCKETS, (2,) * BUCKETS]) == (3,) * BUCKETS
    assert quantile(NOTHING, 0.5, 9.0) is None
    assert quantile([0] * (BUCKETS - 1) + [1], 0.5, 77_000.0) == 77_000.0


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"uptime_s":"x"}', b'{"to_send":{"counts":"x"}}'])
def test_what_is_no_statistics_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        read_told(text)


def test_other_versions_tell_more_or_less() -> None:
    assert len(told(1.0, to_send={"counts": [1] * 99}, other={"a": [1]}).to_send.counts) == BUCKETS
    assert told(1.0).to_send.counts == [0] * BUCKETS
