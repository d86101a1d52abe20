"""The schedule of a trial's faults: a pure function of the seed that keeps its rules."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.testkit.faults import FIRST_S, KINDS, LAST_S, NATS_REST_S, Fault, schedule, ways

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
        role = fault.target.partition("-")[0]
        if fault.what in ("kill", "stop") and role in ("edge", "router", "agent"):
            count = NODES[f"{role}s"]
            assert any(free.get(f"{role}-{n}", 0.0) <= fault.at_s for n in range(count) if f"{role}-{n}" != fault.target)
        if fault.what == "drop_live":
            assert fault.target.startswith("edge")
        if fault.kind == "drain":
            apart = [other for other in faults if other is not fault]
            assert all(other.at_s + other.lasts_s < fault.at_s or other.at_s >= fault.at_s + fault.lasts_s for other in apart)
    if "drain" in kinds and faults and duration_s > 10:
        assert faults[0].kind == "drain"


def test_a_minute_has_every_kind_and_another_seed_is_another_schedule() -> None:
    for seed in range(20):
        assert {fault.kind for fault in schedule(seed, 60.0, KINDS, **NODES)} == set(KINDS)
    assert schedule(1, 60.0, KINDS, **NODES) != schedule(2, 60.0, KINDS, **NODES)


def test_ten_minutes_have_every_way_of_every_kind() -> None:
    roles = {name.rstrip("s"): count for name, count in NODES.items() if name != "nats"} | {"nats": NODES["nats"]}
    missing = {(kind, *way) for kind in KINDS for way in ways(kind, roles)}
    for seed in range(1, 11):
        for fault in schedule(seed, 60.0, KINDS, **NODES):
            where = fault.target if fault.kind == "drain" else re.sub(r"-\d+", "", fault.target)
            missing.discard((fault.kind, where, fault.what))
    assert not missing


def test_drains_alone_are_a_rolling_restart() -> None:
    faults = schedule(1, 60.0, ["drain"], **NODES)
    assert {fault.target for fault in faults} == {"edge-0", "edge-1", "edge-2", "router-0", "router-1"}
    assert not schedule(1, 60.0, ["drain"], edges=1, routers=1, nats=1, agents=1), "nobody could go anywhere"


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"no fault fire; there are edge, router"):
        schedule(1, 60.0, ["edge", "fire"], **NODES)
