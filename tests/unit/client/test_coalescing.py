"""What rests in the outbox, what is merged, and what may be dropped."""

import pytest

from runcast.client.errors import OutboxFullError
from runcast.client.line import REST_SHARE
from runcast.client.outbox import Outbox
from runcast.v1.event_pb2 import Batch
from runcast.wire import limits_client as limits
from tests.unit.client.events import custom
from tests.unit.client.outbox_model import delta, thought
from tests.unit.client.outboxes import ack, begin, connect, opened


def texts(batch: Batch) -> list[str]:
    return [event.agent_response.text or event.agent_thinking.text for event in batch.events]


def test_the_first_piece_goes_at_once_and_the_next_ones_rest_and_go_together() -> None:
    outbox, run = opened()
    assert outbox.append(10.0, run, delta("a")) == 2
    [first] = outbox.take_batches(10.0)
    assert [outbox.append(10.001, run, delta(text)) for text in "bc"] == [3, 3]
    ack(outbox, first, 10.002)
    assert [outbox.append(10.003, run, delta(text)) for text in "de"] == [3, 3]
    assert outbox.take_batches(10.024) == []
    assert outbox.deadline() == 10.001 + REST_SHARE * limits.COALESCE_S
    [second] = outbox.take_batches(10.026)
    assert [(event.seq, event.agent_response.text) for event in second.events] == [(3, "bcde")]
    assert (outbox.counts.accepted, outbox.counts.merged) == (6, 3)


def test_what_comes_late_rests_until_the_last_sending_is_long_enough_ago() -> None:
    outbox, run = opened()
    outbox.append(10.0, run, delta("a"))
    ack(outbox, outbox.take_batches(10.0)[0], 10.001)
    outbox.append(10.03, run, delta("b"))
    assert outbox.deadline() == 10.0 + limits.COALESCE_S
    assert outbox.take_batches(10.039) == []
    ack(outbox, outbox.take_batches(10.04)[0], 10.041)
    outbox.append(10.09, run, delta("c"))
    assert len(outbox.take_batches(10.09)) == 1, "nothing was sent for long enough"


def test_the_newest_thinking_stands_for_those_that_waited() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, thought("one"))
    [first] = outbox.take_batches(0.0)
    for text in ("two", "a much longer three", "four"):
        assert outbox.append(0.0, run, thought(text)) == 3
    ack(outbox, first)
    [second] = outbox.take_batches(1.0)
    assert texts(second) == ["four"]
    assert second.events[0].id == "r1.1.3"
    ack(outbox, second)
    assert outbox.bytes == 0


def test_whatever_else_is_said_takes_along_what_rests() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, delta("a"))
    ack(outbox, outbox.take_batches(0.0)[0])
    outbox.append(0.01, run, delta("b"))
    assert outbox.take_batches(0.01) == []
    outbox.append(0.011, run, custom("1"))
    assert outbox.stirred
    [batch] = outbox.take_batches(0.011)
    assert [event.WhichOneof("kind") for event in batch.events] == ["agent_response", "custom"]


def test_only_neighbours_of_one_message_are_merged_and_an_end_stands_alone() -> None:
    outbox, run = opened()
    said_now = [delta("a"), delta("b"), delta("x", "m2"), thought("t"), thought("u"), delta("c"), delta("", final=True), delta("d")]
    assert [outbox.append(0.0, run, event) for event in said_now] == [2, 2, 3, 4, 4, 5, 6, 7]
    [batch] = outbox.take_batches(0.0)
    assert texts(batch) == ["ab", "x", "u", "c", "", "d"]


def test_who_waits_for_a_receipt_is_not_merged_with() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, delta("a"))
    assert outbox.append(0.0, run, delta("b"), receipt_ms=100) == 3
    assert outbox.append(0.0, run, delta("c")) == 4
    assert outbox.ask_receipt(run, 100)
    assert outbox.append(0.0, run, delta("d")) == 5


def test_a_merged_text_is_bounded_and_what_does_not_fit_follows() -> None:
    outbox, run = opened()
    text = "äöü" * 1000
    seqs = [outbox.append(0.0, run, delta(text)) for _ in range(5)]
    assert seqs == [2, 3, 4, 5, 6], "6,000 bytes each"
    seqs = [outbox.append(0.0, run, delta("ä" * 1000)) for _ in range(6)]
    assert seqs == [6, 7, 7, 7, 7, 8]


def test_who_waits_for_storing_does_not_wait_for_more_to_be_said() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, delta("a"))
    ack(outbox, outbox.take_batches(0.0)[0])
    outbox.append(0.0, run, delta("b"))
    assert outbox.take_batches(0.01) == []
    outbox.hurry(0.01, run)
    assert len(outbox.take_batches(0.01)) == 1


def test_at_the_end_nothing_rests() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, thought("a"))
    ack(outbox, outbox.take_batches(0.0)[0])
    outbox.append(0.001, run, thought("b"))
    outbox.rouse()
    ack(outbox, outbox.take_batches(0.001)[0], 0.001)
    outbox.append(0.001, run, thought("c"))
    assert len(outbox.take_batches(0.001)) == 1


def test_without_coalescing_every_event_is_its_own_and_goes_at_once() -> None:
    outbox = Outbox("p", coalesce_s=0.0)
    connect(outbox)
    run = begin(outbox, "r1")
    assert [outbox.append(0.0, run, delta(text)) for text in "ab"] == [2, 3]
    ack(outbox, outbox.take_batches(0.0)[0])
    outbox.append(0.0, run, delta("c"))
    assert len(outbox.take_batches(0.0)) == 1


def test_what_only_grows_another_does_not_wake_the_sender() -> None:
    outbox, run = opened()
    outbox.append(0.0, run, delta("a"))
    assert outbox.stirred
    [batch] = outbox.take_batches(0.0)
    outbox.append(0.0, run, delta("b"))
    assert not outbox.stirred, "it waits for the answer"
    ack(outbox, batch)
    assert outbox.stirred, "there is a time to wait for"
    outbox.take_batches(0.0)
    outbox.append(0.0, run, delta("c"))
    assert not outbox.stirred


def test_full_merges_what_can_be_merged_and_may_drop_progress_alone() -> None:
    outbox = Outbox("p", events_max=3, drop_progress=True)
    run = begin(outbox, "r1")
    outbox.append(0.0, run, custom("1"))
    outbox.append(0.0, run, delta("a"))
    assert outbox.append(0.0, run, delta("b")) == 3
    assert outbox.append(0.0, run, thought("lost")) == 0
    with pytest.raises(OutboxFullError):
        outbox.append(0.0, run, custom("2"))
    connect(outbox)
    [batch] = outbox.take_batches(0.0)
    ack(outbox, batch)
    assert outbox.append(0.0, run, thought("kept")) == 4, "what was dropped leaves no hole"
    assert outbox.counts.dropped == 1


def test_latency_counts_from_the_oldest_event_of_a_batch() -> None:
    outbox = Outbox("p")
    run = begin(outbox, "r1")
    outbox.append(2.0, run, custom("1"))
    connect(outbox, 3.0)
    [batch] = outbox.take_batches(3.0)
    ack(outbox, batch, 3.5)
    assert outbox.counts.latency_s(0.5) == 3.5
    assert (outbox.counts.stored, outbox.counts.batches) == (2, 1)
