"""The outbox's rules, one by one."""

import pytest

from runcast.client.errors import EventTooLargeError, OutboxFullError
from runcast.client.line import MESSAGE_BYTES_MAX
from runcast.client.outbox import Outbox
from runcast.client.run_queue import Stored
from runcast.v1.event_pb2 import Batch
from runcast.v1.ingest_pb2 import Window
from runcast.wire import limits
from runcast.wire.errors import LifecycleError
from tests.unit.client.events import fatal, key, said, started
from tests.unit.client.outboxes import POSITION, ack, begin, connect, opened, refuse


def test_events_get_their_identity_and_pile_up_behind_the_batch_in_flight() -> None:
    outbox = Outbox("p")
    connect(outbox)
    run = begin(outbox, "r1")
    [first] = outbox.take_batches(0.0)
    assert [outbox.append(0.0, run, said(text)) for text in "abc"] == [2, 3, 4]
    assert outbox.take_batches(0.0) == []
    ack(outbox, first)
    [second] = outbox.take_batches(0.0)
    assert (first.number, second.number, second.producer, second.user.id) == (1, 2, "p", "alice")
    assert [event.seq for event in second.events] == [2, 3, 4]
    assert second.events[0].id == "r1.1.2"
    assert outbox.take_results() == [Stored(run, 1, 1, POSITION, False)]
    ack(outbox, second)
    assert outbox.progress(run) == (4, 4, POSITION)
    assert (outbox.events, outbox.bytes, outbox.unanswered) == (0, 0, (0, 0))


def test_a_batch_is_bounded_by_count() -> None:
    outbox, run = opened()
    for _ in range(limits.BATCH_EVENTS_MAX + 5):
        outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(0.0)
    assert len(batch.events) == limits.BATCH_EVENTS_MAX
    ack(outbox, batch)
    [rest] = outbox.take_batches(0.0)
    assert len(rest.events) == 5


def test_a_batch_is_bounded_by_bytes() -> None:
    outbox, run = opened()
    for _ in range(5):
        outbox.append(0.0, run, said("x" * 200 * limits.KIB))
    sizes = []
    while batches := outbox.take_batches(0.0):
        sizes.append(len(batches[0].events))
        assert batches[0].ByteSize() <= limits.BATCH_BYTES_MAX
        ack(outbox, batches[0])
    assert sizes == [2, 2, 1]


def test_one_message_is_bounded_and_serves_all_runs_in_turn() -> None:
    outbox = Outbox("p")
    connect(outbox)
    runs = [begin(outbox, f"r{index}") for index in range(6)]
    for run in runs:
        for _ in range(2):
            outbox.append(0.0, run, said("x" * 200 * limits.KIB))
    first = outbox.take_batches(0.0)
    assert sum(batch.ByteSize() for batch in first) <= MESSAGE_BYTES_MAX
    second = outbox.take_batches(0.0)
    served = [batch.run_id for batch in first + second]
    assert sorted(served) == ["r0", "r1", "r2", "r3", "r4", "r5"]


def test_runs_take_turns_under_a_narrow_window() -> None:
    outbox = Outbox("p")
    connect(outbox, batches=1)
    runs = [begin(outbox, name) for name in ("a", "b", "c")]
    served = []
    for _ in range(9):
        for run in runs:
            outbox.append(0.0, run, said("x"))
        [batch] = outbox.take_batches(0.0)
        served.append(batch.run_id)
        ack(outbox, batch)
    assert served == ["a", "b", "c"] * 3


def test_the_window_bounds_what_is_unanswered_but_lets_one_batch_pass() -> None:
    outbox = Outbox("p")
    connect(outbox, size=10)
    for name in ("a", "b"):
        begin(outbox, name)
    [batch] = outbox.take_batches(0.0)
    assert outbox.take_batches(0.0) == []
    ack(outbox, batch)
    assert [next_one.run_id for next_one in outbox.take_batches(0.0)] == ["b"]


def test_a_new_window_replaces_the_old_one() -> None:
    outbox = Outbox("p")
    connect(outbox, batches=0)
    begin(outbox, "a")
    assert outbox.take_batches(0.0) == []
    outbox.take_window(0.0, Window(batches=1, bytes=1000))
    assert len(outbox.take_batches(0.0)) == 1


def test_what_is_unanswered_is_sent_again_first_and_unchanged() -> None:
    outbox = Outbox("p")
    connect(outbox)
    runs = [begin(outbox, name) for name in ("a", "b")]
    lost = [batch.SerializeToString(deterministic=True) for batch in outbox.take_batches(0.0)]
    begin(outbox, "c")
    for run in runs:
        outbox.append(0.0, run, said("later"))
    outbox.disconnected()
    assert outbox.take_batches(1.0) == []
    connect(outbox, 2.0)
    again = outbox.take_batches(2.0)
    assert [batch.SerializeToString(deterministic=True) for batch in again[:2]] == lost
    assert again[2].run_id == "c"


def test_a_late_or_repeated_answer_changes_nothing() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, said("x"))
    [batch] = outbox.take_batches(0.0)
    ack(outbox, batch)
    outbox.take_results()
    ack(outbox, batch)
    refuse(outbox, batch)
    stray = Batch(run_id="nobody", attempt=1, number=1)
    ack(outbox, stray)
    refuse(outbox, stray)
    assert outbox.take_results() == []
    assert outbox.progress(run)[1] == 2


def test_full_refuses_and_keeps_a_reserve_for_closing_events() -> None:
    outbox = Outbox("p", events_max=3)
    run = begin(outbox, "r1")
    outbox.append(0.0, run, said("a"))
    outbox.append(0.0, run, said("b"))
    with pytest.raises(OutboxFullError):
        outbox.append(0.0, run, said("c"))
    assert outbox.append(0.0, run, fatal(), closing=True) == 4
    connect(outbox)
    [batch] = outbox.take_batches(0.0)
    assert [event.seq for event in batch.events] == [1, 2, 3, 4]


def test_full_counts_bytes() -> None:
    outbox = Outbox("p", bytes_max=1000)
    run = begin(outbox, "r1")
    with pytest.raises(OutboxFullError):
        outbox.append(0.0, run, said("x" * 1000))
    outbox.append(0.0, run, said("x" * 500))


def test_too_large_and_out_of_life_are_refused_and_nothing_is_queued() -> None:
    outbox, run = opened()
    with pytest.raises(EventTooLargeError, match="agent_response has"):
        outbox.append(0.0, run, said("x" * limits.EVENT_BYTES_MAX))
    with pytest.raises(LifecycleError, match="started already"):
        outbox.append(0.0, run, started())
    assert outbox.events == 0
    assert outbox.append(0.0, run, said("fine")) == 2


def test_a_run_id_is_used_once() -> None:
    outbox, run = opened()
    with pytest.raises(LifecycleError, match="begun here before"):
        outbox.open_run(run)
    outbox.release_run(run)
    with pytest.raises(LifecycleError, match="next attempt"):
        outbox.open_run(run)
    with pytest.raises(LifecycleError, match="not open"):
        outbox.append(0.0, run, said("x"))
    outbox.open_run(key("r1", attempt=2))


def test_a_released_run_is_still_sent() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, fatal())
    outbox.release_run(run)
    [batch] = outbox.take_batches(0.0)
    ack(outbox, batch)
    assert [result.last_seq for result in outbox.take_results() if isinstance(result, Stored)] == [2]
    assert outbox.leftovers() == []
