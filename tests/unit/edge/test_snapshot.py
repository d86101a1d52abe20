"""A snapshot brings a reader to where the stream would have: open runs exactly, ended ones to their outcome."""

from typing import Any

from hypothesis import given

from runcast.edge.entry import Entry
from runcast.edge.snapshot import Fold, Snapshot
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.runstate import Run, reduce_events
from tests.unit.edge.streams import assert_ranges, events_of, streams


def pieces(snapshot: Snapshot) -> list[list[Event]]:
    taken = []
    while not snapshot.empty:
        taken.append(snapshot.take())
    return taken


def folded(events: list[Event], bytes_max: int = limits.SNAPSHOT_BYTES_MAX) -> Snapshot:
    fold = Fold(bytes_max)
    for event in events:
        fold.add(event)
    assert not fold.too_large
    return fold.finish()


def outcome(entry: dict[str, Any]) -> dict[str, Any]:
    """Of a run's state what a snapshot keeps."""
    if entry["type"] == "user" or entry["status"] in ("running", "waiting"):
        return entry
    messages = entry["messages"]
    fatal = [error for error in entry["errors"] if error["severity"] == "fatal"]
    return {
        **entry,
        "tools": [],
        "requests": [],
        "errors": fatal,
        "items": [item for item in entry["items"] if item in messages or item in fatal],
    }


@given(streams())
def test_the_state_is_that_of_the_stream(entries: list[Entry]) -> None:
    raw = events_of(entries)
    expected = reduce_events(raw)
    snapshot = folded(raw)
    assert [(run.run_id, run.attempt, run.seq, run.title) for run in snapshot.runs] == [
        (run.id, run.attempt, run.seq, run.title) for run in expected.timeline if isinstance(run, Run) and not run.ended
    ]
    given_events = [event for piece in pieces(snapshot) for event in piece]
    assert reduce_events(given_events).state() == [outcome(entry) for entry in expected.state()]
    newest = {(run.id, run.attempt) for run in expected.timeline if isinstance(run, Run)}
    assert {(event.run_id, event.attempt) for event in given_events if event.run_id} == newest
    assert_ranges(given_events, raw)


@given(streams(), streams())
def test_folding_often_and_folding_late_give_the_same(first: list[Entry], second: list[Entry]) -> None:
    raw = [*events_of(first), *events_of(second)]
    whole = [event for piece in pieces(folded(raw)) for event in piece]
    fold = Fold()
    for event in raw:
        fold.add(event)
        fold._count()
    assert [event for piece in pieces(fold.finish()) for event in piece] == whole


def run_events(run: str, deltas: int, text: str = "x", *, thoughts: bool = False) -> list[Event]:
    events = [Event(id=f"{run}.1.1", run_id=run, attempt=1, seq=1, agent_started=pb.AgentStarted(title="t"))]
    for seq in range(2, deltas + 2):
        event = Event(id=f"{run}.1.{seq}", run_id=run, attempt=1, seq=seq)
        if thoughts:
            event.agent_thinking.text = text
        else:
            event.agent_response.CopyFrom(pb.AgentResponse(message_id="m", text=text, mode=pb.TEXT_MODE_DELTA))
        events.append(event)
    return events


def test_what_is_held_does_not_grow_with_what_is_superseded() -> None:
    fold = Fold(100_000)
    for event in [*run_events("a", 20_000), *run_events("b", 20_000, thoughts=True)]:
        fold.add(event)
        assert not fold.too_large
    assert fold.size < 130_000
    (piece,) = pieces(fold.finish())
    assert [(event.first_seq or event.seq, event.seq) for event in piece] == [(1, 1), (2, 20_001), (1, 1), (2, 20_001)]
    assert piece[1].agent_response.text == "x" * 20_000


def test_past_its_bound_there_is_no_snapshot_and_nothing_is_held() -> None:
    fold = Fold(100_000)
    for event in run_events("a", 3_000, "x" * 100):
        fold.add(event)
    assert fold.too_large
    assert fold.size == 0
    assert fold.finish().empty


def test_pieces_are_bounded() -> None:
    events = [event for number in range(400) for event in run_events(f"r{number}", 3, "x" * 500)]
    sizes = [(len(piece), sum(event.ByteSize() for event in piece)) for piece in pieces(folded(events))]
    assert all(count <= limits.MERGED_EVENTS_MAX for count, _ in sizes)
    assert all(size < limits.MERGED_BYTES_MAX + limits.EVENT_BYTES_MAX for _, size in sizes)
    assert len(sizes) > 4


def test_an_empty_stream_has_an_empty_snapshot() -> None:
    assert folded([]).empty
