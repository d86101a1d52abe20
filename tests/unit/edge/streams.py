"""Strategies for streams of a user: several runs interleaved, cut into batches; and how they are told apart when merged."""

from hypothesis import strategies as st

from runcast.edge.entry import Entry
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Batch, Event

EPOCH = "abcdefgh"

_MODES = st.sampled_from([pb.TEXT_MODE_DELTA] * 8 + [pb.TEXT_MODE_WHOLE, pb.TEXT_MODE_UNSPECIFIED])
_TEXTS = st.sampled_from(["a", "bc", "", "日本 ", "\n"])
_ENDS = st.sampled_from(["agent_completed", "run_cancelled", "run_lost", "fatal"])


@st.composite
def attempts(draw: st.DrawFn, run_id: str, attempt: int) -> list[Event]:
    """One attempt, perhaps begun before the stream, perhaps without an end; valid."""
    events: list[Event] = []
    joined = draw(st.booleans()) and attempt == 1
    seq = draw(st.integers(2, 90)) if joined else 1
    tools: list[str] = []

    def emit(**kind: object) -> None:
        nonlocal seq
        event = Event(
            id=f"{run_id}.{attempt}.{seq}", run_id=run_id, attempt=attempt, seq=seq, agent="a", thread="t", time_unix_ms=1000 + seq, **kind
        )
        events.append(event)
        seq += 1

    if not joined:
        emit(agent_started=pb.AgentStarted(title=f"{run_id} {attempt}"))
    for step in draw(st.lists(st.sampled_from("dddddddttttTTEiIcu"), max_size=40)):
        if step == "d":
            message = draw(st.sampled_from(["m1", "m1", "m1", "m2"]))
            emit(
                agent_response=pb.AgentResponse(
                    message_id=message, text=draw(_TEXTS), mode=draw(_MODES), final=draw(st.integers(0, 9)) == 0
                )
            )
        elif step == "t":
            emit(agent_thinking=pb.AgentThinking(text=f"thought {seq}", step=seq))
        elif step == "T" and tools:
            emit(tool_completed=pb.ToolCompleted(tool_call_id=tools.pop(), tool="x", status=pb.TOOL_STATUS_OK, result_json=b"[1]"))
        elif step == "T":
            tools.append(f"c{seq}")
            emit(tool_executing=pb.ToolExecuting(tool_call_id=tools[-1], tool="x", args_json=b'{"a":1}'))
        elif step == "E":
            emit(agent_error=pb.AgentError(severity=pb.SEVERITY_RECOVERABLE, message="again", retrying=True))
        elif step == "i":
            emit(input_requested=pb.InputRequested(request_id=f"q{seq}", type=pb.INPUT_TYPE_APPROVAL, prompt="?"))
        elif step == "I":
            asked = draw(st.integers(1, seq))
            outcome = draw(st.sampled_from([pb.INPUT_OUTCOME_ANSWERED, pb.INPUT_OUTCOME_WITHDRAWN]))
            emit(input_resolved=pb.InputResolved(request_id=f"q{asked}", outcome=outcome, value_json=b"true", device="d"))
        elif step == "c":
            emit(custom=pb.Custom(name="own", data_json=b"true"))
        else:
            emit()  # of a kind that is not known here
    if draw(st.booleans()):
        end = draw(_ENDS)
        if end == "fatal":
            emit(agent_error=pb.AgentError(severity=pb.SEVERITY_FATAL, message="no"))
        elif end == "agent_completed":
            emit(agent_completed=pb.AgentCompleted(summary="done"))
        elif end == "run_cancelled":
            emit(run_cancelled=pb.RunCancelled(reason="r"))
        else:
            emit(run_lost=pb.RunLost(reason="r"))
    return events


@st.composite
def streams(draw: st.DrawFn) -> list[Entry]:
    """Entries of up to four runs and what the user said, arbitrarily interleaved, in batches of one attempt each."""
    lanes: list[list[Event]] = []
    for number in range(draw(st.integers(1, 4))):
        lane: list[Event] = []
        for attempt in range(1, draw(st.integers(1, 2)) + 1):
            lane += draw(attempts(f"r{number}", attempt))
        lanes.append(lane)
    lanes.append([Event(id=f"u{n}", user_message=pb.UserMessage(text=f"say {n}"), time_unix_ms=n) for n in range(draw(st.integers(0, 4)))])
    entries: list[Entry] = []
    seq = 0
    while lanes := [lane for lane in lanes if lane]:
        lane = draw(st.sampled_from(lanes))
        size = draw(st.integers(1, 6))
        batch = [event for event in lane[:size] if event.attempt == lane[0].attempt]
        del lane[: len(batch)]
        prev, seq = seq, seq + draw(st.integers(1, 3))
        entries.append(Entry(EPOCH, prev, seq, Batch(events=batch).SerializeToString()))
    return entries


def events_of(entries: list[Entry]) -> list[Event]:
    return [event for entry in entries for event in entry.events]


def assert_ranges(given: list[Event], raw: list[Event]) -> None:
    """Every seq of every attempt that came in is in exactly one range, and the ranges rise."""
    ranges: dict[tuple[str, int], list[int]] = {}
    for event in given:
        if event.run_id:
            ranges.setdefault((event.run_id, event.attempt), []).extend(range(event.first_seq or event.seq, event.seq + 1))
    seqs: dict[tuple[str, int], list[int]] = {}
    for event in raw:
        if event.run_id:
            seqs.setdefault((event.run_id, event.attempt), []).append(event.seq)
    for key, covered in ranges.items():
        assert covered == seqs[key]
