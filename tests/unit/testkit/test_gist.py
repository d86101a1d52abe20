import pytest

from runcast.testkit.gist import gist, plain
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire.eventjson import KINDS

NOON = 1_700_000_000_123


def event(**kind: object) -> Event:
    return Event(id="r.1.1", run_id="01-run-abcdef42", attempt=1, seq=1, time_unix_ms=NOON, **kind)  # type: ignore[arg-type]


CASES = [
    (event(agent_started=pb.AgentStarted(title="Reading")), "Reading"),
    (event(agent_thinking=pb.AgentThinking(text="hm", progress=0.405, step=2, steps=3)), "hm (40 %, 2/3)"),
    (event(agent_thinking=pb.AgentThinking(text="hm", remaining_ms=2500, urgency=pb.URGENCY_HIGH)), "hm (2.5 s left, urgent)"),
    (event(agent_thinking=pb.AgentThinking(text="hm")), "hm"),
    (event(tool_executing=pb.ToolExecuting(tool="search", args_json=b'{"q":1}', purpose="to know")), 'search {"q":1}  # to know'),
    (event(tool_completed=pb.ToolCompleted(tool="search", duration_ms=3, result_json=b"[]", status="TOOL_STATUS_OK")), "search (3 ms) []"),
    (
        event(tool_completed=pb.ToolCompleted(tool="x", duration_ms=3, error="no disk", status="TOOL_STATUS_ERROR")),
        "x failed: no disk (3 ms)",
    ),
    (event(tool_completed=pb.ToolCompleted(tool="x", status="TOOL_STATUS_CANCELLED")), "x cancelled "),
    (event(tool_completed=pb.ToolCompleted(tool="x", status="TOOL_STATUS_CANCELLED", duration_ms=3)), "x cancelled (3 ms) "),
    (event(agent_response=pb.AgentResponse(text="a\nb")), "a\nb"),
    (event(agent_response=pb.AgentResponse(final=True)), "(end of message)"),
    (event(agent_completed=pb.AgentCompleted(summary="done")), "done"),
    (event(agent_error=pb.AgentError(severity="SEVERITY_FATAL", message="bad", suggestions=["retry"])), "fatal: bad (retry)"),
    (event(user_message=pb.UserMessage(text="hello")), "hello"),
    (event(run_cancelled=pb.RunCancelled(reason="stop")), "stop"),
    (event(run_lost=pb.RunLost(reason="gone")), "gone"),
    (event(input_requested=pb.InputRequested(prompt="ok?", options=["yes", "no"])), "ok? [yes / no]"),
    (event(input_resolved=pb.InputResolved(outcome=pb.INPUT_OUTCOME_ANSWERED, value_json=b"true", device="d1")), "answered true on d1"),
    (event(input_resolved=pb.InputResolved(outcome=pb.INPUT_OUTCOME_WITHDRAWN)), "withdrawn"),
    (event(custom=pb.Custom(name="n", data_json=b"1")), "n 1"),
]


@pytest.mark.parametrize(("given_event", "expected"), CASES)
def test_gist(given_event: Event, expected: str) -> None:
    assert gist(given_event) == expected


def test_every_kind_has_a_case() -> None:
    assert {case.WhichOneof("kind") for case, _ in CASES} == set(KINDS)


def test_an_unknown_kind_is_shown() -> None:
    assert "does not know" in gist(Event.FromString(Event(id="x").SerializeToString() + b"\xaa\x02\x01a"))


def test_plain_keeps_letters_of_all_languages() -> None:
    assert plain("Grüße 你好 a\tb\nc") == "Grüße 你好 a b↵c"
