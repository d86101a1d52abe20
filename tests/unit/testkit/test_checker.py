"""The checker against hand-made histories: clean ones, and ones that contain each anomaly, one by one."""

import pytest

from runcast.testkit.checker import check
from runcast.testkit.history import (
    Acked,
    Answered,
    Dropped,
    Failed,
    Framed,
    Handled,
    Receipted,
    Seen,
    Sent,
    Taken,
    from_lines,
    to_line,
)
from tests.unit.testkit.stories import PLAN, change, clean_story, events_of, is_frame, only, pos, seen


def test_a_clean_history_is_clean() -> None:
    verdict = check(clean_story().records)
    assert verdict.clean, verdict.examples
    assert (verdict.accepted, verdict.delivered, verdict.shown) == (14, 14, 23)
    assert (verdict.upstream_accepted, verdict.upstream_redelivered) == (1, 0)
    assert (verdict.receipts, verdict.faults) == ({"delivered": 1}, {"edge": 1})
    assert verdict.latency.max == 5


def test_lines_keep_everything_and_a_torn_one_is_left_out() -> None:
    records = clean_story().records
    lines = [to_line(record) for record in records]
    assert list(from_lines([*lines, b"\n", lines[0][:20]])) == records


def test_without_an_end_nothing_is_clean() -> None:
    story = clean_story()
    story.records.pop()
    verdict = check(story.records)
    assert not any(verdict.anomalies.values())
    assert not verdict.clean


# --- one anomaly at a time ---


def test_lost_acknowledged_and_shown_to_nobody() -> None:
    story = clean_story()
    for device in ("d1", "d2"):
        change(story, is_frame(device, 8), events_of(lambda events: events[:1]))
    verdict = check(story.records)
    assert verdict.anomalies["lost"] == 1
    assert "r.1.7" in verdict.examples["lost"][0]
    assert verdict.anomalies["frozen_runs"] == 1, "its end was lost"
    assert verdict.delivered == verdict.accepted - 1


def test_lost_a_device_that_stays_behind() -> None:
    story = clean_story()
    change(story, is_frame("d2", 8), lambda _: None)
    story.records = [record for record in story.records if not isinstance(record, Receipted)]
    assert "stayed at 5" in only(check(story.records), "lost", 2)


def test_lost_a_device_that_was_never_let_in() -> None:
    story = clean_story()
    story.settle(("u", "d1"), ("u", "d3"))
    assert "d3 of u" in only(check(story.records), "lost")


def test_lost_a_message_that_was_stored_and_not_shown() -> None:
    story = clean_story()
    story.records.pop()
    story.add(Sent, "m2", "u", "d1")
    story.add(Answered, "m2", "u", "d1", "stored")
    story.add(Taken, "m2", "u", "agent", 1, 78)
    story.add(Handled, "m2", "u", "agent")
    story.settle(("u", "d1"))
    assert "m2" in only(check(story.records), "lost")


def test_duplicated_the_same_event_twice() -> None:
    story = clean_story()
    change(story, is_frame("d1", 8), events_of(lambda events: [*events, events[-1]]))
    assert "r.1.7" in only(check(story.records), "duplicated")


def test_duplicated_a_batch_that_is_in_the_log_twice() -> None:
    story = clean_story()
    story.records.pop()
    for device in ("d1", "d2"):
        story.frame("u", device, 8, 9, seen("r", 6), seen("r", 7))
    story.settle(("u", "d1"), ("u", "d2"))
    only(check(story.records), "duplicated", 4)


def test_duplicated_an_attempt_that_ends_twice() -> None:
    story = clean_story()
    story.records.pop()
    for device in ("d1", "d2"):
        story.frame("u", device, 8, 9, seen("r", 8, kind="run_lost"))
    story.settle(("u", "d1"), ("u", "d2"))
    assert "second end" in only(check(story.records), "duplicated", 2)


