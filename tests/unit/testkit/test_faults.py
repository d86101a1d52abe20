"""The schedule of a trial's faults: a pure function of the seed that keeps its rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.testkit.faults import FIRST_S, KINDS, LAST_S, NATS_REST_S, Fault, schedule

NODES = {"edges": 3, "routers": 2, "nats": 3, "agents": 3}


def victim(fault: Fault) -> str:
    return "nats" if fault.target == "leader" or fault.target.startswith("nats") else fault.target


@given(st.integers(0, 2**32), st.floats(5, 120), st.sets(st.sampled_from(KINDS)))
def test_rules(seed: int, duration_s: float, kinds: set[str]) -> None:
    faults = schedule(seed, duration_s, sorted(kinds), **NODES)
    assert faults == schedule(seed, duration_s, sorted(kinds), **NODES)
    assert {fault.kind for fault in faults} <= kinds
    assert list(faults) == sorted(faults)
    free: dict[str, float] = {}
    for fault in faults:
        assert fault.at_s >= FIRST_S
        assert fault.at_s + fault.lasts_s <= duration_s - LAST_S + 0.002
        assert fault.at_s >= free.get(victim(fault), 0.0)
        free[victim(fault)] = fault.at_s + fault.lasts_s + (NATS_REST_S - 0.01 if victim(fault) == "nats" else 0.0)
        if fault.what == "drop_live":
            assert fault.target.startswith("edge")


def test_a_minute_has_every_kind_and_another_seed_is_another_schedule() -> None:
    for seed in range(20):
        assert {fault.kind for fault in schedule(seed, 60.0, KINDS, **NODES)} == set(KINDS)
    assert schedule(1, 60.0, KINDS, **NODES) != schedule(2, 60.0, KINDS, **NODES)


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"no fault fire; there are edge, router"):
        schedule(1, 60.0, ["edge", "fire"], **NODES)
