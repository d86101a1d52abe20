"""The checker and what the edge really makes of a stream: merged frames and snapshots are clean, and are not with anything amiss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.conflate import merge
from runcast.edge.entry import Entry
from runcast.edge.snapshot import Fold
from runcast.testkit.checker import check
from runcast.testkit.history import Framed, Opened, Planned, Sent, delta_text
from runcast.testkit.sightings import seen
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire.position import SNAPSHOT_EPOCH
from tests.unit.testkit.stories import Story, pos

Log = tuple[dict[tuple[str, int], list[str]], list[Entry]]
"""Plans by attempt, and what is stored."""
EPOCH, WORDS = "aaaaaaaa", 2
ENDS = {"agent_completed": pb.AgentCompleted, "run_cancelled": pb.RunCancelled, "run_lost": pb.RunLost}


def an_event(run: str, attempt: int, seq: int, kind: str) -> Event:
    event = Event(id=f"{run}.{attempt}.{seq}", run_id=run, attempt=attempt, seq=seq, agent="agent", time_unix_ms=1000)
    if kind == "agent_response":
        event.agent_response.CopyFrom(pb.AgentResponse(message_id="m", text=delta_text(seq, WORDS), mode=pb.TEXT_MODE_DELTA))
    elif kind == "agent_thinking":
        event.agent_thinking.text = f"thought {seq}"
    else:
        getattr(event, kind).SetInParent()
    return event


@st.composite
def lanes(draw: st.DrawFn, run: str) -> tuple[list[list[str]], list[Event]]:
    """One run: the plans of its attempts, and its events; only the last attempt may have an end, and need not."""
    plans: list[list[str]] = []
    events: list[Event] = []
    attempts = draw(st.integers(1, 2))
    for attempt in range(1, attempts + 1):
        kinds = ["agent_started"]
        for step in draw(st.lists(st.sampled_from("dddttTc"), max_size=12)):
            kinds += {"d": ["agent_response"], "t": ["agent_thinking"], "T": ["tool_executing", "tool_completed"], "c": ["custom"]}[step]
        emitted = list(kinds)
        if attempt == attempts and draw(st.booleans()):
            emitted.append(draw(st.sampled_from(sorted(ENDS))))
        plans.append([*kinds, "agent_response", "agent_completed"])  # the library's last delta has no text; it never came to it
        events += [an_event(run, attempt, seq, kind) for seq, kind in enumerate(emitted, 1)]
    return plans, events


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Plans by attempt, and a log of up to three runs and some user messages, in batches."""
    plans: dict[tuple[str, int], list[str]] = {}
    waiting: list[list[Event]] = []
    for number in range(draw(st.integers(1, 3))):
        made, events = draw(lanes(f"r{number}"))
        plans |= {(f"r{number}", attempt): kinds for attempt, kinds in enumerate(made, 1)}
        waiting.append(events)
    waiting.append([Event(id=f"m{n}", user_message=pb.UserMessage(text="?"), time_unix_ms=1000) for n in range(draw(st.integers(0, 2)))])
    entries: list[Entry] = []
    seq = 0
    while waiting := [events for events in waiting if events]:
        events = draw(st.sampled_from(waiting))
        batch = [event for event in events[: draw(st.integers(1, 5))] if event.attempt == events[0].attempt]
        del events[: len(batch)]
        prev, seq = seq, seq + draw(st.integers(1, 2))
        entries.append(Entry(EPOCH, prev, seq, pb.Batch(events=batch).SerializeToString()))
    return plans, entries


def watched(plans: dict[tuple[str, int], list[str]], entries: list[Entry]) -> Story:
    """A story of three devices: one is given the stream as it is, one merged frames, one a snapshot."""
    story = Story()
    for (run, attempt), kinds in plans.items():
        story.add(Planned, "u", run, attempt, "", kinds, WORDS)
    for entry in entries:
        for event in entry.events:
            if not event.run_id:
                story.records.append(Sent(t=0.0, id=event.id, user="u", device="raw"))
    tip = entries[-1].seq
    for device in ("raw", "merged"):
        story.open("u", device, 0, tip)
    for entry in entries:
        _frame(story, "raw", pos(entry.prev), pos(entry.seq), entry.events)
    for frame in merge(entries):
        _frame(story, "merged", pos(frame.covered[0].prev), pos(frame.covered[-1].seq), frame.events)
    fold = Fold()
    for entry in entries:
        for event in entry.events:
            fold.add(event)
    snapshot = fold.finish()
    runs = [(run.run_id, run.attempt, run.seq) for run in snapshot.runs]
    story.add(Opened, "u", "folded", "e", "", "snapshot", pos(0, SNAPSHOT_EPOCH), pos(tip), wants=True, runs=runs)
    events = snapshot.take()
    half = len(events) // 2
    _frame(story, "folded", pos(0, SNAPSHOT_EPOCH), pos(1, SNAPSHOT_EPOCH), events[:half])
    _frame(story, "folded", pos(1, SNAPSHOT_EPOCH), pos(tip), events[half:])
    assert snapshot.empty
    story.settle(("u", "raw"), ("u", "merged"), ("u", "folded"))
    return story


def _frame(story: Story, device: str, prev: str, upto: str, events: list[Event]) -> None:
    story.add(Framed, "u", device, prev, upto, [seen(event) for event in events], 1005)


def anomalies(story: Story) -> dict[str, list[str]]:
    """What is found; that a run of the story is not over, does not count."""
    found = dict(check(story.records).examples)
    found.pop("frozen_runs", None)
    return found


@given(logs())
def test_what_the_edge_makes_of_a_stream_is_clean(log: Log) -> None:
    story = watched(*log)
    assert anomalies(story) == {}


@pytest.mark.parametrize("device", ["merged", "folded"])
@given(log=logs(), data=st.data())
def test_an_event_that_is_missing_is_missed(device: str, log: Log, data: st.DataObject) -> None:
    story = watched(*log)
    frames = [record for record in story.records if isinstance(record, Framed) and record.device == device and record.events]
    frame = data.draw(st.sampled_from(frames))
    del frame.events[data.draw(st.integers(0, len(frame.events) - 1))]
    assert anomalies(story), "nothing was found"


@pytest.mark.parametrize("device", ["merged", "folded"])
@given(log=logs(), data=st.data())
def test_a_text_that_is_not_whole_is_noticed(device: str, log: Log, data: st.DataObject) -> None:
    story = watched(*log)
    frames = [record for record in story.records if isinstance(record, Framed) and record.device == device]
    texts = [event for frame in frames for event in frame.events if event.kind == "agent_response"]
    if not texts:
        return
    data.draw(st.sampled_from(texts)).digest ^= 1
    assert "altered" in anomalies(story)


@given(log=logs(), data=st.data())
def test_a_summary_that_is_wrong_is_noticed(log: Log, data: st.DataObject) -> None:
    story = watched(*log)
    opened = next(record for record in story.records if isinstance(record, Opened) and record.outcome == "snapshot")
    if not opened.runs:
        return
    at = data.draw(st.integers(0, len(opened.runs) - 1))
    run, attempt, seq = opened.runs[at]
    match data.draw(st.sampled_from(["left out", "attempt", "seq"])):
        case "left out":
            del opened.runs[at]
        case "attempt":
            opened.runs[at] = (run, attempt + 1, seq)
        case "seq":
            opened.runs[at] = (run, attempt, seq + data.draw(st.sampled_from([-1, 1])))
    assert "false_snapshots" in anomalies(story)
