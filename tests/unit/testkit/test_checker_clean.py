"""What the checker must not take for an anomaly, and what it measures."""

from runcast.testkit.checker import check
from runcast.testkit.history import (
    Answered,
    Dropped,
    Failed,
    Parked,
    Seen,
    Sent,
    Taken,
)
from runcast.testkit.verdict import spread
from tests.unit.testkit.stories import PLAN, Story, change, clean_story, events_of, is_frame, only, pos, seen

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
