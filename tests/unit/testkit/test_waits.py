from runcast.testkit.waits import check_first, check_silence, find_firsts, find_gaps, measure, report, table, timing_table
from runcast.v1 import event_pb2 as pb
from tests.unit.testkit.recordings import Reel, begin, good, say


def test_gaps_are_counted_while_a_run_is_under_way_only() -> None:
    reel = Reel()
    reel.add("user_message", text="x")
    begin(reel, after=9.0)
    say(reel)
    reel.add("agent_completed", after=0.5)
    begin(reel, "s", after=9.0)
    reel.add("agent_completed", "s", after=2.0)
    gaps = [(gap.at, round(gap.seconds, 3)) for gap in find_gaps(reel.recording(later=9.0))]
    assert gaps == [(2, 0.1), (3, 0.1), (4, 0.5), (6, 2.0)]


def test_waiting_for_the_user_is_no_silence() -> None:
    reel = Reel()
    begin(reel)
    reel.add("input_requested", request_id="q", prompt="May I?", type=pb.INPUT_TYPE_APPROVAL)
    reel.add("agent_thinking", text="Going on", after=30.0)
    reel.add("agent_completed")
    assert check_silence(reel.recording(), 1.0) == []
    begin(reel, "b")
    reel.add("input_requested", "b", request_id="q", prompt="May I?")
    begin(reel, "c")
    reel.add("agent_completed", "c", after=30.0)
    assert [violation.at for violation in check_silence(reel.recording(), 1.0)] == [7], "another run was under way"


def test_a_silence_is_found_between_and_at_the_end() -> None:
    reel = Reel()
    begin(reel)
    reel.add("agent_thinking", text="x", after=2.5)
    found = check_silence(reel.recording(later=4.0), 2.0)
    assert [(violation.kind, violation.at) for violation in found] == [("silence", 1), ("silence", 2)]
    assert "2.50 s, from #1 agent_started until #2" in found[0].text
    assert "until the end of the recording" in found[1].text
    assert check_silence(reel.recording(later=4.0), 5.0) == []


def test_the_first_event_is_measured_from_the_question_or_from_its_own_time() -> None:
    reel = Reel()
    reel.add("user_message", text="x", id="m7")
    begin(reel, "a", after=1.5, reply_to="m7")
    begin(reel, "b")
    firsts = find_firsts(reel.recording())
    assert [(first.at, first.run_id, round(first.seconds, 3)) for first in firsts] == [(1, "a", 1.5), (2, "b", 0.005)]
    assert [(violation.kind, violation.at) for violation in check_first(reel.recording(), 1.0)] == [("late_start", 1)]
    assert check_first(reel.recording(), 2.0) == []


def test_a_run_that_was_joined_in_the_middle_has_no_first_event() -> None:
    reel = Reel(whole=False)
    reel.add("agent_thinking", text="x", seq=4)
    assert find_firsts(reel.recording()) == []


def test_measures_and_report() -> None:
    quick = measure(good().recording())
    assert (quick.name, quick.runs, quick.events, quick.first.max) == ("alice/d1", 1, 8, 100.0)
    assert (quick.gaps.count, quick.gaps.p50, quick.latency.p99) == (6, 100.0, 5.0)
    slow = Reel("bob")
    begin(slow)
    timings = report([good().recording(), slow.recording(later=3.0)])
    assert [timing.name for timing in timings] == ["bob/d1", "alice/d1"], "who waited longest comes first"
    lines = table(timings)
    assert len({len(line) for line in lines[1:]}) == 1
    assert "gaps p99" in lines[0]
    assert timing_table([good().recording(), slow.recording(later=3.0)]).splitlines() == lines
    assert "3000.0" in lines[1]


def test_nothing_has_a_report_too() -> None:
    empty = measure(Reel().recording())
    assert (empty.events, empty.gaps.count, empty.longest.seconds) == (0, 0, 0.0)
    assert len(table([empty])) == 2
