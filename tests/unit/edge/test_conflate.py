"""Merging changes nothing of what a reader ends with, however the stream is cut."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.conflate import merge
from runcast.edge.entry import Entry
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Batch, Event
from runcast.wire import limits
from runcast.wire.lifecycle import is_critical
from runcast.wire.runstate import reduce_events
from tests.unit.edge.streams import EPOCH, assert_ranges, events_of, streams


def merged(entries: list[Entry]) -> list[Event]:
    return [event for frame in merge(entries) for event in frame.events]


@given(streams(), st.lists(st.integers(1, 40), max_size=8))
def test_the_end_state_is_that_of_the_raw_stream(entries: list[Entry], cuts: list[int]) -> None:
    raw = events_of(entries)
    before = copy.deepcopy(raw)
    given_events: list[Event] = []
    rest = entries
    for size in [*cuts, len(entries)]:
        given_events += merged(rest[:size])
        rest = rest[size:]
    assert raw == before, "an event that others share was changed"
    assert reduce_events(given_events).state() == reduce_events(raw).state()
    assert [event for event in given_events if is_critical(event)] == [event for event in raw if is_critical(event)]
    assert_ranges(given_events, raw)
    assert {(e.run_id, e.attempt) for e in given_events} == {(e.run_id, e.attempt) for e in raw}


def entry(seq: int, *events: Event) -> Entry:
    return Entry(EPOCH, seq - 1, seq, Batch(events=events).SerializeToString())


def text(seq: int, text: str, *, message: str = "m", run: str = "r", mode: int = pb.TEXT_MODE_DELTA) -> Event:
    response = pb.AgentResponse(message_id=message, text=text, mode=mode)  # type: ignore[arg-type]
    return Event(id=f"{run}.1.{seq}", run_id=run, attempt=1, seq=seq, agent_response=response)


def thought(seq: int, run: str = "r") -> Event:
    return Event(id=f"{run}.1.{seq}", run_id=run, attempt=1, seq=seq, agent_thinking=pb.AgentThinking(text=str(seq)))


def tool(seq: int, run: str = "r") -> Event:
    return Event(id=f"{run}.1.{seq}", run_id=run, attempt=1, seq=seq, tool_executing=pb.ToolExecuting(tool_call_id=str(seq)))


def said(event: Event) -> str:
    return event.agent_response.text or event.agent_thinking.text or event.tool_executing.tool_call_id


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([text(1, "a"), text(2, "b"), text(3, "c")], [("abc", 1, 3)]),
        ([text(1, "a"), text(2, "b", mode=pb.TEXT_MODE_WHOLE), text(3, "c")], [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]),
        ([text(1, "a"), text(2, "b", message="n"), text(3, "c")], [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]),
        ([thought(1), thought(2), thought(3)], [("3", 1, 3)]),
        ([thought(1), text(2, "a"), thought(3), text(4, "b")], [("a", 1, 2), ("3", 3, 3), ("b", 4, 4)]),
        ([text(1, "a"), thought(2), text(3, "b"), thought(4)], [("ab", 1, 3), ("4", 4, 4)]),
        ([text(1, "a"), tool(2), text(3, "b")], [("a", 1, 1), ("2", 2, 2), ("b", 3, 3)]),
        ([thought(1), tool(2), thought(3)], [("1", 1, 1), ("2", 2, 2), ("3", 3, 3)]),
        ([text(5, "a"), text(6, "b"), text(5, "a"), text(6, "b"), text(7, "c")], [("ab", 5, 6), ("a", 5, 5), ("b", 6, 6), ("c", 7, 7)]),
        ([text(1, "a"), text(3, "b")], [("a", 1, 1), ("b", 3, 3)]),
        ([text(1, "a"), text(1, "x", run="s"), tool(2, "s"), text(2, "b")], [("ab", 1, 2), ("x", 1, 1), ("2", 2, 2)]),
    ],
)
def test_what_merges_and_what_does_not(events: list[Event], expected: list[tuple[str, int, int]]) -> None:
    got = merged([entry(number, event) for number, event in enumerate(events, 1)])
    assert [(said(event), event.first_seq or event.seq, event.seq) for event in got] == expected
    assert all(event.id == f"{event.run_id}.1.{event.seq}" for event in got)


def test_frames_cover_all_entries_and_are_bounded() -> None:
    entries = [entry(number, tool(number)) for number in range(1, 701)]
    frames = list(merge(entries))
    assert [frame.covered[-1].seq for frame in frames] == [256, 512, 700]
    assert all(len(frame.events) <= limits.MERGED_EVENTS_MAX for frame in frames)
    large = [entry(number, text(number, "x" * 40_000)) for number in range(1, 11)]
    assert [frame.covered[-1].seq for frame in merge(large)] == [2, 4, 6, 8, 10]


def test_a_merged_event_is_no_larger_than_any_may_be() -> None:
    entries = [entry(1, *(text(seq, "x" * 100_000) for seq in range(1, 9)))]
    got = merged(entries)
    assert [event.seq for event in got] == [2, 4, 6, 8]
    assert all(event.ByteSize() <= limits.EVENT_BYTES_MAX for event in got)


def test_what_is_alone_goes_out_as_it_is() -> None:
    alone = entry(1, tool(1))
    (frame,) = merge([alone])
    assert frame.covered == [alone]
    assert frame.events[0] is alone.events[0]
    nothing = Entry(EPOCH, 1, 2, b"\xff")
    (frame,) = merge([alone, nothing])
    assert ([entry.seq for entry in frame.covered], [event.seq for event in frame.events]) == ([1, 2], [1])


def test_it_is_lazy() -> None:
    entries = [entry(number, *(tool(number * 200 + n) for n in range(200))) for number in range(1, 10)]
    next(merge(entries))
    assert entries[5]._events is None
