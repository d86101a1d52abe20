"""The states of dependencies: the table, row by row; counts; the worst counts."""

import itertools

import pytest

from runcast.bus.health import TABLE, Dependencies, Dependency, Input, State
from runcast.wire import limits


def say(dependency: Dependency, what: Input, now: float = 1.0) -> None:
    if what is Input.CONNECTED:
        dependency.connected(now)
    elif what is Input.VERIFIED:
        dependency.verified(now)
    elif what is Input.FAILED:
        dependency.failed(now, "it failed")
    else:
        dependency.disconnected(now, "it is gone")


WAYS: dict[State, list[Input]] = {
    State.STARTING: [],
    State.OK: [Input.VERIFIED],
    State.DEGRADED: [Input.VERIFIED, Input.FAILED],
    State.UNAVAILABLE: [Input.VERIFIED, Input.DISCONNECTED],
}


@pytest.mark.parametrize(("state", "what"), list(itertools.product(State, Input)))
def test_every_cell_of_the_table(state: State, what: Input) -> None:
    dependency = Dependency("nats", 0.0)
    for step in WAYS[state]:
        say(dependency, step)
    assert dependency.state is state
    say(dependency, what, 5.0)
    assert dependency.state is TABLE[state][what]
    assert (dependency.reason == "") is (dependency.state is State.OK)
    assert (dependency.since == 5.0) is (dependency.state is not state)


def test_attempts_are_counted_until_it_is_ok_and_recoveries_after_it_was() -> None:
    dependency = Dependency("nats", 0.0)
    for _ in range(3):
        dependency.failed(1.0, "refused")
    assert (dependency.attempts, dependency.recoveries) == (3, 0)
    dependency.verified(2.0)
    assert (dependency.attempts, dependency.recoveries) == (0, 0), "a start is no recovery"
    dependency.disconnected(3.0, "gone")
    dependency.failed(4.0, "still gone")
    dependency.connected(5.0)
    assert (dependency.state, dependency.attempts) == (State.DEGRADED, 2)
    dependency.verified(6.0)
    assert (dependency.attempts, dependency.recoveries) == (0, 1)


def test_counts_and_reasons_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEALTH_COUNT_MAX", 5)
    dependency = Dependency("nats", 0.0)
    for _ in range(9):
        dependency.failed(1.0, "x" * 10_000)
    assert dependency.attempts == 5
    assert len(dependency.reason) == limits.REFUSAL_CHARS_MAX


def test_a_process_is_as_well_as_the_worst_of_what_it_depends_on() -> None:
    health = Dependencies(0.0)
    health.keys.verified(0.0)
    assert (health.state, health.reason) == (State.STARTING, "nats: not reached yet")
    health.nats.verified(1.0)
    health.storage.verified(1.0)
    assert (health.state, health.reason) == (State.OK, "")
    health.storage.failed(2.0, "full")
    assert (health.state, health.reason) == (State.DEGRADED, "storage: full")
    health.nats.disconnected(3.0, "gone")
    assert (health.state, health.reason) == (State.UNAVAILABLE, "nats: gone")
    assert health.report(4.0) == {
        "state": "unavailable",
        "dependencies": {
            "nats": {"state": "unavailable", "reason": "gone", "for_s": 1.0, "attempts": 1, "recoveries": 0},
            "storage": {"state": "degraded", "reason": "full", "for_s": 2.0, "attempts": 1, "recoveries": 0},
            "keys": {"state": "ok", "reason": "", "for_s": 4.0, "attempts": 0, "recoveries": 0},
        },
    }