def test_reordered_within_a_run() -> None:
    story = clean_story()
    change(story, is_frame("d1", 3), events_of(lambda events: [events[0], events[2], events[1]]))
    verdict = check(story.records)
    assert verdict.anomalies["reordered"] == 1
    assert "r.1.3" in verdict.examples["reordered"][0]


def test_reordered_after_the_end() -> None:
    story = clean_story()
    story.records.pop()
    story.plan("u", "late", kinds=["agent_started", "agent_completed", "agent_response"])
    for device in ("d1", "d2"):
        for seq, kind in enumerate(["agent_started", "agent_completed", "agent_response"], 1):
            story.frame("u", device, 7 + seq, 8 + seq, seen("late", seq, kind=kind))
    story.settle(("u", "d1"), ("u", "d2"))
    assert "after the end" in only(check(story.records), "reordered", 2)


def test_reordered_another_order_on_another_device() -> None:
    story = clean_story()
    change(story, is_frame("d2", 4), events_of(lambda _: [Seen("m", "user_message")]))
    change(story, is_frame("d2", 5), events_of(lambda _: [seen("r", 5)]))
    verdict = check(story.records)
    assert verdict.anomalies["reordered"] >= 1
    assert {kind for kind, count in verdict.anomalies.items() if count} == {"reordered"}


def test_reordered_within_one_frame_against_another_device() -> None:
    story = clean_story()
    change(story, is_frame("d2", 4), lambda _: None)
    change(
        story,
        is_frame("d2", 5),
        lambda r: Framed(t=r.t, user="u", device="d2", prev=pos(3), pos=pos(5), events=[Seen("m", "user_message"), seen("r", 5)]),
    )
    assert "other way round" in only(check(story.records), "reordered")


def test_leaked_another_users_event() -> None:
    story = clean_story()
    change(story, is_frame("d1", 2, "v"), events_of(lambda events: [*events, seen("r", 1)]))
    assert "r.1.1 of u was shown to d1 of v" in only(check(story.records), "leaked")


def test_leaked_another_users_message() -> None:
    story = clean_story()
    change(story, is_frame("d1", 2, "v"), events_of(lambda events: [*events, Seen("m", "user_message")]))
    only(check(story.records), "leaked")


@pytest.mark.parametrize(
    "event", [seen("nobody", 1), seen("r", 8, kind="tool_executing"), Seen("m9", "user_message"), Seen("r.1.9", "unknown", "r", 1, 9)]
)
def test_leaked_what_nobody_emitted(event: Seen) -> None:
    story = clean_story()
    change(story, is_frame("d1", 3), events_of(lambda events: [*events, event]))
    verdict = check(story.records)
    assert verdict.anomalies["leaked"] == 1


def test_leaked_a_message_handed_to_an_agent_for_another_user() -> None:
    story = clean_story()
    story.add(Taken, "m", "v", "agent", 2, 77)
    only(check(story.records), "leaked")


def test_gap_a_broken_chain() -> None:
    story = clean_story()
    change(story, is_frame("d1", 3), lambda _: None)
    assert "held 1 and got" in only(check(story.records), "gaps_unannounced")


def test_gap_a_frame_that_left_events_out() -> None:
    story = clean_story()
    change(story, is_frame("d1", 4), events_of(lambda _: []))
    assert "without [5]" in only(check(story.records), "gaps_unannounced")


def test_gap_resumed_behind_what_was_held() -> None:
    story = clean_story()
    story.records.pop()
    for at in (9, 10):
        story.add(Sent, f"m{at}", "u", "d1")
        story.frame("u", "d2", at - 1 if at > 9 else 8, at, Seen(f"m{at}", "user_message"))
    story.add(Dropped, "u", "d1")
    story.open("u", "d1", 10, 10, asked=pos(8))
    story.settle(("u", "d1"), ("u", "d2"))
    assert "held 8 and was resumed at 10" in only(check(story.records), "gaps_unannounced")


@pytest.mark.parametrize("trick", ["future", "epoch"])
def test_gap_a_position_that_was_believed(trick: str) -> None:
    story = clean_story()
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 8, 8, asked=pos(999), trick=trick)
    only(check(story.records), "gaps_unannounced")


