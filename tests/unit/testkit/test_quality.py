from collections.abc import Callable

import pytest

from runcast.testkit.quality import COSTS, check_quality, judge
from runcast.v1 import event_pb2 as pb
from tests.unit.testkit.recordings import ERROR, Reel, begin, good, say


def test_a_good_run_has_the_full_score() -> None:
    quality = judge(good().recording())
    assert (quality.score, quality.reasons) == (1.0, [])
    assert check_quality(good().recording(), 1.0) == []


def test_nothing_shown_is_nothing_wrong() -> None:
    assert judge(Reel().recording()).score == 1.0


def untitled(reel: Reel) -> None:
    reel.add("agent_started")


def empty(reel: Reel) -> None:
    reel.add("input_requested", request_id="q", prompt=" ")


def filler(reel: Reel) -> None:
    reel.add("agent_thinking", text="Processing...")


def again(reel: Reel) -> None:
    reel.add("agent_thinking", text="Reading the table")
    reel.add("agent_thinking", text="Reading the table")


def again_a_message(reel: Reel) -> None:
    say(reel)
    say(reel, message="m2")


def again_an_error(reel: Reel) -> None:
    for _ in range(2):
        reel.add("agent_error", message="The database is busy.", retrying=True)


def backwards(reel: Reel) -> None:
    reel.add("agent_thinking", text="Reading", progress=0.5)
    reel.add("agent_thinking", text="Writing", progress=0.25)


def unexplained(reel: Reel) -> None:
    reel.add("tool_executing", tool_call_id="c", tool="sql")


def not_actionable(reel: Reel) -> None:
    reel.add("agent_error", message="The database does not answer.")


def technical(reel: Reel) -> None:
    reel.add("agent_error", message="KeyError: 'region'", suggestions=["try again"])


def technical_path(reel: Reel) -> None:
    reel.add("tool_completed", tool_call_id="c", tool="sql", status=ERROR, error="can't open /home/me/data.csv")


def technical_traceback(reel: Reel) -> None:
    say(reel, text='Traceback (most recent call last):\n  File "a.py", line 3')


def technical_secret(reel: Reel) -> None:
    say(reel, text="I used the key sk-abcdefghij0123456789.")


def technical_object(reel: Reel) -> None:
    say(reel, text="The answer is <Row object at 0x7f12ab>.")


def no_answer(reel: Reel) -> None:
    reel.add("agent_completed")


def jargon(reel: Reel) -> None:
    reel.add("agent_error", message="timeout", category="timeout", retrying=True)


CASES: list[tuple[Callable[[Reel], None], str, int]] = [
    (untitled, "untitled", 0),
    (empty, "empty", 0),
    (filler, "filler", 0),
    (again, "again", 1),
    (again_a_message, "again", 2),
    (again_an_error, "again", 1),
    (backwards, "backwards", 1),
    (unexplained, "unexplained", 0),
    (not_actionable, "not_actionable", 0),
    (technical, "technical", 0),
    (technical_path, "technical", 0),
    (technical_traceback, "technical", 0),
    (technical_secret, "technical", 0),
    (technical_object, "technical", 0),
    (no_answer, "no_answer", 0),
    (jargon, "jargon", 0),
]


@pytest.mark.parametrize(("make", "kind", "at"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_each_reason_is_given_and_costs(make: Callable[[Reel], None], kind: str, at: int) -> None:
    reel = Reel()
    make(reel)
    quality = judge(reel.recording())
    assert [(reason.kind, reason.at) for reason in quality.reasons] == [(kind, at)]
    assert quality.score == pytest.approx(1 - COSTS[kind] / quality.judged, abs=0.001)
    assert f"#{at + 1}  {kind}" in str(quality)
    found = check_quality(reel.recording(), 1.0)
    assert [(violation.kind, violation.at) for violation in found] == [("quality", at)]


def test_every_reason_has_a_case() -> None:
    assert {kind for _, kind, _ in CASES} == set(COSTS)


@pytest.mark.parametrize("text", ["...", "Thinking", "please wait…", "Step 3", "Loading 40%", "…"])
def test_words_that_say_nothing(text: str) -> None:
    reel = Reel()
    reel.add("agent_thinking", text=text)
    assert [reason.kind for reason in judge(reel.recording()).reasons] == ["filler"]


@pytest.mark.parametrize(
    "text",
    [
        "Thinking about regions",
        "Working on the north",
        "See https://example.org/usr/share for more.",
        "Errors are rare; an Error 5 means busy.",
        "Dividing and/or adding",
        "It costs 3/4 of that.",
    ],
)
def test_words_that_say_something(text: str) -> None:
    reel = Reel()
    reel.add("agent_thinking", text=text)
    assert judge(reel.recording()).reasons == []


def test_the_same_words_with_progress_are_not_again() -> None:
    reel = Reel()
    reel.add("agent_thinking", text="Reading", progress=0.1)
    reel.add("agent_thinking", text="Reading", progress=0.2)
    assert judge(reel.recording()).score == 1.0


def test_a_secret_is_not_told_again() -> None:
    reel = Reel()
    technical_secret(reel)
    assert "sk-" not in str(judge(reel.recording()))


def test_a_failing_score_names_the_worst_first() -> None:
    reel = Reel()
    begin(reel)
    for _ in range(5):
        reel.add("agent_thinking", text="...")
    reel.add("agent_error", message=" ", severity=pb.SEVERITY_FATAL)
    (violation,) = check_quality(reel.recording(), 0.9)
    assert violation.at == 1
    assert violation.text.startswith("the score is 0.19,")
    assert ": #7 empty: the error is empty; #3 again" in violation.text
    assert violation.text.endswith("more")
