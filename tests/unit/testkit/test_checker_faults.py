"""The checker and what is broken: superseded attempts, losses declared once and not without reason, and nobody who waits for a drain."""

import pytest

from runcast.testkit.calm import AFTERMATH_S, Calm
from runcast.testkit.check_drains import WAIT_MAX_S
from runcast.testkit.checker import LOSS_S, check
from runcast.testkit.history import Dropped, Failed, Injected, Planned, Receipted, Seen
from tests.unit.testkit.stories import Story, clean_story, only, seen

KINDS = ["agent_started", "agent_thinking", "agent_completed"]


def later() -> Story:
    """The clean story, with more to come, long after its fault."""
    story = clean_story()
    story.records.pop()
    story.t += 60.0
    return story


def both(story: Story, at: int, *events: object) -> None:
    for device in ("d1", "d2"):
        story.frame("u", device, at, at + 1, *events)  # type: ignore[arg-type]


# --- attempts ---


def superseded() -> Story:
    story = later()
    story.plan("u", "x", kinds=KINDS)
    story.plan("u", "x", 2, kinds=KINDS)
    both(story, 8, seen("x", 1, kind="agent_started"))
    both(story, 9, seen("x", 1, attempt=2, kind="agent_started"))
    return story


def test_what_comes_late_of_a_superseded_attempt_is_left_out() -> None:
    story = superseded()
    both(story, 10)
    both(story, 11, seen("x", 2, attempt=2, kind="agent_completed"))
    story.ack("u", "x", 3, 11)
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_false_receipt_for_what_came_late_and_was_left_out() -> None:
    story = superseded()
    story.open("u", "d1", 10, 10, asked=f"aaaaaaaa-{10:016d}")
    both(story, 10)
    story.ack("u", "x", 3, 11)
    story.add(Receipted, "u", "x", 1, 3, "delivered", "d1", 3.0)
    both(story, 11, seen("x", 2, attempt=2, kind="agent_completed"))
    story.settle()
    assert "x.1.3" in only(check(story.records), "false_receipts")


def test_stale_what_comes_late_of_a_superseded_attempt_is_given_by_who_knew() -> None:
    story = superseded()
    story.t += 0.1
    both(story, 10, seen("x", 2, kind="agent_thinking"))
    both(story, 11, seen("x", 2, attempt=2, kind="agent_completed"))
    story.settle()
    assert "x.1.2" in only(check(story.records), "stale", 2)


def test_what_was_under_way_when_an_edge_came_to_know_may_still_be_given() -> None:
    story = superseded()
    both(story, 10, seen("x", 2, kind="agent_thinking"))  # emitted 5 ms ago
    both(story, 11, seen("x", 2, attempt=2, kind="agent_completed"))
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert verdict.superseded == 2


def test_a_device_that_goes_back_into_a_merged_frame_remembers_what_it_told_of_attempts() -> None:
    story = superseded()
    both(story, 10)
    story.open("u", "d1", 0, 11, "reset", asked="rubbish", trick="malformed", reason="malformed")
    end = (Seen("m", "user_message"), seen("r", 6), seen("r", 7))
    begun = (seen("x", 1, kind="agent_started"), seen("x", 1, attempt=2, kind="agent_started"))
    story.frame("u", "d1", 0, 11, *(seen("r", seq) for seq in range(1, 6)), *end, *begun)
    story.open("u", "d1", 10, 11, asked=f"aaaaaaaa-{10:016d}", trick="old")
    story.frame("u", "d1", 10, 11, seen("x", 3, kind="agent_completed"))
    both(story, 11, seen("x", 2, attempt=2, kind="agent_completed"))
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_stale_what_comes_after_a_loss_is_given_by_who_knew() -> None:
    story = later()
    story.add(Injected, "agent", "agent-0", story.t + 1)
    story.plan("u", "x", kinds=KINDS)
    both(story, 8, seen("x", 1, kind="agent_started"))
    both(story, 9, seen("x", 2, kind="run_lost"))
    story.t += 0.1
    both(story, 10, seen("x", 3, kind="agent_completed"))
    story.settle()
    assert "x.1.3" in only(check(story.records), "stale", 2)


def test_what_comes_after_a_loss_is_void_for_who_connects_later() -> None:
    story = later()
    story.add(Injected, "agent", "agent-0", story.t + 1)
    story.plan("u", "x", kinds=KINDS)
    both(story, 8, seen("x", 1, kind="agent_started"))
    both(story, 9, seen("x", 2, kind="run_lost"))
    for device in ("d1", "d2"):
        story.open("u", device, 10, 11, asked=f"aaaaaaaa-{10:016d}")
    both(story, 10, seen("x", 3, kind="agent_completed"))
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert verdict.superseded == 2


# --- losses ---


def lost(story: Story) -> Story:
    story.plan("u", "x", kinds=KINDS)
    both(story, 8, seen("x", 1, kind="agent_started"))
    both(story, 9, seen("x", 2, kind="run_lost"))
    return story