def test_gap_a_merged_event_that_swallows_what_is_critical() -> None:
    story = clean_story()
    change(story, is_frame("d2", 3), lambda _: None)
    change(story, is_frame("d2", 4), lambda _: None)
    change(story, is_frame("d2", 5), lambda _: None)
    merged = lambda r: Framed(  # noqa: E731
        t=r.t, user="u", device="d2", prev=pos(1), pos=pos(8), events=[Seen("m", "user_message"), seen("r", 7, kind=PLAN[6], first=2)]
    )
    change(story, is_frame("d2", 8), merged)
    verdict = check(story.records)
    assert verdict.anomalies["gaps_unannounced"] >= 2


@pytest.mark.parametrize("reason", ["future", "expired", "unknown_epoch"])
def test_false_reset(reason: str) -> None:
    story = clean_story()
    story.open("u", "d1", 0, 5, "reset", asked=pos(8), reason=reason)
    story.frame("u", "d1", 0, 8, *(seen("r", seq) for seq in range(1, 6)), Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    assert f"reset({reason})" in only(check(story.records), "false_resets")


@pytest.mark.parametrize("believed", [True, False])
def test_a_cursor_under_another_users_position_may_have_expired(believed: bool) -> None:
    story = clean_story()
    if believed:
        story.open("u", "d1", 6, 8, asked=pos(6), trick="foreign")
        story.frame("u", "d1", 6, 8, seen("r", 6), seen("r", 7))
    story.open("u", "d1", 0, 8, "reset", reason="expired")
    story.frame("u", "d1", 0, 8, *(seen("r", seq) for seq in range(1, 6)), Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    verdict = check(story.records)
    assert verdict.anomalies["false_resets"] == (not believed)


def test_false_receipt_before_the_device_had_it() -> None:
    story = clean_story()
    receipt = next(record for record in story.records if isinstance(record, Receipted))
    story.records.remove(receipt)
    story.records.append(Receipted(t=0.0, user="u", run="r", attempt=1, upto=7, outcome="delivered", device="d1"))
    assert "r.1.7" in only(check(story.records), "false_receipts")


def test_false_receipt_of_a_device_that_is_not_there() -> None:
    story = clean_story()
    story.add(Receipted, "u", "r", 1, 7, "delivered", "d9", 1.0)
    only(check(story.records), "false_receipts")


def test_false_refusal() -> None:
    story = clean_story()
    story.records = [record for record in story.records if not (isinstance(record, Acked) and (record.run, record.upto) == ("r", 7))]
    story.add(Failed, "u", "r", 1, [], [6, 7], "batch_invalid")
    assert "said not to be stored" in only(check(story.records), "false_receipts", 2)


def test_an_attempt_that_another_agent_has_is_shown_for_that_one() -> None:
    story = clean_story()
    story.add(Failed, "u", "r", 1, [], [6, 7], "attempt_taken")
    assert check(story.records).clean


def test_false_position_in_an_acknowledgement() -> None:
    story = clean_story()
    story.ack("u", "r", 7, 7)
    story.ack("u", "r", 7, 5)
    assert "acknowledged at 5" in only(check(story.records), "false_receipts")


def test_upstream_lost() -> None:
    story = clean_story()
    story.records = [record for record in story.records if not isinstance(record, Taken | Handled)]
    assert "no agent got it" in only(check(story.records), "upstream_lost")


def test_upstream_duplicated() -> None:
    story = clean_story()
    story.add(Taken, "m", "u", "agent2", 1, 78)
    only(check(story.records), "upstream_duplicated")


def test_frozen() -> None:
    story = clean_story()
    for device in ("d1", "d2"):
        change(story, is_frame(device, 8), events_of(lambda events: events[:1]))
    change(story, lambda r: isinstance(r, Acked) and (r.run, r.upto) == ("r", 7), lambda _: None)
    change(story, lambda r: isinstance(r, Receipted), lambda _: None)
    assert "r of u" in only(check(story.records), "frozen_runs")
