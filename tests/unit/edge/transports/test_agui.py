"""The dictionary between Runcast and AG-UI: its own types accept every word, its rules hold for every run, and nothing is said twice."""

from typing import Any

from ag_ui.core.events import Event as AnyAguiEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runcast.edge.transports.agui import AguiRun
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from tests.unit.edge.streams import attempts

ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyAguiEvent)


class Emitter:
    """A run, event by event."""

    def __init__(self) -> None:
        self.run = AguiRun("r1")
        self.seq, self.attempt = 0, 1

    def say(self, **kind: Any) -> list[dict[str, Any]]:
        self.seq += 1
        event = Event(run_id="r1", attempt=self.attempt, seq=self.seq, thread="t", parent_run_id="p", time_unix_ms=1000 + self.seq, **kind)
        told = self.run.translate(event)
        assert all(each.pop("timestamp") == 1000 + self.seq for each in told)
        return told

    def begin(self) -> list[dict[str, Any]]:
        return self.say(agent_started=pb.AgentStarted(title="x"))

    def text(self, text: str, mode: pb.TextMode = pb.TEXT_MODE_DELTA, *, final: bool = False) -> list[dict[str, Any]]:
        return self.say(agent_response=pb.AgentResponse(message_id="m", text=text, mode=mode, final=final))


def types(told: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in told]


def test_a_run_in_the_words_of_agui():
    it = Emitter()
    assert it.begin() == [{"type": "RUN_STARTED", "threadId": "t", "runId": "r1", "protocolVersion": "1.0", "parentRunId": "p"}]
    thinking = it.say(agent_thinking=pb.AgentThinking(text="reading", progress=0.5))
    assert types(thinking) == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "ACTIVITY_SNAPSHOT",
    ]
    assert types(it.say(agent_thinking=pb.AgentThinking(text="reading", progress=0.6))) == ["ACTIVITY_SNAPSHOT"], "said already"
    call = it.say(tool_executing=pb.ToolExecuting(tool_call_id="c", tool="search", args_json=b'{"q": 1}', purpose="to find it"))
    assert call == [
        {"type": "TOOL_CALL_START", "toolCallId": "r1.1.4.c", "toolCallName": "search", "metadata": {"runcast": {"purpose": "to find it"}}},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "r1.1.4.c", "delta": '{"q": 1}'},
        {"type": "TOOL_CALL_END", "toolCallId": "r1.1.4.c"},
    ]
    done = it.say(tool_completed=pb.ToolCompleted(tool_call_id="c", status=pb.TOOL_STATUS_OK, result_json=b"[1]", duration_ms=7))
    assert done == [
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": "r1.1.4.c.result",
            "toolCallId": "r1.1.4.c",
            "content": "[1]",
            "role": "tool",
            "metadata": {"runcast": {"status": "ok", "duration_ms": 7}},
        }
    ]
    assert it.text("Hel") == [
        {"type": "TEXT_MESSAGE_START", "messageId": "r1.1.m", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "r1.1.m", "delta": "Hel"},
    ]
    assert types(it.text("lo", final=True)) == ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]
    assert it.say(custom=pb.Custom(name="chart", data_json=b"[2]")) == [{"type": "CUSTOM", "name": "chart", "value": [2]}]
    assert types(it.say(agent_error=pb.AgentError(severity=pb.SEVERITY_DEGRADED, message="less"))) == ["CUSTOM"]
    assert it.say(agent_completed=pb.AgentCompleted(summary="done", result_json=b'{"n": 1}')) == [
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1", "outcome": {"type": "success"}, "result": {"n": 1}}
    ]
    assert it.run.ended
    assert it.text("late") == []


def test_an_id_that_is_used_again_is_another_call():
    it = Emitter()
    it.begin()
    told = []
    for number in range(2):
        told += it.say(tool_executing=pb.ToolExecuting(tool_call_id="c", tool=f"tool {number}"))
        told += it.say(tool_completed=pb.ToolCompleted(tool_call_id="c", status=pb.TOOL_STATUS_OK))
    it.say(tool_executing=pb.ToolExecuting(tool_call_id="c", tool="tool 2"))
    told += it.say(agent_completed=pb.AgentCompleted())
    begun = [each["toolCallId"] for each in told if each["type"] == "TOOL_CALL_START"]
    assert begun == ["r1.1.2.c", "r1.1.4.c"]
    results = [each for each in told if each["type"] == "TOOL_CALL_RESULT"]
    assert [each["toolCallId"] for each in results] == [*begun, "r1.1.6.c"], "the run's end ends the one that is open"
    assert len({each["messageId"] for each in results}) == 3


