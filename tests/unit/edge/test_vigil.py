"""The vigil over what is critical: one alert a run, none for what any device acknowledged, bounded."""

from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.vigil import Vigil

AFTER_S = 10.0


def watch(vigil: Vigil, seq: int, now: float, run: str = "r") -> None:
    vigil.watch(seq, run, f"{run}.1.{seq}", "agent_completed", now)


def test_what_nobody_acknowledges_is_alerted_once_a_run() -> None:
    vigil = Vigil(after_s=AFTER_S)
    for seq in (1, 2, 3):
        watch(vigil, seq, 100.0 + seq)
    watch(vigil, 4, 104.0, "s")
    assert not vigil.overdue(110.9)
    assert vigil.overdue(111.0)
    assert [(late.seq, late.run_id) for late in vigil.alerts(111.0)] == [(1, "r")]
    assert not vigil.overdue(113.9)
    watch(vigil, 5, 114.0)
    assert [(late.seq, late.run_id) for late in vigil.alerts(130.0)] == [(4, "s")]
    assert not vigil.overdue(1000.0)


def test_an_acknowledgement_by_any_device_ends_it() -> None:
    vigil = Vigil(after_s=AFTER_S)
    watch(vigil, 1, 0.0)
    watch(vigil, 2, 0.0, "s")
    vigil.acked(0, 1)
    assert [late.seq for late in vigil.alerts(20.0)] == [2]


def test_a_device_that_skipped_it_acknowledges_nothing_of_it() -> None:
    vigil = Vigil(after_s=AFTER_S)
    watch(vigil, 5, 0.0)
    vigil.acked(5, 9)
    assert vigil.overdue(10.0)
    vigil.acked(0, 5)
    assert not vigil.overdue(10.0)


def test_history_that_was_acknowledged_before_is_not_watched() -> None:
    vigil = Vigil(after_s=AFTER_S)
    vigil.acked(0, 5)
    for seq in (3, 5):
        watch(vigil, seq, 0.0)
    assert len(vigil) == 0
    watch(vigil, 6, 0.0)
    assert len(vigil) == 1


def test_a_full_vigil_watches_no_more() -> None:
    vigil = Vigil(after_s=AFTER_S, events_max=3)
    for seq in range(1, 9):
        watch(vigil, seq, 0.0, f"r{seq}")
    assert [late.seq for late in vigil.alerts(10.0)] == [1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from("rst")), max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8),
)
def test_what_is_alerted_is_what_no_device_has(batches: list[tuple[int, str]], acks: list[tuple[int, int]]) -> None:
    vigil = Vigil(after_s=AFTER_S)
    runs: dict[int, str] = {}
    for seq, run in batches:
        runs.setdefault(seq, run)
        watch(vigil, seq, 0.0, runs[seq])
    for since, until in acks:
        vigil.acked(since, max(since, until))
    had = {seq for since, until in acks for seq in range(since + 1, until + 1)}
    assert {late.run_id for late in vigil.alerts(AFTER_S)} == {run for seq, run in runs.items() if seq not in had}
