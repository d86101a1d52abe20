"""When batches are due: scaled, capped, in order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.replay.pace import due_at


@pytest.mark.parametrize(
    ("stored_ms", "speed", "gap_max_s", "due"),
    [
        ([], 1.0, 3.0, []),
        ([5], 1.0, 3.0, [0.0]),
        ([1000, 2000, 2500], 1.0, 3.0, [0.0, 1.0, 1.5]),
        ([1000, 2000, 2500], 10.0, 3.0, [0.0, 0.1, 0.15]),
        ([0, 60_000, 61_000], 1.0, 3.0, [0.0, 3.0, 4.0]),
        ([0, 60_000, 61_000], 60.0, 0.5, [0.0, 0.5, 0.5 + 1 / 60]),
        ([0, 9_000], float("inf"), 3.0, [0.0, 0.0]),
        ([2000, 1000, 3000], 1.0, 9.0, [0.0, 0.0, 1.0]),
    ],
)
def test_waits(stored_ms: list[int], speed: float, gap_max_s: float, due: list[float]) -> None:
    assert due_at(stored_ms, speed, gap_max_s) == pytest.approx(due)


@given(st.lists(st.integers(0, 10**13), max_size=20), st.floats(0.01, 10_000), st.floats(0, 60))
def test_order_and_the_longest_wait_are_kept(stored_ms: list[int], speed: float, gap_max_s: float) -> None:
    due = due_at(stored_ms, speed, gap_max_s)
    assert len(due) == len(stored_ms)
    assert all(0 <= later - earlier <= gap_max_s + 1e-6 for earlier, later in pairwise(due))