def test_declared_lost_while_all_was_well() -> None:
    story = lost(later())
    story.settle()
    assert "nothing was wrong with agent" in only(check(story.records), "false_losses")


@pytest.mark.parametrize(("kind", "target", "excused"), [("agent", "agent-1", True), ("edge", "edge-0", False), ("nats", "leader", True)])
def test_declared_lost_for_a_reason(kind: str, target: str, excused: bool) -> None:
    story = later()
    story.add(Injected, kind, target, story.t + 1)
    story.t += LOSS_S - 1
    story = lost(story)
    story.settle()
    verdict = check(story.records)
    assert verdict.clean == excused, verdict.examples


def test_an_agent_may_give_a_run_up_itself() -> None:
    story = lost(later())
    story.add(Failed, "u", "x", 1, [2], [], "indeterminate")
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_without_an_agents_own_word_losses_and_cancels_are_not_judged() -> None:
    story = lost(later())
    story.plan("u", "y", kinds=KINDS)
    both(story, 10, seen("y", 1, kind="agent_started"), seen("y", 2, kind="run_cancelled"))
    for record in story.records:
        if isinstance(record, Planned):
            record.agent = ""
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_declared_lost_twice() -> None:
    story = later()
    story.add(Injected, "agent", "agent-1", story.t + 1)
    story = lost(story)
    both(story, 10, seen("x", 3, kind="run_lost"))
    story.settle()
    assert "second end" in only(check(story.records), "duplicated", 2)


# --- drains ---


def drained(wait_s: float, *, status: int = 0) -> Story:
    """An edge is asked to end; what is emitted then is shown so much later to d2, and at once to d1."""
    story = later()
    story.add(Injected, "drain", "edge-0", story.t + 6, "term", status)
    story.plan("u", "x", kinds=["agent_started", "agent_completed"])
    story.frame("u", "d1", 8, 9, seen("x", 1), seen("x", 2, kind="agent_completed"))
    story.t += wait_s
    story.frame("u", "d2", 8, 9, seen("x", 1), seen("x", 2, kind="agent_completed"))
    for record in story.records[-2:]:
        record.ms = 10_000 + int(1000 * record.t)  # type: ignore[union-attr]
    for record in story.records[-2:]:
        for event in record.events:  # type: ignore[union-attr]
            event.ms = 10_000 + int(1000 * (story.t - wait_s)) - 2
    return story


def test_a_drain_that_nobody_notices() -> None:
    story = drained(WAIT_MAX_S - 0.1)
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    assert (verdict.drain.count, round(verdict.drain.max / 1000, 1)) == (4, WAIT_MAX_S - 0.1)


def test_somebody_waits_for_a_drain() -> None:
    story = drained(WAIT_MAX_S + 0.1)
    story.settle()
    assert "d2 of u had x.1.1 3.1 s after it was emitted, while edge-0" in only(check(story.records), "drain_waits", 2)


def test_a_process_that_did_not_end_well() -> None:
    story = drained(0.1, status=-9)
    story.settle()
    assert "exit status -9" in only(check(story.records), "drain_waits")


@pytest.mark.parametrize("why", ["another fault", "by its own will", "slow", "not yet there"])
def test_a_wait_that_has_another_reason(why: str) -> None:
    story = drained(WAIT_MAX_S + 0.1)
    match why:
        case "another fault":
            story.records.append(Injected(t=story.t - 1, kind="nats", target="nats-0", healed=story.t))
        case "by its own will":
            story.records.append(Dropped(t=story.t, user="u", device="d2", meant=True))
        case "slow":
            story.open("u", "d2", 9, 9, asked=f"aaaaaaaa-{9:016d}", slow=True)
        case "not yet there":
            for record in story.records:
                if getattr(record, "kind", "") == "drain":
                    record.t = -1.0
    story.settle()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


def test_what_was_broken_and_when() -> None:
    fault = Injected(t=100.0, kind="edge", target="edge-0", healed=102.0)
    calm = Calm([fault])
    assert calm.during(98.0, 99.9)
    assert not calm.during(98.0, 100.0)
    assert not calm.during(102.0 + AFTERMATH_S, 200.0)
    assert calm.during(102.1 + AFTERMATH_S, 200.0)
    assert calm.during(98.0, 101.0, lambda each: each.kind != "edge")


def test_receipts_are_timed_apart_while_nothing_is_broken() -> None:
    story = later()
    story.add(Injected, "nats", "nats-0", story.t + 1)
    story.add(Receipted, "u", "r", 1, 7, "delivered", "d2", 50.0)
    story.t += 60.0
    story.add(Receipted, "u", "r", 1, 7, "delivered", "d2", 4.0)
    story.settle()
    verdict = check(story.records)
    assert (verdict.receipt.count, verdict.receipt_calm.count, verdict.receipt_calm.max) == (3, 1, 4.0)
