"""Events become rows: bars pair up, nothing overlaps in a lane, silences and gaps are seen, clocks that are wrong move nothing."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.found.lanes import lanes_of
from runcast.admin.found.timeline import Timeline
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_dashboard as bounds
from runcast.wire.eventjson import EventJson, event_from_json
from runcast.wire.recorded import RecordedBatch

T0 = 1_795_000_000_000


def made(kind: str, seq: int, at: int, run: str = "r", attempt: int = 1, parent: str = "", **data: Any) -> Event:
    form = EventJson(
        id=f"{run}.{attempt}.{seq}", kind=kind, run_id=run, attempt=attempt, seq=seq, time_unix_ms=at, agent="a", parent_run_id=parent,
        data=data,
    )  # fmt: skip
    event: Event = event_from_json(form)
    return event


def shown(*events: Event, now: int = T0 + 100_000, clock: int = 0) -> dict[str, Any]:
    """What the page is told; each event stored when it happened, by an agent whose clock is off."""
    timeline = Timeline()
    for seq, event in enumerate(events, 1):
        stored = event.time_unix_ms
        event.time_unix_ms += clock
        timeline.take(RecordedBatch("e", seq, stored, [event]))
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(timeline.told(now)))
    return told


@pytest.mark.parametrize("clock", [0, 7_200_000, -7_200_000])
def test_a_run_with_its_tools_silences_and_end(clock: int) -> None:
    told = shown(
        made("agent_started", 1, T0, title="Look it up"),
        made("tool_executing", 2, T0 + 100, tool_call_id="c", tool="search"),
        made("tool_executing", 3, T0 + 200, tool_call_id="d", tool="read"),
        made("tool_completed", 4, T0 + 6_200, tool_call_id="c", tool="search", status="ok"),
        made("tool_completed", 5, T0 + 6_300, tool_call_id="d", tool="read", status="error", error="no such page"),
        made("agent_completed", 7, T0 + 6_400),
        clock=clock,
    )
    ((row,),) = told["runs"]
    assert (row["begin"], row["end"], row["status"], row["title"], row["cut_off"]) == (T0, T0 + 6_400, "completed", "Look it up", False)
    assert [(bar["name"], bar["begin"] - T0, bar["end"] - T0, bar["status"]) for bar in row["bars"]] == [
        ("search", 100, 6_200, "ok"),
        ("read", 200, 6_300, "error"),
    ]
    assert row["lanes"] == [0, 1]
    assert row["silences"] == [{"begin": T0 + 200, "end": T0 + 6_200}]
    assert [(gap["at"] - T0, gap["missing"]) for gap in row["gaps"]] == [(6_400, 1)]
    assert [(error["kind"], error["text"], error["agent"]) for error in told["errors"]] == [("tool", "read: no such page", "a")]


def test_a_lost_run_ends_when_that_was_stored_and_a_later_attempt_goes_on() -> None:
    lost = made("run_lost", 3, T0 + 9_000, reason="gone")
    told = shown(
        made("agent_started", 1, T0),
        made("tool_executing", 2, T0 + 100, tool_call_id="c", tool="search"),
        lost,
        made("tool_completed", 4, T0 + 9_500, tool_call_id="c"),
        made("agent_started", 1, T0 + 10_000, attempt=2),
        made("tool_executing", 2, T0 + 10_100, attempt=2, tool_call_id="c", tool="search"),
    )
    (rows,) = told["runs"]
    assert [(row["attempt"], row["status"], row["end"]) for row in rows] == [(1, "lost", T0 + 9_000), (2, "running", None)]
    assert [bar["status"] for row in rows for bar in row["bars"]] == ["cut", "running"]
    assert (rows[0]["bars"][0]["end"], told["void"]) == (T0 + 9_000, 1)
    assert rows[1]["silences"] == [{"begin": T0 + 10_100, "end": None}]  # still
    again = shown(made("agent_started", 1, T0), made("agent_started", 1, T0 + 500, attempt=2))["runs"][0]
    assert [row["status"] for row in again] == ["superseded", "running"]


def test_waiting_for_the_user_is_no_silence_and_sub_agents_break_one() -> None:
    told = shown(
        made("agent_started", 1, T0),
        made("input_requested", 2, T0 + 100, request_id="q", type="approval", prompt="Send it?"),
        made("input_resolved", 3, T0 + 60_100, request_id="q", outcome="answered"),
        made("agent_started", 1, T0 + 60_200, run="child", parent="r"),
        *(made("agent_thinking", seq, T0 + 60_000 + 500 * seq, run="child", parent="r", text="on it") for seq in range(2, 12)),
        made("agent_completed", 4, T0 + 65_600),
        made("agent_completed", 12, T0 + 65_700, run="child", parent="r"),
        made("agent_started", 1, T0 + 70_000, run="other"),
        now=T0 + 70_100,
    )
    other, (above, child) = told["runs"]
    assert [row["run"] for row in other] == ["other"]  # the newest first
    assert (above["depth"], child["depth"], child["run"]) == (0, 1, "child")
    assert [(bar["status"], bar["end"] - bar["begin"]) for bar in above["bars"]] == [("waited", 60_000)]
    assert above["silences"] == []
    assert shown(made("agent_started", 1, T0), made("input_requested", 2, T0, request_id="q"))["runs"][0][0]["status"] == "waiting"


def test_what_begins_in_the_midst_says_so_and_runs_above_each_other_are_shown() -> None:
    told = shown(
        made("tool_completed", 9, T0 + 5_000, tool_call_id="c", tool="search", status="ok", duration_ms=99_000),
        made("agent_started", 1, T0 + 6_000, run="x", parent="y"),
        made("agent_started", 1, T0 + 6_000, run="y", parent="x"),
    )
    assert sorted(row["run"] for rows in told["runs"] for row in rows) == ["r", "x", "y"]
    cut = next(row for rows in told["runs"] for row in rows if row["run"] == "r")
    assert cut["cut_off"]
    assert [(bar["begin"], bar["end"]) for bar in cut["bars"]] == [(T0 + 5_000, T0 + 5_000)]


def test_everything_is_bounded() -> None:
    timeline = Timeline()
    seq = 0
    for number in range(3 * bounds.FOUND_RUNS_MAX):
        for child in range(9):
            seq += 1
            parent = f"r{number}" if child else ""
            run = f"r{number}.{child}" if child else f"r{number}"
            timeline.take(RecordedBatch("e", seq, T0 + seq, [made("agent_started", 1, T0, run=run, parent=parent)]))
    told = timeline.told(T0 + seq)
    assert sum(len(rows) for rows in told["runs"]) <= bounds.FOUND_ROWS_MAX
    assert told["dropped"] == 27 * bounds.FOUND_RUNS_MAX - sum(len(rows) for rows in told["runs"])
    assert told["runs"][0][0]["run"] == f"r{3 * bounds.FOUND_RUNS_MAX - 1}"
    many = 2 * bounds.FOUND_BARS_MAX
    tools = [made("tool_executing", n + 2, T0 + n, tool_call_id=str(n), tool=str(n)) for n in range(many)]
    told = shown(made("agent_started", 1, T0), *tools)
    ((row,),) = told["runs"]
    assert (len(row["bars"]), row["left_out"], row["bars"][-1]["name"]) == (
        bounds.FOUND_BARS_MAX,
        many - bounds.FOUND_BARS_MAX,
        str(many - 1),
    )
    attempts = [made("agent_started", 1, T0 + n, attempt=n + 1) for n in range(bounds.FOUND_ROWS_MAX + 5)]
    told = shown(*attempts)
    assert (len(told["runs"][0]), told["dropped"], told["runs"][0][-1]["status"]) == (bounds.FOUND_ROWS_MAX, 5, "running")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "say", "ask", "answer", "again"]),
        st.integers(0, 5),  # which call, or question
        st.integers(-200, 8_000),  # since the step before, by the agent's clock
        st.integers(0, 3_000),  # how late it is stored
    ),
    max_size=60,
)
KINDS = {"begin": "tool_executing", "end": "tool_completed", "say": "agent_thinking", "ask": "input_requested", "answer": "input_resolved"}


@given(STEPS, st.integers(-10_000_000, 10_000_000))
def test_each_call_has_its_bar_in_order_and_none_overlaps(steps: list[tuple[str, int, int, int]], clock: int) -> None:
    timeline = Timeline()
    at = stored = T0
    attempt, seq, begun = 1, 1, Counter({1: 0})
    timeline.take(RecordedBatch("e", 1, T0, [made("agent_started", 1, T0 + clock)]))
    for number, (what, which, passed, late) in enumerate(steps, 2):
        at += passed
        stored = max(stored, at + late)
        seq += 1
        if what == "again":
            attempt, seq = attempt + 1, 1
            event = made("agent_started", 1, at + clock, attempt=attempt)
        else:
            data = {"request_id": str(which)} if what in ("ask", "answer") else {"tool_call_id": str(which)} if what != "say" else {}
            event = made(KINDS[what], seq, at + clock, attempt=attempt, **data)
            begun[attempt] += what in ("begin", "ask")
        timeline.take(RecordedBatch("e", number, stored, [event]))
    (rows,) = timeline.told(stored)["runs"]
    assert [row["attempt"] for row in rows] == list(range(1, attempt + 1))
    for row in rows:
        bars, end = row["bars"], row["end"] or stored
        assert len(bars) >= begun[row["attempt"]]  # and so has one that ended, and whose beginning nobody saw
        assert [bar.begin for bar in bars] == sorted(bar.begin for bar in bars)
        assert row["begin"] <= end <= stored
        for bar in bars:
            assert row["begin"] <= bar.begin <= (bar.end if bar.end is not None else end) <= end
            assert (bar.end is None) == (bar.status in ("running", "waiting"))
            assert row["end"] is None or bar.end is not None  # nothing goes on in what is over
        for silence in row["silences"]:
            assert silence.end is None or silence.end - silence.begin >= bounds.SILENCE_MIN_S * 1000
        by_lane: dict[int, int | None] = {}
        for bar, lane in zip(bars, row["lanes"], strict=True):
            if lane in by_lane:
                until = by_lane[lane]
                assert until is not None
                assert until <= bar.begin
            by_lane[lane] = bar.end


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20) | st.none())))
def test_there_are_as_many_lanes_as_bars_at_once_and_none_overlaps_in_one(wanted: list[tuple[int, int | None]]) -> None:
    spans = sorted(((begin, None if length is None else begin + length) for begin, length in wanted), key=lambda span: span[0])
    lanes = lanes_of(spans)
    for number, lane in enumerate(lanes):
        begin = spans[number][0]
        at_once = [other for other, (_, end) in zip(lanes, spans[:number], strict=False) if end is None or end > begin]
        assert lane not in at_once
        assert lane <= len(at_once)
