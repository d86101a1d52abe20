"""Every violation, made by hand, is found where it is; what is right is left alone."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.testkit.recording import Recording
from runcast.testkit.validators import Violation, Want, check_isolation, parse_want
from runcast.testkit.verification import VerificationError, inspect, raise_violations
from runcast.v1 import event_pb2 as pb
from runcast.wire.eventjson import KINDS
from tests.unit.testkit.recordings import ERROR, OK, Reel, begin, good, say, tool


def kinds(violations: list[Violation]) -> list[tuple[str, int]]:
    return [(violation.kind, violation.at) for violation in violations]


def test_a_good_run_is_left_alone() -> None:
    recording = good().recording()
    assert inspect(recording, required=["tool_executing:sql"], order=["agent_started", "agent_completed"], runs={"r"}) == []
    raise_violations(recording, [])


# --- each violation, and where it is found ---


def unended(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="x")


def ended_twice(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_completed")
    reel.add("run_cancelled")


def after_end(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_error", message="gone", severity=pb.SEVERITY_FATAL)
    reel.add("agent_thinking", text="x")


def never_started(reel: Reel) -> None:
    reel.add("agent_thinking", text="x")
    reel.add("agent_completed")


def started_twice(reel: Reel) -> None:
    begin(reel)
    begin(reel)
    reel.add("agent_completed")


def of_an_old_attempt(reel: Reel) -> None:
    begin(reel)
    begin(reel, attempt=2)
    reel.add("agent_thinking", attempt=1, text="late")
    reel.add("agent_completed", attempt=2)


def tool_left_open(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql", purpose="p")
    reel.add("agent_completed")


def tool_never_begun(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_completed", tool_call_id="c1", tool="sql", status=OK)
    reel.add("agent_completed")


def tool_completed_twice(reel: Reel) -> None:
    begin(reel)
    tool(reel)
    reel.add("tool_completed", tool_call_id="c1", tool="sql", status=OK)
    reel.add("agent_completed")


def tool_begun_twice(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    tool(reel)
    reel.add("agent_completed")


def tool_of_another_name(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    reel.add("tool_completed", tool_call_id="c1", tool="search", status=OK)
    reel.add("agent_completed")


def hole(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="x", seq=4)
    reel.add("agent_completed")


def hole_before_the_first(reel: Reel) -> None:
    reel.add("agent_started", seq=2, title="x")
    reel.add("agent_completed")


def merged_over_too_little(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="x", seq=5, first=3)
    reel.add("agent_completed")


def chain(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_completed")
    reel.breaks.append("a batch covers (3, 4], the device is at 2")


def repeated(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="x", seq=2)
    reel.add("agent_thinking", text="x", seq=2)
    reel.add("agent_completed")


def out_of_order(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="x", seq=3, first=2)
    reel.add("agent_thinking", text="y", seq=2)
    reel.add("agent_completed", seq=4)


def no_text(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="  ")
    reel.add("agent_completed")


def no_status(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    reel.add("tool_completed", tool_call_id="c1", tool="sql")
    reel.add("agent_completed")


def error_without_words(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    reel.add("tool_completed", tool_call_id="c1", tool="sql", status=ERROR)
    reel.add("agent_completed")


def choice_without_options(reel: Reel) -> None:
    begin(reel)
    reel.add("input_requested", request_id="q", prompt="Which?", type=pb.INPUT_TYPE_CHOICE)
    reel.add("agent_completed")


def no_agent(reel: Reel) -> None:
    begin(reel)
    reel.add("custom", name="x").agent = ""
    reel.add("agent_completed")


def message_without_end(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_response", message_id="m1", text="half")
    reel.add("agent_completed")


def result_cut(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    reel.add("tool_completed", tool_call_id="c1", tool="sql", status=OK, result_json=b'{"truncated":true,"bytes":300000,"head":"["}')
    reel.add("agent_completed")


def text_cut(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="aaa … [cut: 300,000 bytes in all]")
    reel.add("agent_completed")


CASES: list[tuple[Callable[[Reel], None], str, int]] = [
    (unended, "unended", 1),
    (ended_twice, "ended_twice", 2),
    (after_end, "after_end", 2),
    (never_started, "unstarted", 0),
    (started_twice, "unstarted", 1),
    (of_an_old_attempt, "superseded", 2),
    (tool_left_open, "tool_unpaired", 1),
    (tool_never_begun, "tool_unpaired", 1),
    (tool_completed_twice, "tool_unpaired", 3),
    (tool_begun_twice, "tool_unpaired", 2),
    (tool_of_another_name, "tool_unpaired", 2),
    (hole, "gap", 1),
    (hole_before_the_first, "gap", 0),
    (merged_over_too_little, "gap", 1),
    (chain, "gap", 0),
    (repeated, "repeated", 2),
    (out_of_order, "reordered", 2),
    (no_text, "incomplete", 1),
    (no_status, "incomplete", 2),
    (error_without_words, "incomplete", 2),
    (choice_without_options, "incomplete", 1),
    (no_agent, "incomplete", 1),
    (message_without_end, "incomplete", 1),
    (result_cut, "truncated", 2),
    (text_cut, "truncated", 1),
]


@pytest.mark.parametrize(("make", "kind", "at"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_violation_is_found_where_it_is(make: Callable[[Reel], None], kind: str, at: int) -> None:
    reel = Reel()
    make(reel)
    violations = inspect(reel.recording())
    assert kinds(violations) == [(kind, at)]
    with pytest.raises(VerificationError, match=kind) as caught:
        raise_violations(reel.recording(), violations)
    assert caught.value.violations == {"alice/d1": violations}


RIGHT: list[Callable[[Reel], None]] = []


@RIGHT.append
def lost_with_a_tool_open(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    reel.add("run_lost", reason="the agent went away")


@RIGHT.append
def tried_again(reel: Reel) -> None:
    begin(reel)
    reel.add("tool_executing", tool_call_id="c1", tool="sql")
    begin(reel, attempt=2)
    reel.add("agent_completed", attempt=2)


@RIGHT.append
def merged(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_thinking", text="x", seq=7, first=2)
    reel.add("agent_completed", seq=9, first=8)


@RIGHT.append
def two_at_once(reel: Reel) -> None:
    begin(reel, "a")
    begin(reel, "b")
    tool(reel, "b")
    say(reel, "a")
    reel.add("agent_completed", "a")
    reel.add("agent_completed", "b")


@RIGHT.append
def recovered(reel: Reel) -> None:
    begin(reel)
    reel.add("agent_error", message="slow", severity=pb.SEVERITY_RECOVERABLE)
    reel.add("agent_completed")


@pytest.mark.parametrize("make", RIGHT)
def test_what_is_right_is_left_alone(make: Callable[[Reel], None]) -> None:
    reel = Reel()
    make(reel)
    assert inspect(reel.recording()) == []


def test_a_device_that_came_in_the_middle_may_see_the_middle_only() -> None:
    reel = Reel(whole=False)
    reel.add("tool_completed", tool_call_id="c9", tool="sql", status=OK, seq=5)
    reel.add("agent_completed", seq=6)
    assert inspect(reel.recording()) == []
    reel = Reel(whole=False)
    begin(reel)
    reel.add("tool_completed", tool_call_id="c9", tool="sql", status=OK)
    reel.add("agent_completed")
    assert kinds(inspect(reel.recording())) == [("tool_unpaired", 1)], "of this run it saw the beginning"


def test_a_run_without_an_end_is_allowed_when_asked_for() -> None:
    reel = Reel()
    unended(reel)
    assert inspect(reel.recording(), ended=False) == []


# --- what a test asks for ---


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"required": ["agent_error"]}, ("missing", 8)),
        ({"required": ["tool_executing:search"]}, ("missing", 8)),
        ({"required": ["agent_started", "agent_started"]}, ("missing", 8)),
        ({"required": [Want("tool_completed", tool="sql", result={"rows": 4})]}, ("missing", 8)),
        ({"required": [Want("agent_thinking", text=re.compile("drums"))]}, ("missing", 8)),
        ({"required": [Want("agent_thinking", progress=lambda value: value > 0.5)]}, ("missing", 8)),
        ({"order": ["tool_completed", "tool_executing"]}, ("order", 3)),
        ({"order": ["agent_started", "agent_error"]}, ("order", 2)),
        ({"order": ["agent_completed", "custom"]}, ("order", 8)),
        ({"exactly": ["user_message", "agent_started", "agent_completed"]}, ("order", 2)),
        ({"exactly": [*["user_message", "agent_started", "agent_thinking"], "tool_executing", "tool_completed"]}, ("order", 5)),
        ({"runs": {"s"}}, ("leaked", 1)),
    ],
)
def test_what_was_asked_for_and_is_not_so(asked: dict, expected: tuple[str, int]) -> None:
    assert kinds(inspect(good().recording(), **asked))[0] == expected


def test_exactly_more_than_came() -> None:
    reel = Reel()
    begin(reel)
    reel.add("agent_completed")
    assert kinds(inspect(reel.recording(), exactly=["agent_started", "agent_completed", "custom"])) == [("missing", 2)]


def test_wants_match_fields_patterns_and_functions() -> None:
    wants = [
        Want("tool_completed", tool="sql", status="ok", result={"rows": 3}),
        Want("agent_thinking", text=re.compile("sales"), progress=lambda value: value < 0.5),
        "tool_executing:sql",
    ]
    assert inspect(good().recording(), required=wants) == []
    assert str(wants[1]).startswith("agent_thinking(text=/sales/, progress=<function")


@pytest.mark.parametrize("text", ["nothing", "agent_started:x", "tool_executings"])
def test_a_want_that_can_not_be_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"write the kind alone|is not a kind"):
        parse_want(text)


def test_a_field_that_a_kind_lacks_is_said() -> None:
    with pytest.raises(ValueError, match="agent_thinking has no field mood; it has progress"):
        Want("agent_thinking", mood="good")


def test_of_one_run_only() -> None:
    reel = Reel()
    begin(reel, "a")
    begin(reel, "b")
    reel.add("agent_completed", "b")
    assert inspect(reel.recording(), run_id="b", exactly=["agent_started", "agent_completed"]) == []
    assert kinds(inspect(reel.recording(), run_id="a")) == [("unended", 0)]


# --- isolation ---


def test_what_another_user_has_too_is_leaked_and_what_the_same_user_has_is_not() -> None:
    mine, theirs = good().recording(), good().recording()
    same = Recording("alice", "tablet", theirs.received, "t")
    other = Recording("bob", "d1", theirs.received, "t")
    namesake = Recording("alice", "d1", theirs.received, "other tenant")
    assert check_isolation(mine, [same]) == []
    for stranger in (other, namesake):
        assert kinds(check_isolation(mine, [stranger])) == [("leaked", at) for at in range(8)]
    one = Recording("bob", "d1", theirs.received[3:4], "t")
    assert {violation.at for violation in check_isolation(mine, [one])} == set(range(1, 8)), "the whole run is somebody else's"


# --- no recording makes it fail otherwise than by a violation ---


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 2), st.integers(1, 6), st.integers(0, 6)), max_size=12))
def test_any_recording_can_be_judged(steps: list[tuple[str, int, int, int]]) -> None:
    reel = Reel()
    for kind, attempt, seq, first in steps:
        reel.add(kind, attempt=attempt, seq=seq, first=min(first, seq))
    violations = inspect(reel.recording(), required=["agent_completed"], silence_s=0.05, first_s=0.0, quality=1.0)
    assert all(0 <= violation.at <= len(steps) for violation in violations)
    assert violations == sorted(violations)
