import json
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from runcast.cli.lines import KIND_WIDTH, human_line, json_line
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event

NOON = 1_700_000_000_123


def event(**kind: object) -> Event:
    return Event(id="r.1.1", run_id="01-run-abcdef42", attempt=1, seq=1, time_unix_ms=NOON, **kind)  # type: ignore[arg-type]


def test_an_unknown_kind_is_shown() -> None:
    assert "unknown" in human_line(Event.FromString(Event(id="x").SerializeToString() + b"\xaa\x02\x01a"))


def test_human_line_is_aligned_and_cut() -> None:
    line = human_line(event(agent_completed=pb.AgentCompleted(summary="x" * 100)), width=60, zone=UTC)
    assert line.startswith("22:13:20.123  abcdef42  agent_completed   xxx")
    assert len(line) == 60
    assert line.endswith("…")


def test_colours_only_when_asked() -> None:
    completed = event(agent_completed=pb.AgentCompleted(summary="done"))
    assert "\033" not in human_line(completed)
    assert f"\033[32m{'agent_completed':<{KIND_WIDTH}}\033[0m" in human_line(completed, colours=True)


@given(st.text())
def test_nothing_that_a_terminal_obeys_comes_through(text: str) -> None:
    line = human_line(event(agent_response=pb.AgentResponse(text=text.encode(errors="replace").decode())))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_json_line_is_one_line_even_if_the_agent_broke_it() -> None:
    line = json_line(event(custom=pb.Custom(name="n", data_json=b'{\n "a": [1,\n 2]}')), "p")
    assert "\n" not in line
    decoded = json.loads(line)
    assert decoded["pos"] == "p"
    assert decoded["kind"] == "custom"
    assert decoded["data"] == {"name": "n", "data": {"a": [1, 2]}}
