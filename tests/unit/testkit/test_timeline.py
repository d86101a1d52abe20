"""What a person reads when something is wrong."""

from runcast.testkit.timeline import LINES_MAX, describe, draw
from runcast.testkit.verification import inspect
from runcast.v1 import event_pb2 as pb
from tests.unit.testkit.recordings import Reel, begin, good, tool

MESSAGE = """\
3 things are wrong with what alice/d1 received: 6 events, 1 run, 2.80 s
first wrong event: #3 tool_executing of run 9f3a21c0

  tool_unpaired: sql (call c1) began at #3 and had not completed when its run ended at #6
  silence: nothing came for 2.40 s, from #3 tool_executing until #4; at most 1 s was asked for
  missing: agent_response was required and never came

     #   after      run       seq  event             what it says
     1    0.000 s                 user_message      Which region?
     2    0.100 s  9f3a21c0    1  agent_started     Sales per region
>>>  3    0.200 s  9f3a21c0    2  tool_executing    sql {"q":"north"}  # to sum
       ^ tool_unpaired
         ┄┄┄ 2.40 s of silence ┄┄┄
>>>  4    2.600 s  9f3a21c0    3  agent_thinking    Waiting for the table (30 %)
       ^ silence
     5    2.700 s  9f3a21c0    4  agent_error       degraded: The table is slow.
     6    2.800 s  9f3a21c0    5  agent_completed   done
>>>     (end)
       ^ missing"""


def test_the_message_shows_what_is_wrong_where() -> None:
    reel, run = Reel(), "run-9f3a21c0"
    reel.add("user_message", text="Which region?")
    begin(reel, run)
    reel.add("tool_executing", run, tool_call_id="c1", tool="sql", args_json=b'{"q":"north"}', purpose="to sum")
    reel.add("agent_thinking", run, after=2.4, text="Waiting for the table", progress=0.3)
    reel.add("agent_error", run, message="The table is slow.", severity=pb.SEVERITY_DEGRADED)
    reel.add("agent_completed", run, summary="done")
    recording = reel.recording()
    assert describe(recording, inspect(recording, required=["agent_response"], silence_s=1.0)) == MESSAGE


def test_one_thing_and_nothing_at_all() -> None:
    recording = Reel().recording()
    text = describe(recording, inspect(recording, required=["agent_started"]))
    assert text.splitlines()[:2] == [
        "one thing is wrong with what alice/d1 received: nothing",
        "first wrong event: the first one, which never came",
    ]


def test_of_a_long_recording_the_part_that_matters_is_drawn() -> None:
    reel = Reel()
    begin(reel)
    for number in range(150):
        tool(reel, call=f"c{number}")
    reel.add("tool_executing", tool_call_id="open", tool="sql")
    for number in range(150, 300):
        tool(reel, call=f"c{number}")
    reel.add("agent_completed")
    recording = reel.recording()
    lines = draw(recording, inspect(recording))
    assert len(lines) < 25
    assert sum("…" in line and "events" in line for line in lines) == 2
    assert any(line.startswith(">>>302 ") for line in lines)
    many = draw(recording, inspect(recording, exactly=[]) + inspect(recording, silence_s=0.01))
    assert len([line for line in many if "tool_" in line and "^" not in line]) <= LINES_MAX + 8


def test_lines_are_cut_and_hold_nothing_that_a_terminal_obeys() -> None:
    reel = Reel()
    reel.add("agent_thinking", text="\x1b[31m" + "x" * 500 + "\n")
    lines = draw(reel.recording(), width=80)
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_merged_events_show_their_range_and_a_run_that_stopped_its_silence() -> None:
    reel = Reel()
    begin(reel)
    reel.add("agent_thinking", text="x", seq=9, first=2)
    lines = draw(reel.recording(later=3.0))
    assert " 2-9 " in lines[2]
    assert "3.00 s of silence" in lines[3]


def test_a_good_recording_is_drawn_without_marks() -> None:
    assert not any(">" in line or "^" in line for line in draw(good().recording()))
