"""The times that end a connection; its table of states is tested with the session."""

from runcast.edge.life import Life, State
from runcast.wire import limits


def test_who_says_no_hello_has_a_shorter_time_than_who_is_silent_later() -> None:
    life = Life(100.0)
    life.heard(100.0 + limits.HELLO_TIMEOUT_S / 2)
    assert life.overdue(100.0 + limits.HELLO_TIMEOUT_S - 0.01) is None
    overdue = life.overdue(100.0 + limits.HELLO_TIMEOUT_S)
    assert overdue is not None
    assert overdue.code == "hello_timeout"
    life.enter(State.RESUMING)
    assert life.overdue(100.0 + limits.HELLO_TIMEOUT_S) is None
    overdue = life.overdue(100.0 + limits.HELLO_TIMEOUT_S / 2 + limits.DEAD_AFTER_S)
    assert overdue is not None
    assert overdue.code == "silent"


def test_a_silent_peer_is_asked_once_in_a_silence() -> None:
    life = Life(0.0)
    asked = [at for at in range(int(limits.DEAD_AFTER_S)) if life.wants_probe(float(at))]
    assert asked == [int(limits.PING_INTERVAL_S)]
    life.heard(30.0)
    assert not life.wants_probe(30.0 + limits.PING_INTERVAL_S - 1)
    assert life.wants_probe(30.0 + limits.PING_INTERVAL_S)


def test_who_was_told_to_go_is_closed_when_the_grace_is_over() -> None:
    life = Life(0.0)
    life.close_at(5.0)
    assert life.overdue(4.9) is None
    overdue = life.overdue(5.0)
    assert overdue is not None
    assert overdue.code == "draining"
