"""What the errors of the client tell."""

from runcast.client.errors import Leftover, UnsentError
from tests.unit.client.events import custom, fatal, key
from tests.unit.client.outbox_model import delta


def test_what_could_not_be_sent_is_told_by_run_and_kind() -> None:
    left = Leftover(key("r1"), (delta("a"),), (delta("b"), delta("c"), fatal()))
    error = UnsentError([left], "after 5 s (waiting, router h:1: no router can be reached)")
    assert str(error) == (
        "indeterminate: closed after 5 s (waiting, router h:1: no router can be reached) with 3 events never sent, 1 were sent and not "
        "answered (they may be stored), of 1 runs: run 'r1' attempt 1 of user 'alice' (3 agent_response, agent_error). All are in "
        "`leftovers`: emit them again in the next attempt of their runs, or give `close` more time"
    )


def test_many_runs_are_counted_and_what_was_never_sent_is_certain() -> None:
    error = UnsentError([Leftover(key(f"r{number}"), (), (custom("1"),)) for number in range(5)], "after 1 s (connecting, router h:1)")
    assert error.code.name == "unavailable"
    assert "run 'r2' attempt 1" in str(error)
    assert "run 'r3'" not in str(error)
    assert "; and 2 runs more." in str(error)
    assert len(error.leftovers) == 5