def test_how_runs_end():
    ends = {
        "cancelled": {"run_cancelled": pb.RunCancelled(reason="enough")},
        "run_lost": {"run_lost": pb.RunLost(reason="gone")},
        "timeout": {"agent_error": pb.AgentError(severity=pb.SEVERITY_FATAL, category="timeout", message="too slow")},
    }
    for word, end in ends.items():
        it = Emitter()
        it.begin()
        it.text("so far")
        it.say(tool_executing=pb.ToolExecuting(tool_call_id="c", tool="x"))
        told = it.say(**end)
        assert types(told)[:2] == ["TEXT_MESSAGE_END", "TOOL_CALL_RESULT"], "what is open is ended before"
        assert word in (told[-1].get("code"), told[-1].get("outcome", {}).get("type"))
        assert it.run.again() == []


def test_text_that_is_replaced():
    it = Emitter()
    it.begin()
    it.text("Hello")
    assert it.text("Hello you", pb.TEXT_MODE_WHOLE) == [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "r1.1.m", "delta": " you"}]
    told = it.text("No", pb.TEXT_MODE_WHOLE)
    assert types(told) == ["TEXT_MESSAGE_END", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    assert told[1]["messageId"] == "r1.1.m.1"
    assert it.text("!")[0]["messageId"] == "r1.1.m.1"


def test_another_attempt_supersedes_what_was_open():
    it = Emitter()
    it.begin()
    it.text("first try")
    it.seq, it.attempt = 0, 2
    assert types(it.begin()) == ["TEXT_MESSAGE_END", "CUSTOM"]
    assert it.text("second")[0]["messageId"] == "r1.2.m"
    it.attempt = 1
    assert it.text("late") == []


def test_a_reader_comes_back_in_mid_message():
    it = Emitter()
    it.begin()
    it.text("Hel")
    assert it.run.again() == [
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r1", "protocolVersion": "1.0", "parentRunId": "p"},
        {"type": "TEXT_MESSAGE_START", "messageId": "r1.1.m", "role": "assistant"},
    ]
    assert types(it.text("lo")) == ["TEXT_MESSAGE_CONTENT"]


@given(first=attempts("r1", 1), second=attempts("r1", 2), other=attempts("r2", 1), cut=st.integers(0, 200))
def test_every_stream_obeys_the_rules_and_no_reader_misses_anything(first: Any, second: Any, other: Any, cut: int):
    stream = [event for pair in zip(first, other, strict=False) for event in pair] + second
    run, whole, broken = AguiRun("r1"), [], []
    for number, event in enumerate(stream):
        if number == cut and run.started:
            check(broken, ended=False)
            broken = run.again()
        told = run.translate(event)
        whole += told
        broken += told
        assert run.translate(event) == [], "once"
    check(whole, ended=run.ended)
    check(broken, ended=run.ended)


def check(told: list[dict[str, Any]], *, ended: bool) -> None:
    """What AG-UI's own verifier asks (its `verifyEvents`); every event is of its types."""
    open_items: set[tuple[str, str]] = set()
    for number, event in enumerate(told):
        ADAPTER.validate_python(event)
        what, _, step = event["type"].rpartition("_")
        name = event.get("toolCallId") or event.get("messageId") or ""
        assert (event["type"] == "RUN_STARTED") == (number == 0)
        if event["type"] in ("RUN_FINISHED", "RUN_ERROR"):
            assert not open_items
            assert number == len(told) - 1
        elif step == "START":
            assert (what, name) not in open_items
            open_items.add((what, name))
        elif step == "END":
            open_items.remove((what, name))
        elif step in ("CONTENT", "ARGS"):
            assert (what, name) in open_items
    assert not told or ended == (told[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")) or not ended
