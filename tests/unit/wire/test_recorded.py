"""Which part of a stream is wanted."""

from runcast.v1.event_pb2 import Event
from runcast.wire.recorded import RecordedBatch, Runs, Span


def batch(*events: tuple[str, str], why: str = "") -> RecordedBatch:
    return RecordedBatch("abcdefgh", 1, 0, [Event(run_id=run, parent_run_id=parent) for run, parent in events], why)


def test_a_run_brings_along_what_it_began() -> None:
    runs = Runs("r")
    shown = [
        runs.of(each)
        for each in (batch(("x", "")), batch(("r", ""), ("x", "")), batch(("c", "r")), batch(("d", "c"), ("y", "x")), batch(("c", "")))
    ]
    assert [[event.run_id for event in each.events] if each else None for each in shown] == [None, ["r"], ["c"], ["d"], ["c"]]
    unreadable = batch(why="no key")
    assert runs.of(unreadable) is unreadable
    assert Runs("").of(shown_all := batch(("x", ""), ("", ""))) is shown_all


def test_a_span_begins_behind_a_position_and_ends_with_one() -> None:
    span = Span(3, 5, 100, 200)
    assert [seq for seq in range(8) if span.holds(seq, 150)] == [4, 5]
    assert [ms for ms in (99, 100, 200, 201) if span.holds(4, ms)] == [100, 200]
    assert (span.over(5, 200), span.over(6, 0), span.over(1, 201)) == (False, True, True)
