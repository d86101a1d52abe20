"""The checker against hand-made histories: clean ones, and ones that contain each anomaly, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.testkit.checker import check
from runcast.testkit.history import (
    Acked,
    Answered,
    Dropped,
    Failed,
    Framed,
    Handled,
    Opened,
    Parked,
    Receipted,
    Seen,
    Sent,
    Taken,
    from_lines,
    to_line,
)
from runcast.testkit.verdict import spread
from tests.unit.testkit.stories import PLAN, Story, change, clean_story, events_of, is_frame, only, pos, seen


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


# --- what is no anomaly ---


def test_what_is_indeterminate_may_be_there_or_not() -> None:
    for there in (True, False):
        story = clean_story()
        story.records.pop()
        story.plan("u", "x", kinds=["agent_started", "agent_completed"])
        story.add(Failed, "u", "x", 1, [1, 2], [])
        if there:
            for device in ("d1", "d2"):
                story.frame("u", device, 8, 9, seen("x", 1), seen("x", 2, kind="agent_completed"))
        story.settle(("u", "d1"), ("u", "d2"))
        verdict = check(story.records)
        assert verdict.clean, verdict.examples
        assert verdict.indeterminate == 2


def test_a_reset_allows_everything_again() -> None:
    story = clean_story()
    story.open("u", "d1", 0, 8, "reset", asked=pos(99), trick="future", reason="future")
    story.frame("u", "d1", 0, 8, *(seen("r", seq) for seq in range(1, 6)), Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_a_reset_past_the_beginning_owes_only_what_is_kept() -> None:
    story = clean_story()
    story.records.pop()
    story.open("u", "d3", 3, 8, "reset", reason="expired")
    story.frame("u", "d3", 3, 8, seen("r", 5), Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    story.settle(("u", "d3"))
    verdict = check(story.records, expires=True)
    assert verdict.clean, verdict.examples
    assert verdict.resets == 1


def test_a_device_that_goes_back_is_shown_things_again() -> None:
    story = clean_story()
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 3, 8, asked=pos(3), trick="old")
    story.frame("u", "d1", 3, 4, seen("r", 5))
    story.frame("u", "d1", 3, 4, seen("r", 5))  # a repeat
    story.frame("u", "d1", 4, 8, Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_a_device_that_went_back_is_owed_it_all_again() -> None:
    story = clean_story()
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 3, 8, asked=pos(3), trick="old")
    assert "stayed at 3" in only(check(story.records), "lost", 4)


def test_merged_events_stand_for_a_range() -> None:
    story = clean_story()
    change(story, is_frame("d2", 3), events_of(lambda events: [events[0], seen("r", 4, first=3)]))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_a_device_that_goes_back_twice_into_a_merged_frame_has_not_been_shown_less() -> None:
    story = clean_story()
    end = (Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 0, 8, "reset", asked="rubbish", trick="malformed", reason="malformed")
    story.frame("u", "d1", 0, 8, seen("r", 1), seen("r", 4, first=2), seen("r", 5), *end)
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 2, 8, asked=pos(2), trick="old")
    story.frame("u", "d1", 2, 8, seen("r", 4, first=3), seen("r", 5), *end)
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 4, 8, asked=pos(4), trick="old")
    story.frame("u", "d1", 4, 8, *end)
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_what_a_superseded_attempt_says_late_is_dropped() -> None:
    story = clean_story()
    story.records.pop()
    story.plan("u", "x", kinds=["agent_started", "agent_response", "agent_completed"])
    story.plan("u", "x", 2, kinds=["agent_started", "agent_completed"])
    for device in ("d1", "d2"):
        story.frame("u", device, 8, 9, seen("x", 1))
        story.frame("u", device, 9, 10, seen("x", 1, attempt=2))
    # One edge leaves the late event out, another one, which has not read what superseded it, does not: both are right, the reader drops it.
    story.open("u", "d1", 10, 11, asked=pos(10))
    story.frame("u", "d1", 10, 11, seen("x", 2, kind="agent_response"))
    story.frame("u", "d2", 10, 11)
    story.ack("u", "x", 2, 11)
    for device in ("d1", "d2"):
        story.frame("u", device, 11, 12, seen("x", 2, attempt=2, kind="agent_completed"))
    story.settle(("u", "d1"), ("u", "d2"))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert verdict.superseded == 1


def test_a_run_declared_lost_has_an_end() -> None:
    story = clean_story()
    story.records.pop()
    story.plan("u", "x", kinds=PLAN)
    for device in ("d1", "d2"):
        story.frame("u", device, 8, 9, *(seen("x", seq) for seq in range(1, 6)))
        story.frame("u", device, 9, 10, seen("x", 6), seen("x", 7, kind="run_lost"))
    story.add(Failed, "u", "x", 1, [], [6, 7], "run_lost")
    story.settle(("u", "d1"), ("u", "d2"))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_redelivery_and_parking_are_no_anomalies() -> None:
    story = clean_story()
    story.records.pop()
    story.add(Taken, "m", "u", "agent2", 2, 77)
    story.add(Sent, "m2", "u", "d1")
    story.add(Answered, "m2", "u", "d1", "stored")
    for device in ("d1", "d2"):
        story.frame("u", device, 8, 9, Seen("m2", "user_message"))
    story.add(Parked, "m2", "u", 5)
    story.settle(("u", "d1"), ("u", "d2"))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert (verdict.upstream_redelivered, verdict.parked) == (1, 1)


def test_recovery_is_from_the_loss_until_caught_up() -> None:
    story = clean_story()
    story.records.pop()
    lost = story.add(Dropped, "u", "d1")
    story.add(Dropped, "u", "d1")
    story.add(Sent, "m2", "u", "d2")
    story.frame("u", "d2", 8, 9, Seen("m2", "user_message"))
    story.open("u", "d1", 8, 9, asked=pos(8))
    story.frame("u", "d1", 8, 9, Seen("m2", "user_message"))
    took_ms = 1000 * (story.t - lost.t)
    story.settle(("u", "d1"), ("u", "d2"))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert (verdict.recover.count, round(verdict.recover.max)) == (1, round(took_ms))


def test_who_left_on_purpose_meanwhile_did_not_wait() -> None:
    story = clean_story()
    story.records.pop()
    story.add(Dropped, "u", "d1")
    story.add(Dropped, "u", "d1", meant=True)
    story.open("u", "d1", 8, 8, asked=pos(8))
    story.settle(("u", "d1"), ("u", "d2"))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert verdict.recover.count == 0


def test_who_is_slow_on_purpose_is_not_timed() -> None:
    story = Story()
    story.open("u", "d1", 0, 0, slow=True)
    story.plan("u", "r")
    story.frame("u", "d1", 0, 1, seen("r", 1))
    story.add(Dropped, "u", "d1")
    story.open("u", "d1", 1, 1, asked=pos(1), slow=True)
    verdict = check(story.records)
    assert (verdict.recover.count, verdict.latency.count, verdict.shown) == (0, 0, 1)


def test_spread() -> None:
    assert spread([]).count == 0
    hundred = spread([float(n) for n in range(1, 101)])
    assert (hundred.p50, hundred.p99, hundred.max) == (51.0, 100.0, 100.0)


# --- any clean history, and any one anomaly in it ---


@st.composite
def logs(draw: st.DrawFn) -> Story:
    """A random log of one user, shown whole to two devices that come and go, with frames over one or more batches."""
    story = Story()
    runs = draw(st.integers(1, 3))
    kinds = {
        f"r{n}": ["agent_started", *draw(st.lists(st.sampled_from(["custom", "agent_response"]), max_size=4)), "agent_completed"]
        for n in range(runs)
    }
    for run, plan in kinds.items():
        story.plan("u", run, kinds=plan)
    ahead = dict.fromkeys(kinds, 0)
    log: list[tuple[int, list[Seen]]] = []
    at = 0
    while left := [run for run in kinds if ahead[run] < len(kinds[run])]:
        run = draw(st.sampled_from(left))
        count = draw(st.integers(1, len(kinds[run]) - ahead[run]))
        at += draw(st.integers(1, 3))
        first = ahead[run] + 1
        log.append((at, [seen(run, seq, kind=kinds[run][seq - 1]) for seq in range(first, first + count)]))
        ahead[run] += count
        story.ack("u", run, ahead[run], at)
    for device in ("d1", "d2"):
        held = index = 0
        stops = [(0, 0)]
        backs = draw(st.integers(0, 2))
        story.open("u", device, 0, at)
        while index < len(log):
            if backs and draw(st.booleans()):
                backs -= 1
                del stops[draw(st.integers(1, len(stops))) :]
                held, index = stops[-1]
                story.open("u", device, held, at, asked=pos(held), trick="old")
                continue
            count = draw(st.integers(1, min(3, len(log) - index)))
            upto = log[index + count - 1][0]
            story.frame("u", device, held, upto, *(event for _, events in log[index : index + count] for event in events))
            held, index = upto, index + count
            stops.append((held, index))
    story.settle(("u", "d1"), ("u", "d2"))
    return story


@given(logs())
def test_every_clean_log_is_clean(story: Story) -> None:
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


@given(logs(), st.sampled_from(["drop frame", "drop event", "twice", "swap", "foreign", "phantom", "nobody"]), st.data())
def test_one_anomaly_is_found_wherever_it_is(story: Story, which: str, data: st.DataObject) -> None:
    last_open = {record.device: n for n, record in enumerate(story.records) if isinstance(record, Opened)}
    frames = [n for n, r in enumerate(story.records) if isinstance(r, Framed) and n > last_open[r.device]]
    if not frames:
        return
    n = data.draw(st.sampled_from(frames))
    frame = story.records[n]
    assert isinstance(frame, Framed)
    events = list(frame.events)
    index = data.draw(st.integers(0, len(events) - 1))
    match which:
        case "drop frame":
            del story.records[n]
        case "drop event":
            del events[index]
        case "twice":
            events.append(events[index])
        case "swap":
            if len(events) < 2:
                return
            events.reverse()
        case "foreign":
            story.plan("v", "foreign")
            story.records.insert(0, story.records.pop())
            events.insert(index, seen("foreign", 1))
        case "phantom":
            events.insert(index, seen("nobody", 1))
        case "nobody":
            gone = events[index].id
            story.records = [
                events_of(lambda all_: [event for event in all_ if event.id != gone])(r) if isinstance(r, Framed) else r
                for r in story.records
            ]
            assert check(story.records).anomalies["lost"] >= 1
            return
    if which != "drop frame":
        frame.events = events
    verdict = check(story.records)
    wanted = {"drop frame": "gaps_unannounced lost", "drop event": "gaps_unannounced", "twice": "duplicated", "swap": "reordered",
              "foreign": "leaked", "phantom": "leaked"}[which]  # fmt: skip
    assert any(verdict.anomalies[kind] for kind in wanted.split()), (which, verdict)
