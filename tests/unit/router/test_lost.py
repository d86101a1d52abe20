"""Who may go on with a run, and how a run ends whose agent went away: decided by the key, and by the log."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.router.lost import Case, Claim, Outcome, RunRecord, judge_claim, parse_record
from runcast.router.validation import check_kind
from runcast.v1.event_pb2 import SEVERITY_FATAL, TOOL_STATUS_CANCELLED, Batch, Event, User
from runcast.wire import limits
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.ids import UserKey
from runcast.wire.lifecycle import Lifecycle, State
from runcast.wire.subjects import RunPlace

PLACE = RunPlace("p", 3, UserKey("default", "alice"), "r", 1)
START, WORK, TOOL, TOOL_END, END = "agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"


def batch(number: int, first_seq: int, *kinds: str, attempt: int = 1, run_id: str = "r", call: str = "t") -> Batch:
    made = Batch(user=User(tenant="default", id="alice"), producer="p", run_id=run_id, attempt=attempt, number=number)
    for seq, kind in enumerate(kinds, first_seq):
        event = Event(id=f"{run_id}.{attempt}.{seq}", run_id=run_id, attempt=attempt, seq=seq, agent="a", thread="th", parent_run_id="up")
        getattr(event, kind).SetInParent()
        if kind in (TOOL, TOOL_END):
            getattr(event, kind).tool_call_id = call
            getattr(event, kind).tool = "search"
        made.events.append(event)
    return made


def case_of(*batches: Batch) -> Case:
    case = Case(PLACE)
    for one in batches:
        case.note(one)
    return case


# --- claims ---

OPEN, LOST, ENDED = RunRecord("open"), RunRecord("lost"), RunRecord("ended", number=4, settled=True)


@pytest.mark.parametrize(
    ("record", "number", "answer"),
    [
        (None, 1, Claim.CREATE),
        (None, 2, "run_lost"),
        (OPEN, 1, Claim.TOUCH),  # a resend of the first batch by way of another router
        (OPEN, 9, Claim.TOUCH),
        (LOST, 1, "run_lost"),
        (LOST, 9, "run_lost"),
        (RunRecord("lost", settled=True), 2, "run_lost"),
        (ENDED, 1, Claim.RESEND),
        (ENDED, 4, Claim.RESEND),
        (ENDED, 5, "lifecycle_violation"),
    ],
)
def test_claims(record: RunRecord | None, number: int, answer: Claim | str) -> None:
    if isinstance(answer, Claim):
        assert judge_claim(record, 1, number) is answer
    else:
        with pytest.raises(RuncastError) as raised:
            judge_claim(record, 1, number)
        assert raised.value.code.name == answer
        assert isinstance(raised.value, LifecycleError) == (answer == "lifecycle_violation")


def test_a_refused_producer_is_told_what_to_do() -> None:
    with pytest.raises(RuncastError, match="begin attempt 8") as raised:
        judge_claim(LOST, 7, 2)
    assert (raised.value.code.retry, raised.value.code.definite) == (False, True)


@given(st.sampled_from(["open", "lost", "ended"]), st.integers(0, 2**63), st.integers(0, 2**63), st.booleans())
def test_records_are_read_as_written(state: str, after: int, number: int, settled: bool) -> None:
    record = RunRecord(state, after, number, settled)  # type: ignore[arg-type]
    assert parse_record(record.encode()) == record


@pytest.mark.parametrize("value", [b"", b"\xff", b"{}", b'{"state":"gone"}', b"[]"])
def test_what_no_router_wrote_is_no_record(value: bytes) -> None:
    assert parse_record(value) is None


# --- cases ---


def test_a_case_says_whether_a_batch_is_about_it() -> None:
    case = Case(PLACE._replace(attempt=2))
    about = [batch(1, 1, START, attempt=2), batch(1, 1, START, attempt=3)]
    other = [batch(1, 1, START), batch(1, 1, START, run_id="other"), Batch(run_id="r", attempt=2)]
    assert [case.note(each) for each in (*about, *other)] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("batches", "outcome"),
    [
        ([], Outcome.UNSEEN),
        ([batch(1, 1, START, run_id="other")], Outcome.UNSEEN),
        ([batch(1, 1, START)], Outcome.LOST),
        ([batch(1, 1, START), batch(2, 2, TOOL)], Outcome.LOST),
        ([batch(1, 1, START, END)], Outcome.ENDED),
        ([batch(1, 1, START), batch(2, 2, "run_cancelled")], Outcome.ENDED),
        ([batch(1, 1, START), batch(2, 2, "run_lost")], Outcome.ENDED),
        ([batch(1, 1, START), batch(1, 1, START, attempt=2)], Outcome.SUPERSEDED),
        ([batch(1, 1, START, attempt=2)], Outcome.SUPERSEDED),
        ([batch(1, 1, START), batch(1, 1, START, attempt=2), batch(2, 2, WORK)], Outcome.SUPERSEDED),
        ([batch(1, 1, START, END), batch(1, 1, START, attempt=2)], Outcome.ENDED),
        ([batch(1, 1, START, attempt=1), Batch(run_id="r", attempt=2)], Outcome.LOST),
    ],
)
def test_outcomes(batches: list[Batch], outcome: Outcome) -> None:
    assert case_of(*batches).outcome is outcome


def test_a_lower_attempt_does_not_touch_a_higher_one() -> None:
    case = Case(PLACE._replace(attempt=2))
    case.note(batch(1, 1, START, END))
    case.note(batch(1, 1, START, attempt=2))
    assert case.outcome is Outcome.LOST


def test_a_fatal_error_is_an_end_and_another_one_is_not() -> None:
    failing = batch(2, 2, "agent_error")
    assert case_of(batch(1, 1, START), failing).outcome is Outcome.LOST
    failing.events[0].agent_error.severity = SEVERITY_FATAL
    assert case_of(batch(1, 1, START), failing).outcome is Outcome.ENDED


def test_the_end_closes_tools_and_goes_on_where_the_run_was() -> None:
    case = case_of(batch(1, 1, START, TOOL, call="t1"), batch(2, 3, TOOL, call="t2"), batch(3, 4, TOOL_END, call="t1"))
    closing = case.closing("why", 1234)
    assert (closing.producer, closing.run_id, closing.attempt, closing.number) == ("router", "r", 1, 4)
    closed, lost = closing.events
    assert (closed.id, closed.seq, lost.id, lost.seq) == ("r.1.5", 5, "r.1.6", 6)
    assert (closed.tool_completed.tool_call_id, closed.tool_completed.tool, closed.tool_completed.status) == (
        "t2",
        "search",
        TOOL_STATUS_CANCELLED,
    )
    assert lost.run_lost.reason == "why"
    for event in closing.events:
        assert (event.agent, event.thread, event.parent_run_id, event.time_unix_ms) == ("a", "th", "up", 1234)
    assert case_of(batch(1, 1, START), closing).outcome is Outcome.ENDED  # whoever finishes again finds it


@given(st.lists(st.sampled_from([WORK, TOOL, TOOL_END]), max_size=30), st.integers(1, 4))
def test_what_is_written_follows_what_is_stored(kinds: list[str], size: int) -> None:
    """The whole attempt, the router's batch included, is a life that the table allows, without a hole."""
    life, events, calls = Lifecycle(), [batch(1, 1, START).events[0]], itertools.count()
    life.advance(events[0])
    opened: list[str] = []
    for kind in kinds:
        if kind == TOOL:
            opened.append(f"t{next(calls)}")
        elif kind == TOOL_END and not opened:
            continue
        call = opened.pop(0) if kind == TOOL_END else opened[-1] if opened else ""
        event = batch(1, len(events) + 1, kind, call=call).events[0]
        life.advance(event)
        events.append(event)
    case = Case(PLACE)
    for number, start in enumerate(range(0, len(events), size), 1):
        case.note(Batch(run_id="r", attempt=1, number=number, events=events[start : start + size]))
    assert case.outcome is Outcome.LOST
    closing = case.closing("why", 0)
    assert [event.tool_completed.tool_call_id for event in closing.events[:-1]] == opened
    for seq, event in enumerate(closing.events, len(events) + 1):
        assert event.seq == seq
        life.advance(event)
    assert life.state is State.ENDED


def test_the_largest_end_is_a_batch_like_any_other() -> None:
    tools = [batch(number + 2, number + 2, TOOL, call=f"{number:03}" + "c" * 125) for number in range(limits.OPEN_TOOLS_MAX)]
    for one in tools:
        one.events[0].tool_executing.tool = "t" * 128
        one.events[0].agent = one.events[0].thread = one.events[0].parent_run_id = one.events[0].traceparent = "x" * 128
    closing = case_of(batch(1, 1, START), *tools).closing("why", 2**60)
    assert len(closing.events) == limits.BATCH_EVENTS_MAX
    assert closing.events[-1].WhichOneof("kind") == "run_lost"
    assert closing.ByteSize() <= limits.BATCH_BYTES_MAX
    for event in closing.events[:-1]:
        check_kind(event)
