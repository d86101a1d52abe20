"""So much at once, so often from then on, and never more."""

from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.allowance import Allowance, Allowances


def test_a_burst_and_then_one_at_a_time() -> None:
    allowance = Allowance(3, 10.0, 100.0)
    assert [allowance.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.beyond == 2
    assert allowance.wait_s(100.0) == 10.0
    assert not allowance.take(109.9)
    assert allowance.take(110.0)
    assert allowance.wait_s(115.0) == 5.0
    assert [allowance.take(1000.0) for _ in range(4)] == [True, True, True, False]  # never more than the burst
    assert not allowance.take(500.0)  # a clock that goes back gives nothing


@given(st.lists(st.floats(0, 30), max_size=100), st.integers(1, 5), st.floats(0.5, 10))
def test_in_no_time_more_than_burst_and_rate(gaps: list[float], burst: int, every_s: float) -> None:
    allowance, now, taken = Allowance(burst, every_s, 0.0), 0.0, []
    for gap in gaps:
        now += gap
        if allowance.take(now):
            taken.append(now)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - begin) / every_s + 1e-6


def test_each_has_its_own_and_the_longest_unused_is_forgotten() -> None:
    each = Allowances(1, 10.0, 2)
    assert each.of("a", 0.0).take(0.0)
    assert each.of("b", 0.0).take(0.0)
    assert not each.of("a", 1.0).take(1.0)
    assert each.of("c", 1.0).take(1.0)  # "b" is forgotten
    assert not each.of("a", 1.0).take(1.0)
    assert each.of("b", 1.0).take(1.0)
