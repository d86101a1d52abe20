"""A child's first batch waits in the outbox for its parent's first one, and for nothing else."""

import pytest

from runcast.client.errors import RunIndeterminateError, RunKey
from runcast.client.outbox import Outbox
from runcast.client.run_queue import Failed, Left
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.errors import LifecycleError
from runcast.wire.lifecycle import Lifecycle
from tests.unit.client.events import custom, fatal, key, said, started
from tests.unit.client.outbox_model import delta
from tests.unit.client.outboxes import ack, begin, connect, refuse


def begin_below(outbox: Outbox, run_id: str, parent: str, *, user: str = "alice", attempt: int = 1) -> RunKey:
    run = key(run_id, user, attempt)
    outbox.open_run(run)
    outbox.append(0.0, run, started(parent))
    return run


def family() -> tuple[Outbox, RunKey, RunKey]:
    """A parent and its child, both begun, nothing sent."""
    outbox = Outbox("p")
    connect(outbox)
    return outbox, begin(outbox, "parent"), begin_below(outbox, "child", "parent")


def sent(outbox: Outbox, now: float = 0.0) -> list[str]:
    return [batch.run_id for batch in outbox.take_batches(now)]


def serve(outbox: Outbox) -> list[str]:
    """Store all; the runs of the batches, as they were sent."""
    served = []
    while batches := outbox.take_batches(0.0):
        for batch in batches:
            served.append(batch.run_id)
            ack(outbox, batch)
    return served


def failures(outbox: Outbox) -> list[Failed]:
    return [result for result in outbox.take_results() if isinstance(result, Failed)]


def test_a_child_leaves_once_its_parents_start_is_stored_with_all_that_it_said() -> None:
    outbox, parent, child = family()
    outbox.append(0.0, child, said("a"))
    [first] = outbox.take_batches(0.0)
    assert first.run_id == "parent"
    outbox.append(0.0, parent, said("b"))
    outbox.append(0.0, child, delta("soft"))
    outbox.hurry(0.0, child)
    outbox.rouse()
    assert (outbox.take_batches(1.0), outbox.stirred, outbox.leftovers()[1].unsent[0].run_id) == ([], False, "child")
    ack(outbox, first, 1.0)
    assert outbox.stirred, "whoever sends is woken"
    after = {batch.run_id: [event.seq for event in batch.events] for batch in outbox.take_batches(1.0)}
    assert after == {"parent": [2], "child": [1, 2, 3]}


def test_later_batches_of_both_wait_for_nobody() -> None:
    outbox, parent, child = family()
    ack(outbox, outbox.take_batches(0.0)[0])
    ack(outbox, outbox.take_batches(0.0)[0])
    outbox.append(0.0, parent, said("unanswered"))
    assert sent(outbox) == ["parent"]
    outbox.append(0.0, child, said("not held up"))
    begin_below(outbox, "second", "parent")
    assert sent(outbox) == ["child", "second"]


def test_each_generation_waits_for_the_one_above_it() -> None:
    outbox, _, _ = family()
    begin_below(outbox, "grandchild", "child")
    for run_id in ("parent", "child", "grandchild"):
        [batch] = outbox.take_batches(0.0)
        assert batch.run_id == run_id
        ack(outbox, batch)
    assert outbox.events == 0


def test_all_children_of_a_run_leave_together_and_once() -> None:
    outbox = Outbox("p")
    connect(outbox, batches=2000)
    begin(outbox, "parent")
    children = [begin_below(outbox, f"c{index}", "parent").run_id for index in range(1000)]
    [first] = outbox.take_batches(0.0)
    ack(outbox, first)
    assert sent(outbox) == children
    ack(outbox, first)
    assert sent(outbox) == []


@pytest.mark.parametrize("definite", [True, False])
def test_a_start_that_is_put_off_or_sent_again_is_waited_for(definite: bool) -> None:
    outbox, _, _ = family()
    [first] = outbox.take_batches(0.0)
    refuse(outbox, first, 0.0, code="unavailable", retry=True, definite=definite, after_ms=3000)
    assert (outbox.take_batches(2.9), outbox.deadline()) == ([], 3.0)
    assert outbox.take_batches(3.0) == [first]
    outbox.disconnected()
    connect(outbox, 4.0)
    assert outbox.take_batches(4.0) == [first]
    ack(outbox, first, 5.0)
    assert sent(outbox, 5.0) == ["child"]


def test_a_start_that_was_refused_lets_its_children_go_without_it() -> None:
    outbox, _, _ = family()
    begin_below(outbox, "sister", "parent")
    [first] = outbox.take_batches(0.0)
    refuse(outbox, first, code="permission_denied")
    assert [(failed.key.run_id, failed.orphans) for failed in failures(outbox)] == [("parent", 2)]
    assert sent(outbox) == ["child", "sister"]


def test_no_horizon_runs_while_a_child_waits_and_a_start_past_its_own_lets_it_go() -> None:
    outbox, _, child = family()
    outbox.take_batches(0.0)
    outbox.disconnected()
    connect(outbox, 500.0)
    assert sent(outbox, 500.0) == ["child"]
    [failed] = failures(outbox)
    assert (failed.key.run_id, isinstance(failed.error, RunIndeterminateError), failed.orphans) == ("parent", True, 1)
    outbox.disconnected()
    assert outbox.deadline() == 600.0, "the child's own, from its own sending"
    assert outbox.append(500.0, child, said("well")) == 2


def test_an_outbox_full_of_waiting_children_still_sends_what_they_wait_for() -> None:
    outbox = Outbox("p", events_max=50)
    connect(outbox, batches=1, size=1)
    begin(outbox, "parent")
    children = [begin_below(outbox, f"c{index}", "parent").run_id for index in range(49)]
    assert (serve(outbox), outbox.events) == (["parent", *children], 0)


def test_nobody_waits_for_who_is_elsewhere_silent_over_or_another_users() -> None:
    outbox = Outbox("p")
    connect(outbox)
    begin_below(outbox, "elsewhere's", "elsewhere")
    outbox.open_run(key("silent"))
    begin_below(outbox, "silent's", "silent")
    begin_below(outbox, "own", "own")
    assert sent(outbox) == ["elsewhere's", "silent's", "own"]
    begin_below(outbox, "bob's", "own", user="bob")
    assert sent(outbox) == ["bob's"]
    begin(outbox, "refused")
    refuse(outbox, outbox.take_batches(0.0)[0])
    begin_below(outbox, "orphan", "refused")
    outbox.append(0.0, key("silent"), started("silent's"))
    assert sent(outbox) == ["orphan"], "who spoke first waits for nobody"


def test_a_child_waits_for_the_newest_attempt() -> None:
    outbox, _, _ = family()
    begin_below(outbox, "parent", "", attempt=2)
    begin_below(outbox, "second's", "parent")
    one, two = outbox.take_batches(0.0)
    ack(outbox, one)
    assert sent(outbox) == ["child"]
    ack(outbox, two)
    assert sent(outbox) == ["second's"]


def test_a_child_that_is_over_before_it_could_begin_is_shown_whole() -> None:
    outbox, parent, child = family()
    outbox.append(0.0, child, fatal(), closing=True)
    outbox.release_run(child)
    outbox.append(0.0, parent, fatal())
    outbox.release_run(parent)
    [first] = outbox.take_batches(0.0)
    ack(outbox, first)
    [second] = outbox.take_batches(0.0)
    assert (second.run_id, len(second.events)) == ("child", 2)
    ack(outbox, second)
    assert outbox.leftovers() == []
    with pytest.raises(LifecycleError, match="not open"):
        outbox.append(0.0, child, said("more"))


def left(run_id: str, parent: str, *, flown: int, waiting: int) -> Left:
    """What a dead process left of a run of which nothing is known to be stored."""
    events: list[Event] = []
    for seq in range(1, flown + waiting + 1):
        event = custom("{}") if seq > 1 else started(parent)
        event.run_id, event.attempt, event.seq = run_id, 1, seq
        events.append(event)
    return Left(key(run_id), 0, 0, Lifecycle(), tuple(events[:flown]), 0, 10.0 if flown else 0.0, tuple(events[flown:]))


def test_what_a_dead_process_left_keeps_the_order() -> None:
    outbox = Outbox("p")
    connect(outbox)
    outbox.restore_run(0.0, left("parent", "", flown=1, waiting=1))
    outbox.restore_run(0.0, left("child", "parent", flown=0, waiting=2))
    outbox.restore_run(0.0, left("grandchild", "child", flown=0, waiting=1))
    assert serve(outbox) == ["parent", "parent", "child", "grandchild"]


def test_what_may_have_been_sent_by_a_dead_process_waits_for_nobody() -> None:
    outbox = Outbox("p")
    connect(outbox)
    outbox.restore_run(0.0, left("parent", "", flown=0, waiting=1))
    outbox.restore_run(0.0, left("child", "parent", flown=1, waiting=0))
    assert sent(outbox) == ["parent", "child"]


def test_the_tables_are_empty_when_all_is_stored() -> None:
    outbox, parent, _ = family()
    outbox.append(0.0, parent, said("x" * 200 * limits.KIB))
    begin_below(outbox, "second", "child")
    assert serve(outbox) == ["parent", "child", "second"]
    assert (outbox.events, outbox.bytes, outbox.deadline()) == (0, 0, None)
    starts = outbox._starts
    assert (starts._pending, starts._below) == ({}, {})
